// Registers of a DMA behind an AXI4-Lite slave, and the sequence of a transfer. Offsets in bytes:
//
//   0x00  control       1 start, 2 done and 8 ready (cleared when read), 4 idle
//   0x04  interrupts on (bit 0)
//   0x08  interrupt at: 1 done, 2 ready
//   0x0C  interrupt for: 1 done, 2 ready; writing a 1 toggles
//   0x10  address, low half     0x14  high half
//   0x1C  frames to move
// So far as Vitis HLS makes it of FINN's IODMA. From 0x40 on, all of it read-only but 0x48:
//   0x40  "ADM", 1
//   0x44  status        1 busy, 2 in reset, 4 SLVERR, 8 DECERR, 16 the transfer leaves the address
//                       space, 32 the address is no multiple of a beat; of the last transfer
//   0x48  writing a 1 resets; the bus is left clean
//   0x4C  starts that were ignored because a transfer or a reset was on its way
//   0x50  bad responses of the last transfer
//   0x54  address of the first bad response, low half    0x58  high half
//   0x5C  whole frames that the last transfer moved
//   0x60  clocks of the last transfer, low half          0x64  high half
//   0x68  bytes a frame
//   0x6C  bits a beat (bits 15..0), bytes a word of the stream (bits 31..16)
//   0x70  slots of the ring (16 bits); 0: a start is about as many frames as 0x1C says
//   0x74  counted by the program since the start, modulo 2^32; reading DMA: frames that it has put
//         into their slots, writing DMA: results that it has taken out of theirs. Cleared by a start
//   0x78  counted by the DMA since the start; reading: frames whose slots are free again, writing:
//         results that lie in their slots
//   0x7C  reading: frames that were overwritten in their slots before the accelerator had them;
//         writing: counts at 0x74 that cannot be, which are ignored. Since the start
//
// Address and frames are taken at the start; writing them later is about the next transfer.
//
// With a ring, a start goes on without end: frame n lies in slot n modulo their number, each slot a
// whole number of beats. A reading DMA waits for frames, skips those that were overwritten, and
// counts them; a writing DMA waits until there is a free slot, and with it the accelerator. The
// interrupt comes with each result, and at the reading DMA with each run of frames that were there.
// 0 written to 0x70 ends it, done, between two frames; a bad response ends it too.
module dma_control #(
	int unsigned  ADDRESS_BITS,
	int unsigned  DATA_BITS,
	int unsigned  WORD_BYTES,
	int unsigned  FRAME_WORDS,
	int unsigned  BEAT_BITS,
	bit  READS
)(
	input	logic  clk,
	input	logic  rst_n,

	input	logic [6:0]   s_axi_awaddr,
	input	logic  s_axi_awvalid,
	output	logic  s_axi_awready,
	input	logic [31:0]  s_axi_wdata,
	input	logic [3:0]   s_axi_wstrb,
	input	logic  s_axi_wvalid,
	output	logic  s_axi_wready,
	output	logic [1:0]   s_axi_bresp,
	output	logic  s_axi_bvalid,
	input	logic  s_axi_bready,
	input	logic [6:0]   s_axi_araddr,
	input	logic  s_axi_arvalid,
	output	logic  s_axi_arready,
	output	logic [31:0]  s_axi_rdata,
	output	logic [1:0]   s_axi_rresp,
	output	logic  s_axi_rvalid,
	input	logic  s_axi_rready,
	output	logic  interrupt,

	// The engine: `go` starts it, `running` stays until it is `finished`, or, under `stop`, `quiet`.
	output	logic  go,
	output	logic  running,
	output	logic  stop,
	output	logic [ADDRESS_BITS-1:0]  address,
	output	logic [BEAT_BITS-1:0]     beats,
	output	logic [31:0]  frames,
	output	logic [$clog2(DATA_BITS/8):0]  last_bytes,  // valid ones in the last beat
	input	logic  finished,
	input	logic  quiet,
	input	logic  frame_done,
	input	logic  next_frame,     // there is one to move, as far as the stream knows
	input	logic  fault,
	input	logic  fault_decode,   // DECERR, or else SLVERR
	input	logic [ADDRESS_BITS-1:0]  fault_address,

	// A reset of one DMA is one of all at the same accelerator, and of the accelerator.
	output	logic  reset_asked,    // a pulse
	output	logic  resetting,
	output	logic  draining,
	input	logic  others_asked,
	input	logic  others_drain
);
	localparam int unsigned  BYTES = DATA_BITS / 8;
	localparam int unsigned  SHIFT = $clog2(BYTES);
	localparam int unsigned  FRAME_BYTES = WORD_BYTES * FRAME_WORDS;
	localparam int unsigned  FACTOR_BITS = $clog2(FRAME_BYTES + 1);
	localparam int unsigned  LENGTH_BITS = 32 + FACTOR_BITS;
	localparam int unsigned  END_BITS = (LENGTH_BITS > ADDRESS_BITS? LENGTH_BITS : ADDRESS_BITS) + 1;
	localparam logic [FACTOR_BITS-1:0]  FACTOR = FACTOR_BITS'(FRAME_BYTES);
	localparam int unsigned  RESET_CLOCKS = 16;
	localparam int unsigned  SLOT_BYTES = (FRAME_BYTES + BYTES - 1) / BYTES * BYTES;
	localparam bit  PACKED = SLOT_BYTES == FRAME_BYTES;  // several slots are one transfer

	uwire  unused = &{s_axi_awaddr[1:0], s_axi_araddr[1:0]};

	//- Registers ------------------------------------------------------------------------------
	logic [6:2]   at;            // of a write
	logic         at_held;
	logic [31:0]  data;
	logic [3:0]   strobes;
	logic         data_held;
	uwire  write = at_held && data_held && (!s_axi_bvalid || s_axi_bready);
	assign  s_axi_awready = rst_n && !at_held;
	assign  s_axi_wready  = rst_n && !data_held;
	assign  s_axi_bresp   = 0;
	assign  s_axi_rresp   = 0;
	assign  s_axi_arready = rst_n && !s_axi_rvalid;
	uwire  read = s_axi_arvalid && s_axi_arready;

	logic [63:0]  base;
	logic [31:0]  repetitions;
	logic  done, ready, interrupts_on;
	logic [1:0]  interrupt_at, interrupt_for;
	logic [3:0]  errors;
	logic [31:0]  ignored, bad, moved;
	logic [15:0]  ring_asked, ring;      // slots: of the next start, or 0 to end; of this one
	logic [31:0]  by_program, by_dma, lost;
	uwire [31:0]  released = READS? moved : by_dma;
	logic [63:0]  first_bad, clocks;
	logic  busy;

	uwire  start_written = write && (at == 5'(32'h00 >> 2)) && strobes[0] && data[0];
	assign  reset_asked  = write && (at == 5'(32'h48 >> 2)) && strobes[0] && data[0];
	uwire  begins = start_written && !busy && !resetting;

	function automatic logic [31:0] merged(input logic [31:0] old);
		for(int unsigned  i = 0; i < 4; i++)  merged[8*i+:8] = strobes[i]? data[8*i+:8] : old[8*i+:8];
	endfunction

	logic [31:0]  shown;
	always_comb unique case(s_axi_araddr[6:2])
	5'(32'h00 >> 2): shown = {28'b0, ready, !busy && !resetting, done, busy};
	5'(32'h04 >> 2): shown = 32'(interrupts_on);
	5'(32'h08 >> 2): shown = 32'(interrupt_at);
	5'(32'h0C >> 2): shown = 32'(interrupt_for);
	5'(32'h10 >> 2): shown = base[31:0];
	5'(32'h14 >> 2): shown = base[63:32];
	5'(32'h1C >> 2): shown = repetitions;
	5'(32'h40 >> 2): shown = 32'h41444D01;
	5'(32'h44 >> 2): shown = {26'b0, errors, resetting, busy};
	5'(32'h4C >> 2): shown = ignored;
	5'(32'h50 >> 2): shown = bad;
	5'(32'h54 >> 2): shown = first_bad[31:0];
	5'(32'h58 >> 2): shown = first_bad[63:32];
	5'(32'h5C >> 2): shown = moved;
	5'(32'h60 >> 2): shown = clocks[31:0];
	5'(32'h64 >> 2): shown = clocks[63:32];
	5'(32'h68 >> 2): shown = FRAME_BYTES;
	5'(32'h6C >> 2): shown = {16'(WORD_BYTES), 16'(DATA_BITS)};
	5'(32'h70 >> 2): shown = 32'(ring_asked);
	5'(32'h74 >> 2): shown = by_program;
	5'(32'h78 >> 2): shown = released;
	5'(32'h7C >> 2): shown = lost;
	default: shown = 0;
	endcase

	always_ff @(posedge clk) begin
		if(s_axi_awvalid && s_axi_awready)  at <= s_axi_awaddr[6:2];
		if(s_axi_wvalid && s_axi_wready) begin
			data    <= s_axi_wdata;
			strobes <= s_axi_wstrb;
		end
		if(read)  s_axi_rdata <= shown;
		at_held      <= write? 0 : at_held || (s_axi_awvalid && s_axi_awready);
		data_held    <= write? 0 : data_held || (s_axi_wvalid && s_axi_wready);
		s_axi_bvalid <= write || (s_axi_bvalid && !s_axi_bready);
		s_axi_rvalid <= read || (s_axi_rvalid && !s_axi_rready);
		if(!rst_n) begin
			at_held      <= 0;
			data_held    <= 0;
			s_axi_bvalid <= 0;
			s_axi_rvalid <= 0;
		end
	end

	uwire  completes, turns;
	uwire [1:0]  toggled = write && (at == 5'(32'h0C >> 2)) && strobes[0]? data[1:0] : 0;
	always_ff @(posedge clk) begin
		if(write) unique case(at)
		5'(32'h04 >> 2): if(strobes[0])  interrupts_on <= data[0];
		5'(32'h08 >> 2): if(strobes[0])  interrupt_at <= data[1:0];
		5'(32'h10 >> 2): base[31:0]  <= merged(base[31:0]);
		5'(32'h14 >> 2): base[63:32] <= merged(base[63:32]);
		5'(32'h1C >> 2): repetitions <= merged(repetitions);
		5'(32'h70 >> 2): ring_asked <= 16'(merged(32'(ring_asked)));
		default: ;
		endcase
		interrupt_for <= (interrupt_for ^ toggled) | (completes || turns? interrupt_at : 0);
		interrupt <= interrupts_on && (interrupt_for != 0);
		// What becomes done while it is read shows in the next read.
		done  <= completes || (done && !(read && (s_axi_araddr[6:2] == 0)) && !begins && !resetting);
		ready <= completes || (ready && !(read && (s_axi_araddr[6:2] == 0)) && !begins && !resetting);
		ignored <= ignored + 32'(start_written && !begins);
		if(!rst_n) begin
			interrupts_on <= 0;
			interrupt_at  <= 0;
			interrupt_for <= 0;
			interrupt     <= 0;
			base  <= 0;
			repetitions <= 0;
			ring_asked  <= 0;
			done  <= 0;
			ready <= 0;
			ignored <= 0;
		end
	end

	//- Transfer -------------------------------------------------------------------------------
	typedef enum logic [3:0] {
		IDLE, MULTIPLY, LAST, CHECK, LAUNCH, RUN,  // one transfer
		TURN, SETTLE, NEXT                         // from one to the next around a ring
	} state_e;
	state_e  state;
	logic [FACTOR_BITS-1:0]  factor;
	logic [$clog2(FACTOR_BITS+1)-1:0]  step;
	logic [LENGTH_BITS-1:0]  bytes;
	logic [END_BITS-1:0]     last;       // address of the last byte
	logic [63:0]  from, origin;
	logic [15:0]  slot;
	logic [31:0]  ahead;         // frames in their slots, of a reading DMA: to read, or else: to take
	logic  drained;
	logic [$clog2(RESET_CLOCKS+1)-1:0]  wait_left;

	uwire  nothing = state == LAST && bytes == 0;
	uwire  misaligned = from[SHIFT-1:0] != 0;
	uwire  outside = ((from >> ADDRESS_BITS) != 0) || ((last >> ADDRESS_BITS) != 0);
	uwire  refused = state == CHECK && (misaligned || outside);
	uwire  goes_round = (ring != 0) && (errors == 0);
	uwire  ends = ((state == RUN) && finished && !goes_round) || ((state == TURN) && (ring_asked == 0));
	assign  completes = !stop && (nothing || refused || ends);
	assign  turns = !stop && (state == NEXT);

	// Around the ring
	uwire  overwritten = READS && (ring != 0) && (ahead > 32'(ring));  // the next frame to read is
	uwire  skips = (state == TURN) && (ring_asked != 0) && overwritten;
	uwire  there = next_frame && (READS? ahead != 0 : ahead < 32'(ring));
	uwire [15:0]  until_end = ring - slot;
	uwire [16:0]  following = 17'(slot) + (state == NEXT? 17'(frames[15:0]) : 17'd1);
	uwire  wraps = following == 17'(ring);
	uwire  counted = write && (at == 5'(32'h74 >> 2));
	uwire [31:0]  told = merged(by_program);
	uwire  cannot_be = !READS && ((by_dma - told) > 32'(ring));
	always_ff @(posedge clk) begin
		ahead <= READS? by_program - moved : by_dma - by_program;
		if(begins) begin
			ring <= ring_asked;
			slot <= 0;
			by_program <= 0;
			by_dma <= 0;
			lost   <= 0;
		end
		else begin
			if(counted && !cannot_be)  by_program <= told;
			if(turns)  by_dma <= by_dma + frames;
			if(skips || turns)  slot <= wraps? 0 : following[15:0];
			lost <= lost + 32'(skips || (frame_done && overwritten) || (counted && cannot_be));
		end
		if(!rst_n) begin
			ring   <= 0;
			by_program <= 0;
			by_dma <= 0;
			lost   <= 0;
		end
	end

	assign  busy    = state != IDLE;
	assign  go      = state == LAUNCH && !stop;
	assign  running = state == RUN;
	assign  stop    = resetting;
	assign  draining = resetting && !drained;
	assign  address = from[ADDRESS_BITS-1:0];
	assign  beats   = BEAT_BITS'((LENGTH_BITS+1)'(bytes + LENGTH_BITS'(BYTES-1)) >> SHIFT);
	assign  last_bytes = bytes[SHIFT-1:0] == 0? (SHIFT+1)'(BYTES) : (SHIFT+1)'(bytes[SHIFT-1:0]);

	always_ff @(posedge clk) begin
		unique case(state)
		IDLE: if(begins) begin
			from   <= base;
			origin <= base;
			frames <= repetitions;
			bytes  <= 0;
			factor <= FACTOR;
			step   <= ($bits(step))'(FACTOR_BITS);
			state  <= ring_asked == 0? MULTIPLY : SETTLE;
		end
		SETTLE:  state <= TURN;    // what is ahead is told a clock later
		TURN: begin
			frames <= !READS || !PACKED? 1 : ahead < 32'(until_end)? ahead : 32'(until_end);
			bytes  <= 0;
			factor <= FACTOR;
			step   <= ($bits(step))'(FACTOR_BITS);
			if(ring_asked == 0)  state <= IDLE;
			else if(skips) begin
				from  <= wraps? origin : from + 64'(SLOT_BYTES);
				state <= SETTLE;
			end
			else if(there)  state <= MULTIPLY;
		end
		NEXT: begin
			from  <= wraps? origin : from + (PACKED? 64'(bytes) : 64'(SLOT_BYTES));
			state <= SETTLE;
		end
		// A bit of FRAME_BYTES a clock: any multiplication in one would be the longest path.
		MULTIPLY: begin
			bytes  <= (bytes << 1) + (factor[FACTOR_BITS-1]? LENGTH_BITS'(frames) : 0);
			factor <= factor << 1;
			step   <= step - 1;
			if(step == 1)  state <= LAST;
		end
		LAST: begin
			last  <= END_BITS'(from[ADDRESS_BITS-1:0]) + END_BITS'(bytes - 1);
			state <= nothing? IDLE : CHECK;
		end
		CHECK:   state <= refused? IDLE : LAUNCH;
		LAUNCH:  state <= RUN;
		RUN: if(finished)  state <= goes_round? NEXT : IDLE;
		default: state <= IDLE;
		endcase
		if(resetting && ((state != RUN) || quiet))  state <= IDLE;
		if(!rst_n)  state <= IDLE;
	end

	always_ff @(posedge clk) begin
		if(begins) begin
			errors <= 0;
			bad    <= 0;
			moved  <= 0;
			clocks <= 0;
			first_bad <= 0;
		end
		else begin
			if(busy)  clocks <= clocks + 1;
			if(frame_done || skips)  moved <= moved + 1;
			if(refused)  errors[3:2] <= {misaligned, outside};
			if(fault && !stop) begin
				bad <= bad + 1;
				if(bad == 0)  first_bad <= 64'(fault_address);
				errors[1:0] <= errors[1:0] | (fault_decode? 2'b10 : 2'b01);
			end
		end
		if(!rst_n) begin
			errors <= 0;
			bad    <= 0;
			moved  <= 0;
			clocks <= 0;
			first_bad <= 0;
		end
	end

	//- Reset ----------------------------------------------------------------------------------
	always_ff @(posedge clk) begin
		if(reset_asked || others_asked) begin
			resetting <= 1;
			drained   <= 0;
			wait_left <= ($bits(wait_left))'(RESET_CLOCKS);
		end
		else if(resetting) begin
			drained <= !busy;
			if(wait_left != 0)  wait_left <= wait_left - 1;
			else if(drained && !others_drain)  resetting <= 0;
		end
		if(!rst_n) begin
			resetting <= 0;
			drained   <= 0;
			wait_left <= 0;
		end
	end

endmodule : dma_control
