// Write engine: moves whole frames from the accelerator's output stream to memory, in the place of
// FINN's IODMA. A burst is announced when its data are there, so that a slow accelerator never
// holds the bus; its data follow the address. Bytes behind the last word are not written.
//
// After a bad response nothing more is written; what is left of the transfer is taken from the
// stream and dropped, so that the accelerator ends with whole frames.
module dma_write #(
	int unsigned  ADDRESS_BITS = 40,
	int unsigned  DATA_BITS = 64,       // 32 to 512
	int unsigned  WORD_BYTES = 1,       // of the stream
	int unsigned  FRAME_WORDS = 1,
	int unsigned  BURST = 16,           // most beats a burst, up to 256
	int unsigned  IN_FLIGHT = 4,        // most bursts
	int unsigned  FIFO_BEATS = 32,      // a power of two, BURST or more
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

	output	logic [ID_BITS-1:0]       m_axi_awid,
	output	logic [ADDRESS_BITS-1:0]  m_axi_awaddr,
	output	logic [7:0]  m_axi_awlen,
	output	logic [2:0]  m_axi_awsize,
	output	logic [1:0]  m_axi_awburst,
	output	logic [3:0]  m_axi_awcache,
	output	logic [2:0]  m_axi_awprot,
	output	logic  m_axi_awvalid,
	input	logic  m_axi_awready,
	output	logic [DATA_BITS-1:0]    m_axi_wdata,
	output	logic [DATA_BITS/8-1:0]  m_axi_wstrb,
	output	logic  m_axi_wlast,
	output	logic  m_axi_wvalid,
	input	logic  m_axi_wready,
	input	logic [ID_BITS-1:0]  m_axi_bid,
	input	logic [1:0]  m_axi_bresp,
	input	logic  m_axi_bvalid,
	output	logic  m_axi_bready,

	input	logic [8*WORD_BYTES-1:0]  s_axis_tdata,
	input	logic  s_axis_tvalid,
	output	logic  s_axis_tready,

	output	logic  reset_asked,
	output	logic  resetting,
	output	logic  draining,
	input	logic  others_asked,
	input	logic  others_drain
);
	localparam int unsigned  BYTES = DATA_BITS / 8;
	localparam int unsigned  BEAT_BITS = 33 + $clog2(WORD_BYTES * FRAME_WORDS + 1) - $clog2(BYTES);
	localparam int unsigned  LEVEL_BITS = $clog2(FIFO_BEATS + 2);
	localparam int unsigned  FLIGHT_BITS = $clog2(IN_FLIGHT + 1);
	localparam int unsigned  PLACE_BITS = IN_FLIGHT > 1? $clog2(IN_FLIGHT) : 1;
	localparam int unsigned  WORD_BITS = FRAME_WORDS > 1? $clog2(FRAME_WORDS) : 1;

	uwire  go, running, stop;
	uwire [ADDRESS_BITS-1:0]  address;
	uwire [BEAT_BITS-1:0]  beats;
	uwire [31:0]  frames;
	uwire [$clog2(BYTES):0]  last_bytes;
	logic  failed;
	logic [FLIGHT_BITS-1:0]  in_flight;
	logic [31:0]  frames_left;   // whose last word has not come
	uwire  all_issued;
	uwire  unused = &m_axi_bid;  // ours is the only id
	uwire  response = m_axi_bvalid && m_axi_bready;
	uwire  frame_done;
	uwire  quiet = in_flight == 0;
	uwire  finished = quiet && (frames_left == 0) && (all_issued || failed);
	logic [ADDRESS_BITS-1:0]  addresses[IN_FLIGHT];   // of the bursts in flight
	logic [PLACE_BITS-1:0]    at_issue, at_response;

	dma_control #(
		.ADDRESS_BITS(ADDRESS_BITS), .DATA_BITS(DATA_BITS), .WORD_BYTES(WORD_BYTES),
		.FRAME_WORDS(FRAME_WORDS), .BEAT_BITS(BEAT_BITS), .READS(0)
	) control (
		.clk, .rst_n,
		.s_axi_awaddr, .s_axi_awvalid, .s_axi_awready, .s_axi_wdata, .s_axi_wstrb, .s_axi_wvalid,
		.s_axi_wready, .s_axi_bresp, .s_axi_bvalid, .s_axi_bready, .s_axi_araddr, .s_axi_arvalid,
		.s_axi_arready, .s_axi_rdata, .s_axi_rresp, .s_axi_rvalid, .s_axi_rready, .interrupt,
		.go, .running, .stop, .address, .beats, .frames, .last_bytes,
		.finished, .quiet, .frame_done, .next_frame(s_axis_tvalid),
		.fault(response && m_axi_bresp[1]), .fault_decode(m_axi_bresp[0]),
		.fault_address(addresses[at_response]),
		.reset_asked, .resetting, .draining, .others_asked, .others_drain
	);

	//- Stream ---------------------------------------------------------------------------------
	logic [WORD_BITS-1:0]  words_left;   // of a frame, less one
	logic [BEAT_BITS-1:0]  beats_left;   // that have not come out of the width converter
	uwire  more = frames_left != 0;
	uwire  taking = running && !stop;
	uwire  width_ready;
	assign  s_axis_tready = taking && more && (failed || width_ready);
	uwire  word = s_axis_tvalid && s_axis_tready;
	assign  frame_done = word && (words_left == 0) && !failed;
	uwire  clear = !rst_n || !running;
	uwire [DATA_BITS-1:0]  formed;
	uwire  formed_valid, formed_ready;
	// Zeros follow the last word until its beat is whole.
	dma_width #(.IN_BYTES(WORD_BYTES), .OUT_BYTES(BYTES)) width (
		.clk, .rst_n(!clear),
		.idat(more? s_axis_tdata : '0), .ivld(taking && !failed && (more? s_axis_tvalid : 1'b1)),
		.irdy(width_ready),
		.odat(formed), .ovld(formed_valid), .ordy(formed_ready)
	);
	uwire  fifo_ready, held_valid;
	uwire  push = formed_valid && (beats_left != 0) && fifo_ready;
	assign  formed_ready = fifo_ready && (beats_left != 0);
	always_ff @(posedge clk) begin
		if(word) begin
			words_left  <= words_left == 0? WORD_BITS'(FRAME_WORDS-1) : words_left - 1;
			frames_left <= frames_left - 32'(words_left == 0);
		end
		if(push)  beats_left <= beats_left - 1;
		if(go) begin
			words_left  <= WORD_BITS'(FRAME_WORDS-1);
			frames_left <= frames;
			beats_left  <= beats;
		end
	end
	dma_fifo #(.WIDTH(DATA_BITS), .DEPTH(FIFO_BEATS)) fifo (
		.clk, .clear,
		.idat(formed), .ivld(push), .irdy(fifo_ready),
		.odat(m_axi_wdata), .ovld(held_valid), .ordy(m_axi_wvalid && m_axi_wready)
	);

	//- Address channel ------------------------------------------------------------------------
	uwire  offered, burst_last;
	uwire [ADDRESS_BITS-1:0]  burst_address;
	uwire [8:0]  burst_beats;
	logic [LEVEL_BITS-1:0]  level;   // beats in the FIFO that no burst was announced for
	logic  next_valid, next_last;    // announced, its data not begun
	logic [7:0]  next_length;
	logic  announced_last;
	uwire  issue = offered && running && !failed && !stop && !m_axi_awvalid && !next_valid
		&& (in_flight != FLIGHT_BITS'(IN_FLIGHT)) && (10'(burst_beats) <= 10'(level));
	dma_bursts #(
		.ADDRESS_BITS(ADDRESS_BITS), .BYTES(BYTES), .BURST(BURST), .BEAT_BITS(BEAT_BITS)
	) bursts (
		.clk, .start(go), .address, .beats,
		.valid(offered), .burst_address, .burst_beats, .burst_last, .take(issue), .empty(all_issued)
	);

	assign  m_axi_awid    = ID_BITS'(ID);
	assign  m_axi_awsize  = 3'($clog2(BYTES));
	assign  m_axi_awburst = 2'b01;
	assign  m_axi_awcache = 4'b0011;
	assign  m_axi_awprot  = 3'b000;
	always_ff @(posedge clk) begin
		if(issue) begin
			m_axi_awaddr   <= burst_address;
			m_axi_awlen    <= 8'(burst_beats - 1);
			announced_last <= burst_last;
			addresses[at_issue] <= burst_address;
			at_issue <= at_issue == PLACE_BITS'(IN_FLIGHT-1)? 0 : at_issue + 1;
		end
		if(response)  at_response <= at_response == PLACE_BITS'(IN_FLIGHT-1)? 0 : at_response + 1;
		m_axi_awvalid <= issue || (m_axi_awvalid && !m_axi_awready);
		in_flight <= in_flight + FLIGHT_BITS'(issue) - FLIGHT_BITS'(response);
		level <= go? 0 : level + LEVEL_BITS'(push) - (issue? LEVEL_BITS'(burst_beats) : 0);
		if(!rst_n) begin
			m_axi_awvalid <= 0;
			in_flight   <= 0;
			at_issue    <= 0;
			at_response <= 0;
		end
	end

	//- Data channel ---------------------------------------------------------------------------
	logic  sending, sending_last;
	logic [7:0]  sending_left;    // beats behind this one
	uwire  sent = m_axi_wvalid && m_axi_wready;
	uwire  begins = next_valid && (!sending || (sent && m_axi_wlast));
	logic [BYTES-1:0]  tail;
	assign  m_axi_wvalid = sending && held_valid;
	assign  m_axi_wlast  = sending_left == 0;
	assign  m_axi_wstrb  = sending_last && m_axi_wlast? tail : '1;
	always_ff @(posedge clk) begin
		if(m_axi_awvalid && m_axi_awready) begin
			next_valid  <= 1;
			next_length <= m_axi_awlen;
			next_last   <= announced_last;
		end
		else if(begins)  next_valid <= 0;
		if(begins) begin
			sending <= 1;
			sending_left <= next_length;
			sending_last <= next_last;
		end
		else if(sent) begin
			sending <= !m_axi_wlast;
			sending_left <= sending_left - 1;
		end
		if(go) for(int unsigned  i = 0; i < BYTES; i++)  tail[i] <= ($bits(last_bytes))'(i) < last_bytes;
		if(!rst_n) begin
			next_valid <= 0;
			sending    <= 0;
		end
	end

	//- Response channel -----------------------------------------------------------------------
	assign  m_axi_bready = rst_n;
	always_ff @(posedge clk) begin
		failed <= !go && (failed || (response && m_axi_bresp[1]));
		if(!rst_n)  failed <= 0;
	end

endmodule : dma_write
