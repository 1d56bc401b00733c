// Windows of three positions, zeros in front of a frame's first and behind its last. The last
// window leaves SPACING clocks after the one before, whether the next frame follows or not.
module sparse_window #(parameter WIDTH = 8, POSITIONS = 257, SPACING = 1) (
	input clk, input rst,
	input [WIDTH-1:0] in_data, input in_valid,
	output [3*WIDTH-1:0] out_data, output reg out_valid
);
	reg [WIDTH-1:0] next, middle, previous;  // a window
	reg [WIDTH-1:0] newest;
	reg waits;  // newest still needs its window
	reg [$clog2(POSITIONS+1)-1:0] position;  // of newest
	wire last = position == POSITIONS - 1;
	reg [$clog2(SPACING+1)-1:0] pause;  // until the last window
	wire fire = waits & (last ? pause == 0 : in_valid);
	assign out_data = {next, middle, previous};
	// Zeros by the registers' resets, which take no LUT.
	always @(posedge clk)
		if (fire & last) next <= 0;
		else if (fire) next <= in_data;
	always @(posedge clk)
		if (fire & position == 0) previous <= 0;
		else if (fire) previous <= middle;
	always @(posedge clk) begin
		if (fire) middle <= newest;
		if (in_valid) newest <= in_data;
		pause <= in_valid ? SPACING - 1 : pause - (pause != 0);
		out_valid <= fire & ~rst;
		if (fire) position <= last ? 0 : position + 1'b1;
		waits <= in_valid | (waits & ~fire);
		if (rst) begin
			waits <= 0; position <= 0;
		end
	end
endmodule
