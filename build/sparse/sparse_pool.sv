// The largest of every SIZE positions of each lane; what is left over at a frame's end is dropped.
module sparse_pool #(
	parameter LANES = 1, BITS = 8, SIGNED = 1, SIZE = 2, POSITIONS = 257
) (
	input clk, input rst,
	input [LANES*BITS-1:0] in_data, input in_valid,
	output reg [LANES*BITS-1:0] out_data, output reg out_valid
);
	reg [$clog2(SIZE+1)-1:0] phase;
	reg [$clog2(POSITIONS+1)-1:0] position;
	wire last = position == POSITIONS - 1;
	genvar i;
	generate for (i = 0; i < LANES; i = i + 1) begin : lane
		wire [BITS-1:0] now = in_data[i*BITS +: BITS], best = out_data[i*BITS +: BITS];
		// The order of two's complement is that of unsigned numbers with the top bit inverted.
		wire [BITS-1:0] flip = SIGNED ? 1'b1 << (BITS - 1) : 0;
		always @(posedge clk)
			if (in_valid & (phase == 0 | (now ^ flip) > (best ^ flip))) out_data[i*BITS +: BITS] <= now;
	end endgenerate
	always @(posedge clk) begin
		out_valid <= in_valid & (phase == SIZE - 1);
		if (in_valid) begin
			phase <= last | phase == SIZE - 1 ? 0 : phase + 1'b1;
			position <= last ? 0 : position + 1'b1;
		end
		if (rst) begin
			phase <= 0; position <= 0; out_valid <= 0;
		end
	end
endmodule
