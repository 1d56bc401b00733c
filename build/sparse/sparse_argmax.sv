// The index of the largest of LANES scores, the first among equals: one score a clock.
module sparse_argmax #(
	parameter LANES = 24, BITS = 16, SIGNED = 1, localparam IBITS = LANES > 1 ? $clog2(LANES) : 1
) (
	input clk, input rst,
	input [LANES*BITS-1:0] in_data, input in_valid,
	output reg [IBITS-1:0] out_data, output reg out_valid
);
	reg [LANES*BITS-1:0] scores;
	reg [BITS-1:0] best;
	reg [IBITS-1:0] index;
	reg running;
	wire [BITS-1:0] flip = SIGNED ? 1'b1 << (BITS - 1) : 0;
	wire [BITS-1:0] now = scores[BITS-1:0] ^ flip;
	always @(posedge clk) begin
		scores <= in_valid ? in_data : scores >> BITS;
		index <= in_valid ? 0 : index + 1'b1;
		running <= in_valid | (running & index != LANES - 1);
		if (running & (index == 0 | now > best)) begin
			best <= now;
			out_data <= index;
		end
		out_valid <= running & index == LANES - 1;
		if (rst) begin
			running <= 0; out_valid <= 0;
		end
	end
endmodule
