// Windows of three positions, zeros in front of a frame's first and behind its last. The last
// window leaves a clock after the last position came, whether the next frame follows or not.
module sparse_window #(parameter WIDTH = 8, POSITIONS = 257) (
	input clk, input rst,
	input [WIDTH-1:0] in_data, input in_valid,
	output reg [3*WIDTH-1:0] out_data, output reg out_valid
);
	reg [WIDTH-1:0] previous, middle;
	reg waits;  // middle still needs its window
	reg [$clog2(POSITIONS+1)-1:0] position;  // of middle
	wire last = position == POSITIONS - 1;
	wire fire = waits & (in_valid | last);
	always @(posedge clk) begin
		out_valid <= fire;
		if (fire) begin
			out_data <= {last ? {WIDTH{1'b0}} : in_data, middle, previous};
			previous <= last ? {WIDTH{1'b0}} : middle;
			position <= last ? 0 : position + 1'b1;
		end
		if (in_valid) middle <= in_data;
		waits <= in_valid | (waits & ~fire);
		if (rst) begin
			waits <= 0; position <= 0; previous <= 0; out_valid <= 0;
		end
	end
endmodule
