// Width converter between beats and words of any number of bytes; the lowest bytes come first.
module dma_width #(
	int unsigned  IN_BYTES,
	int unsigned  OUT_BYTES
)(
	input	logic  clk,
	input	logic  rst_n,

	input	logic [8*IN_BYTES-1:0]  idat,
	input	logic  ivld,
	output	logic  irdy,

	output	logic [8*OUT_BYTES-1:0]  odat,
	output	logic  ovld,
	input	logic  ordy
);
	function automatic int unsigned common(input int unsigned a, input int unsigned b);
		while(b != 0) begin
			automatic int unsigned  rest = a % b;
			a = b;
			b = rest;
		end
		return  a;
	endfunction
	localparam int unsigned  CHUNK = common(IN_BYTES, OUT_BYTES);

	if(IN_BYTES == OUT_BYTES) begin : genSame
		assign  odat = idat;
		assign  ovld = ivld;
		assign  irdy = ordy;
		uwire  unused = &{clk, rst_n};
	end : genSame
	else begin : genConvert
		width_converter #(
			.CHUNK_BITS(8*CHUNK), .IN(IN_BYTES/CHUNK), .OUT(OUT_BYTES/CHUNK)
		) convert (.clk, .rst_n, .idat, .ivld, .irdy, .odat, .ovld, .ordy);
	end : genConvert

endmodule : dma_width
