// Maximum over windows: WINDOW words of PE lanes come in, one word with each lane's maximum goes
// out. Behind FINN's depthwise sliding window generator this is max pooling of any kernel and
// stride; with the whole feature map as the window it is global max pooling.
module window_max #(
	int unsigned  WINDOW,
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
	localparam int unsigned  COUNT_BITS = WINDOW > 1? $clog2(WINDOW) : 1;

	logic [COUNT_BITS-1:0]  count = 0;
	uwire  first = count == 0;
	uwire  last  = count == COUNT_BITS'(WINDOW-1);

	// Only the last word of a window needs the output register.
	logic  vld = 0;
	assign  irdy = !last || !vld || ordy;
	assign  ovld = vld;
	uwire  accept = ivld && irdy;

	always_ff @(posedge clk) begin
		if(!rst_n) begin
			count <= 0;
			vld   <= 0;
		end
		else begin
			if(accept)  count <= last? 0 : count + 1;
			vld <= (accept && last) || (vld && !ordy);
		end
	end

	for(genvar  pe = 0; pe < PE; pe++) begin : genPE
		// Flipping the sign bit turns signed into unsigned order.
		localparam logic [BITS-1:0]  FLIP = BITS'(SIGNED) << (BITS-1);
		logic [BITS-1:0]  best;
		logic [BITS-1:0]  result;
		uwire [BITS-1:0]  better = first || ((idat[pe] ^ FLIP) > (best ^ FLIP))? idat[pe] : best;
		always_ff @(posedge clk) begin
			if(accept)          best   <= better;
			if(accept && last)  result <= better;
		end
		assign  odat[pe] = result;
	end : genPE

endmodule : window_max
