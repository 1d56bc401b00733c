// Adds a constant to every channel, or multiplies by it: FOLDS words of PE lanes a position, one
// constant a channel.
module channel_add #(
	int unsigned  FOLDS,
	int unsigned  PE,
	int unsigned  A_BITS,
	int unsigned  C_BITS,
	int unsigned  S_BITS,
	bit           A_SIGNED,
	bit           C_SIGNED,
	bit           MULTIPLY = 0,
	parameter     INIT_FILE = "",
	parameter     RAM_STYLE = "auto"
)(
	input	logic  clk,
	input	logic  rst_n,

	input	logic [PE-1:0][A_BITS-1:0]  idat,
	input	logic  ivld,
	output	logic  irdy,

	output	logic [PE-1:0][S_BITS-1:0]  odat,
	output	logic  ovld,
	input	logic  ordy
);
	localparam int unsigned  ADDR_BITS = FOLDS > 1? $clog2(FOLDS) : 1;

	uwire  en = !ovld || ordy;
	assign  irdy = en;

	logic [ADDR_BITS-1:0]  addr = 0;
	logic  vld1 = 0, vld2 = 0;
	assign  ovld = vld2;
	always_ff @(posedge clk) begin
		if(!rst_n) begin
			addr <= 0;
			vld1 <= 0;
			vld2 <= 0;
		end
		else if(en) begin
			if(ivld)  addr <= addr == ADDR_BITS'(FOLDS-1)? 0 : addr + 1;
			vld1 <= ivld;
			vld2 <= vld1;
		end
	end

	(* ram_style = RAM_STYLE *)
	logic [PE*C_BITS-1:0]  constants[FOLDS];
	initial  $readmemh(INIT_FILE, constants);

	logic [PE-1:0][A_BITS-1:0]  a1;
	logic [PE-1:0][C_BITS-1:0]  c1;
	logic [PE-1:0][S_BITS-1:0]  s2;
	always_ff @(posedge clk) begin
		if(en) begin
			a1 <= idat;
			c1 <= constants[addr];
		end
	end
	for(genvar  pe = 0; pe < PE; pe++) begin : genPE
		uwire signed [A_BITS:0]  a = { A_SIGNED && a1[pe][A_BITS-1], a1[pe] };
		uwire signed [C_BITS:0]  c = { C_SIGNED && c1[pe][C_BITS-1], c1[pe] };
		always_ff @(posedge clk) begin
			if(en)  s2[pe] <= MULTIPLY? S_BITS'(a) * S_BITS'(c) : S_BITS'(a) + S_BITS'(c);
		end
	end : genPE
	assign  odat = s2;

endmodule : channel_add
