// Maximum over WINDOW neighbouring positions, which no other window shares: positions of FOLDS words
// of PE lanes come in as they are, without a window generator; one position with each channel's
// maximum goes out for WINDOW of them. SURPLUS positions at a frame's end belong to no window.
module position_max #(
	int unsigned  WINDOW,
	int unsigned  WINDOWS,   // a frame
	int unsigned  SURPLUS,
	int unsigned  FOLDS,     // words a position
	int unsigned  PE,
	int unsigned  BITS,
	bit           SIGNED
)(
	input	logic  clk,
	input	logic  rst_n,

	input	logic [PE-1:0][BITS-1:0]  idat,
	input	logic  ivld,
	output	logic  irdy,

	output	logic [PE-1:0][BITS-1:0]  odat,
	output	logic  ovld,
	input	logic  ordy
);
	localparam int unsigned  FOLD_BITS = FOLDS > 1? $clog2(FOLDS) : 1;
	localparam int unsigned  TAP_BITS = WINDOW > 1? $clog2(WINDOW) : 1;
	localparam int unsigned  WINDOW_BITS = $clog2(WINDOWS+1);
	// Flipping the sign bit turns signed into unsigned order.
	localparam logic [BITS-1:0]  FLIP = BITS'(SIGNED) << (BITS-1);

	logic [FOLD_BITS-1:0]    fold = 0;
	logic [TAP_BITS-1:0]     tap = 0;
	logic [WINDOW_BITS-1:0]  count = 0;  // windows finished
	uwire  beyond = SURPLUS > 0 && count == WINDOW_BITS'(WINDOWS);
	uwire  first = tap == 0;
	uwire  last = tap == (beyond? TAP_BITS'(SURPLUS-1) : TAP_BITS'(WINDOW-1));
	uwire  final_window = count == (SURPLUS > 0? WINDOW_BITS'(WINDOWS) : WINDOW_BITS'(WINDOWS-1));

	// Only the last position of a window needs the output register.
	uwire  emits = last && !beyond;
	logic  vld = 0;
	assign  irdy = !emits || !vld || ordy;
	assign  ovld = vld;
	uwire  accept = ivld && irdy;

	always_ff @(posedge clk) begin
		if(!rst_n) begin
			fold  <= 0;
			tap   <= 0;
			count <= 0;
			vld   <= 0;
		end
		else begin
			vld <= (accept && emits) || (vld && !ordy);
			if(accept) begin
				fold <= fold + 1;
				if(fold == FOLD_BITS'(FOLDS-1)) begin
					fold <= 0;
					tap  <= last? 0 : tap + 1;
					if(last)  count <= final_window? 0 : count + 1;
				end
			end
		end
	end

	// The words of a position come round in their order: a shift register holds what they have so far.
	logic [FOLDS-1:0][PE-1:0][BITS-1:0]  best;
	logic [PE-1:0][BITS-1:0]  better;
	logic [PE-1:0][BITS-1:0]  result;
	for(genvar  pe = 0; pe < PE; pe++) begin : genPE
		uwire [BITS-1:0]  held = best[FOLDS-1][pe];
		assign  better[pe] = first || ((idat[pe] ^ FLIP) > (held ^ FLIP))? idat[pe] : held;
	end : genPE
	always_ff @(posedge clk) begin
		if(accept)           best   <= { best, better };
		if(accept && emits)  result <= better;
	end
	assign  odat = result;

endmodule : position_max
