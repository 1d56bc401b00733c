// All positions of a frame as one word, the first one lowest.
module sparse_gather #(parameter WIDTH = 8, POSITIONS = 8) (
	input clk, input rst,
	input [WIDTH-1:0] in_data, input in_valid,
	output reg [POSITIONS*WIDTH-1:0] out_data, output reg out_valid
);
	reg [$clog2(POSITIONS+1)-1:0] position;
	wire last = position == POSITIONS - 1;
	always @(posedge clk) begin
		if (in_valid) begin
			out_data <= {in_data, out_data} >> WIDTH;
			position <= last ? 0 : position + 1'b1;
		end
		out_valid <= in_valid & last;
		if (rst) begin
			position <= 0; out_valid <= 0;
		end
	end
endmodule
