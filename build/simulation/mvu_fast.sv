// Stand-in for FINN's mvu.sv in long simulations: same ports, same results in the same cycles, but
// plain sums of products instead of DSP slices with packed lanes. FINN's own module dominates the
// run time of a simulated accelerator; `aaronnet simulate --fast` swaps this one in, and
// tests/build/test_simulation_fast.py holds the two against each other.
module mvu #(
	int unsigned  VERSION = 1,
	int unsigned  PE,
	int unsigned  SIMD,
	int unsigned  WEIGHT_WIDTH,
	int unsigned  ACTIVATION_WIDTH,
	int unsigned  ACCU_WIDTH,
	bit  SIGNED_ACTIVATIONS = 0,
	bit  NARROW_WEIGHTS   = 0,
	bit  FORCE_BEHAVIORAL = 0
)(
	input	logic  clk,
	input	logic  rst,
	input	logic  en,

	input	logic  last,
	input	logic  zero,
	input	logic signed [PE-1:0][SIMD-1:0][WEIGHT_WIDTH    -1:0]  w,
	input	logic                [SIMD-1:0][ACTIVATION_WIDTH-1:0]  a,

	output	logic  vld,
	output	logic signed [PE-1:0][ACCU_WIDTH-1:0]  p
);
	// As in mvu.sv. Results wait in a ring until their pipeline delay has passed.
	localparam int unsigned  PIPELINE_DEPTH = 3 + $clog2(SIMD) + (SIMD == 1) + 1;

	logic [1:PIPELINE_DEPTH]  L = '0;
	logic  First = 1;
	logic [4:0]  WrPtr = 0;
	logic [4:0]  RdPtr = 0;
	assign  vld = L[PIPELINE_DEPTH];
	always_ff @(posedge clk) begin
		if(rst) begin
			L <= '0;
			First <= 1;
			WrPtr <= 0;
			RdPtr <= 0;
		end
		else if(en) begin
			L <= { last, L[1:PIPELINE_DEPTH-1] };
			if(!zero)  First <= last;
			if(last)   WrPtr <= WrPtr + 1;
			if(vld)    RdPtr <= RdPtr + 1;
		end
	end

	for(genvar  pe = 0; pe < PE; pe++) begin : genPE
		logic signed [47:0]  Sum;
		logic signed [ACCU_WIDTH-1:0]  Ring[32];
		always_ff @(posedge clk) begin
			if(en && !zero) begin
				automatic logic signed [31:0]  dot = 0;
				automatic logic signed [47:0]  total;
				for(int unsigned  s = 0; s < SIMD; s++) begin
					dot += 32'($signed(w[pe][s]))
						* 32'($signed({ SIGNED_ACTIVATIONS && a[s][ACTIVATION_WIDTH-1], a[s] }));
				end
				total = (First? 0 : Sum) + 48'(dot);
				Sum <= total;
				if(last)  Ring[WrPtr] <= total;
			end
		end
		assign  p[pe] = Ring[RdPtr];
	end : genPE

endmodule : mvu
