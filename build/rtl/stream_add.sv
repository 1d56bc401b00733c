// Adds two streams, lane by lane: waits for a word of both. Stream A is the lower part of idat.
module stream_add #(
	int unsigned  PE,
	int unsigned  A_BITS,
	int unsigned  B_BITS,
	int unsigned  S_BITS,
	bit           A_SIGNED,
	bit           B_SIGNED
)(
	input	logic  clk,
	input	logic  rst_n,

	input	logic [PE*(A_BITS+B_BITS)-1:0]  idat,
	input	logic [1:0]  ivld,
	output	logic [1:0]  irdy,

	output	logic [PE-1:0][S_BITS-1:0]  odat,
	output	logic  ovld,
	input	logic  ordy
);
	uwire  en = !ovld || ordy;
	uwire  both = &ivld;
	assign  irdy = {2{en && both}};

	logic  vld = 0;
	assign  ovld = vld;
	always_ff @(posedge clk) begin
		if(!rst_n)   vld <= 0;
		else if(en)  vld <= both;
	end

	uwire [PE-1:0][A_BITS-1:0]  adat = idat[PE*A_BITS-1:0];
	uwire [PE-1:0][B_BITS-1:0]  bdat = idat[PE*(A_BITS+B_BITS)-1:PE*A_BITS];
	logic [PE-1:0][S_BITS-1:0]  sum;
	for(genvar  pe = 0; pe < PE; pe++) begin : genPE
		uwire signed [A_BITS:0]  a = { A_SIGNED && adat[pe][A_BITS-1], adat[pe] };
		uwire signed [B_BITS:0]  b = { B_SIGNED && bdat[pe][B_BITS-1], bdat[pe] };
		always_ff @(posedge clk) begin
			if(en)  sum[pe] <= S_BITS'(a) + S_BITS'(b);
		end
	end : genPE
	assign  odat = sum;

endmodule : stream_add
