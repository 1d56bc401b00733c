// Puts the channels of N streams one behind the other: at every position FOLDS[0] words of stream 0,
// then FOLDS[1] words of stream 1, and so on. Elements are widened to the output's.
module stream_concat #(
	int unsigned  N,
	int unsigned  LANES,
	int unsigned  IN_BITS,    // of all streams together, stream 0 lowest
	int unsigned  OUT_BITS,   // of an element
	int unsigned  MOST_FOLDS,
	logic [N-1:0][31:0]  FOLDS,
	logic [N-1:0][31:0]  BITS,     // of an element
	logic [N-1:0][31:0]  OFFSETS,  // of a stream in idat
	logic [N-1:0][31:0]  SIGNED
)(
	input	logic  clk,
	input	logic  rst_n,

	input	logic [IN_BITS-1:0]  idat,
	input	logic [N-1:0]  ivld,
	output	logic [N-1:0]  irdy,

	output	logic [LANES-1:0][OUT_BITS-1:0]  odat,
	output	logic  ovld,
	input	logic  ordy
);
	localparam int unsigned  TURN_BITS = $clog2(N);
	localparam int unsigned  COUNT_BITS = MOST_FOLDS > 1? $clog2(MOST_FOLDS) : 1;

	logic [N-1:0][LANES-1:0][OUT_BITS-1:0]  wide;
	logic [N-1:0][COUNT_BITS-1:0]  final_count;
	for(genvar  n = 0; n < N; n++) begin : genN
		localparam int unsigned  B = BITS[n];
		assign  final_count[n] = COUNT_BITS'(FOLDS[n] - 1);
		for(genvar  lane = 0; lane < LANES; lane++) begin : genLane
			uwire [B-1:0]  x = idat[OFFSETS[n] + lane*B +: B];
			uwire signed [B:0]  y = { SIGNED[n][0] && x[B-1], x };
			assign  wide[n][lane] = OUT_BITS'(y);
		end : genLane
	end : genN

	logic [TURN_BITS-1:0]   turn = 0;
	logic [COUNT_BITS-1:0]  count = 0;
	uwire  en = !ovld || ordy;
	uwire  accept = en && ivld[turn];
	assign  irdy = N'(en) << turn;

	logic  vld = 0;
	assign  ovld = vld;
	always_ff @(posedge clk) begin
		if(!rst_n) begin
			turn  <= 0;
			count <= 0;
			vld   <= 0;
		end
		else if(en) begin
			vld <= accept;
			if(accept) begin
				count <= count + 1;
				if(count == final_count[turn]) begin
					count <= 0;
					turn  <= turn == TURN_BITS'(N-1)? 0 : turn + 1;
				end
			end
		end
	end

	logic [LANES-1:0][OUT_BITS-1:0]  word;
	always_ff @(posedge clk) begin
		if(en)  word <= wide[turn];
	end
	assign  odat = word;

endmodule : stream_concat
