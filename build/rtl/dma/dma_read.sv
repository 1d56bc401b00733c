// Read engine: moves whole frames from memory to the accelerator's input stream, in the place of
// FINN's IODMA. Several bursts are in flight, all under one id, so that data come in order. A burst
// is asked for only when there is room for all of it, so RREADY is always high and a slow
// accelerator never holds the bus.
//
// After a bad response nothing more is read; what is left of the transfer goes to the stream as
// zeros, so that the accelerator and who waits behind it end with whole frames.
module dma_read #(
	int unsigned  ADDRESS_BITS = 40,
	int unsigned  DATA_BITS = 64,       // 32 to 512
	int unsigned  WORD_BYTES = 4,       // of the stream
	int unsigned  FRAME_WORDS = 1024,
	int unsigned  BURST = 32,           // most beats a burst, up to 256
	int unsigned  IN_FLIGHT = 8,        // most bursts
	int unsigned  FIFO_BEATS = 512,     // a power of two, BURST or more
	int unsigned  ID_BITS = 1,
	int unsigned  ID = 0
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

	output	logic [ID_BITS-1:0]       m_axi_arid,
	output	logic [ADDRESS_BITS-1:0]  m_axi_araddr,
	output	logic [7:0]  m_axi_arlen,
	output	logic [2:0]  m_axi_arsize,
	output	logic [1:0]  m_axi_arburst,
	output	logic [3:0]  m_axi_arcache,
	output	logic [2:0]  m_axi_arprot,
	output	logic  m_axi_arvalid,
	input	logic  m_axi_arready,
	input	logic [ID_BITS-1:0]    m_axi_rid,
	input	logic [DATA_BITS-1:0]  m_axi_rdata,
	input	logic [1:0]  m_axi_rresp,
	input	logic  m_axi_rlast,
	input	logic  m_axi_rvalid,
	output	logic  m_axi_rready,

	output	logic [8*WORD_BYTES-1:0]  m_axis_tdata,
	output	logic  m_axis_tvalid,
	input	logic  m_axis_tready,

	output	logic  reset_asked,
	output	logic  resetting,
	output	logic  draining,
	input	logic  others_asked,
	input	logic  others_drain
);
	localparam int unsigned  BYTES = DATA_BITS / 8;
	localparam int unsigned  BEAT_BITS = 33 + $clog2(WORD_BYTES * FRAME_WORDS + 1) - $clog2(BYTES);
	localparam int unsigned  ROOM_BITS = $clog2(FIFO_BEATS + 1);
	localparam int unsigned  FLIGHT_BITS = $clog2(IN_FLIGHT + 1);
	localparam int unsigned  WORD_BITS = FRAME_WORDS > 1? $clog2(FRAME_WORDS) : 1;

	uwire  go, running, stop;
	uwire [ADDRESS_BITS-1:0]  address;
	uwire [BEAT_BITS-1:0]  beats;
	uwire [31:0]  frames;
	logic  failed;
	logic [FLIGHT_BITS-1:0]  in_flight;
	logic [31:0]  frames_left;   // whose last word has not been loaded
	logic [ADDRESS_BITS-1:0]  at;  // of the next beat to come
	uwire  unused = &m_axi_rid;  // ours is the only id
	uwire  beat = m_axi_rvalid && m_axi_rready;
	uwire  frame_done;
	uwire  quiet = in_flight == 0;
	uwire  finished = quiet && (frames_left == 0) && !m_axis_tvalid;

	dma_control #(
		.ADDRESS_BITS(ADDRESS_BITS), .DATA_BITS(DATA_BITS), .WORD_BYTES(WORD_BYTES),
		.FRAME_WORDS(FRAME_WORDS), .BEAT_BITS(BEAT_BITS), .READS(1)
	) control (
		.clk, .rst_n,
		.s_axi_awaddr, .s_axi_awvalid, .s_axi_awready, .s_axi_wdata, .s_axi_wstrb, .s_axi_wvalid,
		.s_axi_wready, .s_axi_bresp, .s_axi_bvalid, .s_axi_bready, .s_axi_araddr, .s_axi_arvalid,
		.s_axi_arready, .s_axi_rdata, .s_axi_rresp, .s_axi_rvalid, .s_axi_rready, .interrupt,
		.go, .running, .stop, .address, .beats, .frames, .last_bytes(),
		.finished, .quiet, .frame_done, .next_frame(1'b1),
		.fault(beat && m_axi_rresp[1]), .fault_decode(m_axi_rresp[0]), .fault_address(at),
		.reset_asked, .resetting, .draining, .others_asked, .others_drain
	);

	//- Address channel ------------------------------------------------------------------------
	uwire  offered;
	uwire [ADDRESS_BITS-1:0]  burst_address;
	uwire [8:0]  burst_beats;
	logic [ROOM_BITS-1:0]  room;     // beats of the FIFO that nobody was asked for
	uwire  issue = offered && running && !failed && !stop && (!m_axi_arvalid || m_axi_arready)
		&& (in_flight != FLIGHT_BITS'(IN_FLIGHT)) && (10'(burst_beats) <= 10'(room));
	uwire  pulled;                   // a beat leaves the FIFO
	dma_bursts #(
		.ADDRESS_BITS(ADDRESS_BITS), .BYTES(BYTES), .BURST(BURST), .BEAT_BITS(BEAT_BITS)
	) bursts (
		.clk, .start(go), .address, .beats,
		.valid(offered), .burst_address, .burst_beats, .burst_last(), .take(issue), .empty()
	);

	assign  m_axi_arid    = ID_BITS'(ID);
	assign  m_axi_arsize  = 3'($clog2(BYTES));
	assign  m_axi_arburst = 2'b01;
	assign  m_axi_arcache = 4'b0011;
	assign  m_axi_arprot  = 3'b000;
	always_ff @(posedge clk) begin
		if(issue) begin
			m_axi_araddr <= burst_address;
			m_axi_arlen  <= 8'(burst_beats - 1);
		end
		m_axi_arvalid <= issue || (m_axi_arvalid && !m_axi_arready);
		in_flight <= in_flight + FLIGHT_BITS'(issue) - FLIGHT_BITS'(beat && m_axi_rlast);
		room <= go? ROOM_BITS'(FIFO_BEATS) :
			room - (issue? ROOM_BITS'(burst_beats) : 0) + ROOM_BITS'(pulled);
		if(!rst_n) begin
			m_axi_arvalid <= 0;
			in_flight <= 0;
		end
	end

	//- Data channel ---------------------------------------------------------------------------
	assign  m_axi_rready = rst_n;
	always_ff @(posedge clk) begin
		if(go)         at <= address;
		else if(beat)  at <= at + ADDRESS_BITS'(BYTES);
		failed <= !go && (failed || (beat && m_axi_rresp[1]));
		if(!rst_n)  failed <= 0;
	end

	uwire  clear = !rst_n || !running || failed || stop;
	uwire [DATA_BITS-1:0]  held;
	uwire  held_valid, held_ready;
	assign  pulled = held_valid && held_ready;
	dma_fifo #(.WIDTH(DATA_BITS), .DEPTH(FIFO_BEATS)) fifo (
		.clk, .clear,
		.idat(m_axi_rdata), .ivld(beat), .irdy(),
		.odat(held), .ovld(held_valid), .ordy(held_ready)
	);
	uwire [8*WORD_BYTES-1:0]  word;
	uwire  word_valid, load;
	dma_width #(.IN_BYTES(BYTES), .OUT_BYTES(WORD_BYTES)) width (
		.clk, .rst_n(!clear),
		.idat(held), .ivld(held_valid), .irdy(held_ready),
		.odat(word), .ovld(word_valid), .ordy(load && !failed)
	);

	//- Stream ---------------------------------------------------------------------------------
	logic [WORD_BITS-1:0]  words_left;   // of a frame, less one
	logic  ends_frame;
	assign  load = running && !stop && (frames_left != 0) && (!m_axis_tvalid || m_axis_tready);
	uwire  loads = load && (word_valid || failed);
	assign  frame_done = m_axis_tvalid && m_axis_tready && ends_frame && !failed;
	always_ff @(posedge clk) begin
		if(loads) begin
			m_axis_tdata <= failed? 0 : word;
			ends_frame   <= words_left == 0;
			words_left   <= words_left == 0? WORD_BITS'(FRAME_WORDS-1) : words_left - 1;
			frames_left  <= frames_left - 32'(words_left == 0);
		end
		if(go) begin
			words_left  <= WORD_BITS'(FRAME_WORDS-1);
			frames_left <= frames;
		end
		m_axis_tvalid <= loads || (m_axis_tvalid && !m_axis_tready);
		if(!rst_n || stop)  m_axis_tvalid <= 0;
	end

endmodule : dma_read
