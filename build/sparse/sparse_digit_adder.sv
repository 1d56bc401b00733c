// Adds (or subtracts) two numbers DIGIT bits a clock, the lowest first; `first` lies a clock before
// a word's first digits. Synthesis gets DIGIT LUTs: two bits at a time, a LUT of two outputs for
// the upper sum and the carry. Synthesis tools left alone take half as many again.
module sparse_digit_adder #(parameter DIGIT = 1, SUBTRACT = 0) (
	input clk, input first,
	input [DIGIT-1:0] a, input [DIGIT-1:0] b, output [DIGIT-1:0] sum
);
	reg carry;
	wire carried;
	always @(posedge clk) carry <= first ? SUBTRACT : carried;
`ifdef SYNTHESIS
	// inputs {1, b1, a1, carry, b0, a0}: the upper sum in the upper half, the carry in the lower
	function automatic [63:0] pair();
		for (int i = 0; i < 32; i++) begin
			automatic int total = i[0] + (i[1] ^ SUBTRACT) + i[2];
			total = total / 2 + i[3] + (i[4] ^ SUBTRACT);
			pair[32 + i] = total % 2;
			pair[i] = total / 2;
		end
	endfunction
	// inputs {1, 0, 0, carry, b, a}
	function automatic [63:0] single();
		for (int i = 0; i < 32; i++) begin
			automatic int total = i[0] + (i[1] ^ SUBTRACT) + i[2];
			single[32 + i] = total % 2;
			single[i] = total / 2;
		end
	endfunction
	wire [(DIGIT+1)/2:0] chain;
	assign chain[0] = carry, carried = chain[(DIGIT+1)/2];
	genvar i;
	generate for (i = 0; i < DIGIT; i = i + 2) begin : step
		if (i + 1 < DIGIT) begin
			assign sum[i] = a[i] ^ b[i] ^ chain[i/2] ^ (SUBTRACT != 0);
			LUT6_2 #(.INIT(pair())) lut (.I0(a[i]), .I1(b[i]), .I2(chain[i/2]), .I3(a[i+1]),
				.I4(b[i+1]), .I5(1'b1), .O6(sum[i+1]), .O5(chain[i/2+1]));
		end else
			LUT6_2 #(.INIT(single())) lut (.I0(a[i]), .I1(b[i]), .I2(chain[i/2]), .I3(1'b0),
				.I4(1'b0), .I5(1'b1), .O6(sum[i]), .O5(chain[i/2+1]));
	end endgenerate
`else
	assign {carried, sum} = a + (b ^ {DIGIT{SUBTRACT != 0}}) + carry;
`endif
endmodule
