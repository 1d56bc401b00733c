// FIFO in a memory with a registered output: an entry shows two clocks after it was put in.
module dma_fifo #(
	int unsigned  WIDTH,
	int unsigned  DEPTH      // a power of two; one entry more waits at the output
)(
	input	logic  clk,
	input	logic  clear,

	input	logic [WIDTH-1:0]  idat,
	input	logic  ivld,
	output	logic  irdy,

	output	logic [WIDTH-1:0]  odat,
	output	logic  ovld,
	input	logic  ordy
);
	localparam int unsigned  BITS = $clog2(DEPTH);

	logic [WIDTH-1:0]  memory[DEPTH];
	logic [BITS-1:0]   at_write, at_read;
	logic [BITS:0]     level;

	assign  irdy = !level[BITS];
	uwire  push = ivld && irdy;
	uwire  pull = (level != 0) && (!ovld || ordy);

	always_ff @(posedge clk) begin
		if(push)  memory[at_write] <= idat;
		if(pull)  odat <= memory[at_read];
	end
	always_ff @(posedge clk) begin
		at_write <= at_write + BITS'(push);
		at_read  <= at_read + BITS'(pull);
		level    <= level + (BITS+1)'(push) - (BITS+1)'(pull);
		ovld     <= pull || (ovld && !ordy);
		if(clear) begin
			at_write <= 0;
			at_read  <= 0;
			level    <= 0;
			ovld     <= 0;
		end
	end

endmodule : dma_fifo
