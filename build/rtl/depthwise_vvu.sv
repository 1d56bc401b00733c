// Depthwise vector-vector unit: for every position and channel fold, TAPS/SIMD words of
// SIMD x PE activations come in (tap-major, channel lanes innermost, as FINN's depthwise sliding
// window generator emits them) and one word of PE dot products goes out.
//
// Three pipeline stages (weight read, multiply, accumulate) map onto a block RAM's or LUTRAM's
// output register and a DSP slice's M and P registers. One word a clock, no bubbles.
module depthwise_vvu #(
	int unsigned  FOLDS,     // channels / PE
	int unsigned  TAPS,      // kernel size
	int unsigned  PE,        // channels in parallel
	int unsigned  SIMD,      // taps in parallel
	int unsigned  A_BITS,
	int unsigned  W_BITS,
	int unsigned  P_BITS,
	bit           A_SIGNED,
	bit           W_SIGNED,
	parameter     INIT_FILE = "",  // FINN's memblock.dat: TAPS/SIMD words a fold, [PE][SIMD] weights
	parameter     RAM_STYLE = "auto"
)(
	input	logic  clk,
	input	logic  rst_n,

	input	logic [SIMD-1:0][PE-1:0][A_BITS-1:0]  idat,
	input	logic  ivld,
	output	logic  irdy,

	output	logic [PE-1:0][P_BITS-1:0]  odat,
	output	logic  ovld,
	input	logic  ordy
);
	localparam int unsigned  STEPS = TAPS / SIMD;
	localparam int unsigned  DEPTH = FOLDS * STEPS;
	localparam int unsigned  ADDR_BITS = DEPTH > 1? $clog2(DEPTH) : 1;
	localparam int unsigned  STEP_BITS = STEPS > 1? $clog2(STEPS) : 1;

	// The whole pipeline moves unless a finished result waits in the last stage.
	uwire  en = !ovld || ordy;
	assign  irdy = en;

	// Position within the kernel and within the weight memory
	logic [STEP_BITS-1:0]  step = 0;
	logic [ADDR_BITS-1:0]  addr = 0;
	uwire  first = step == 0;
	uwire  last  = step == STEP_BITS'(STEPS-1);
	always_ff @(posedge clk) begin
		if(!rst_n) begin
			step <= 0;
			addr <= 0;
		end
		else if(en && ivld) begin
			step <= last? 0 : step + 1;
			addr <= addr == ADDR_BITS'(DEPTH-1)? 0 : addr + 1;
		end
	end

	// Stage 1: activations and their weights
	(* ram_style = RAM_STYLE *)
	logic [PE*SIMD*W_BITS-1:0]  weights[DEPTH];
	initial  $readmemh(INIT_FILE, weights);

	logic [SIMD-1:0][PE-1:0][A_BITS-1:0]  a1;
	logic [PE-1:0][SIMD-1:0][W_BITS-1:0]  w1;
	always_ff @(posedge clk) begin
		if(en) begin
			a1 <= idat;
			w1 <= weights[addr];
		end
	end

	logic  vld1 = 0, first1, last1;
	logic  vld2 = 0, first2, last2;
	logic  vld3 = 0;
	always_ff @(posedge clk) begin
		if(!rst_n) begin
			vld1 <= 0;
			vld2 <= 0;
			vld3 <= 0;
		end
		else if(en) begin
			vld1 <= ivld;
			vld2 <= vld1;
			vld3 <= vld2 && last2;
		end
	end
	always_ff @(posedge clk) begin
		if(en) begin
			{ first1, last1 } <= { first, last };
			{ first2, last2 } <= { first1, last1 };
		end
	end
	assign  ovld = vld3;

	// Stages 2 and 3. Sums wrap at P_BITS: exact whenever the final result fits.
	for(genvar  pe = 0; pe < PE; pe++) begin : genPE
		logic signed [A_BITS+W_BITS+1:0]  product2[SIMD];
		for(genvar  s = 0; s < SIMD; s++) begin : genSIMD
			uwire signed [A_BITS:0]  a = { A_SIGNED && a1[s][pe][A_BITS-1], a1[s][pe] };
			uwire signed [W_BITS:0]  w = { W_SIGNED && w1[pe][s][W_BITS-1], w1[pe][s] };
			always_ff @(posedge clk) begin
				if(en)  product2[s] <= a * w;
			end
		end : genSIMD

		logic signed [P_BITS-1:0]  sum3;
		logic signed [P_BITS-1:0]  total;
		always_comb begin
			total = first2? '0 : sum3;
			for(int unsigned  s = 0; s < SIMD; s++)  total += P_BITS'(product2[s]);
		end
		always_ff @(posedge clk) begin
			if(en && vld2)  sum3 <= total;
		end
		assign  odat[pe] = sum3;
	end : genPE

endmodule : depthwise_vvu
