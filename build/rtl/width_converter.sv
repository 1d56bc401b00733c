// Stream width converter between words of IN and of OUT chunks, IN and OUT without common factor.
// Chunks keep their order, lowest first. The slower side never waits: one word a clock.
//
// Every buffer position has its own small multiplexer with constant shifts; a barrel shifter over
// the whole word, as FINN's converter has it, costs several times the LUTs.
module width_converter #(
	int unsigned  CHUNK_BITS,
	int unsigned  IN,        // chunks an input word
	int unsigned  OUT        // chunks an output word
)(
	input	logic  clk,
	input	logic  rst_n,

	input	logic [IN-1:0][CHUNK_BITS-1:0]  idat,
	input	logic  ivld,
	output	logic  irdy,

	output	logic [OUT-1:0][CHUNK_BITS-1:0]  odat,
	output	logic  ovld,
	input	logic  ordy
);
	localparam int unsigned  SIZE = IN + OUT - 1;  // enough never to starve nor to stall
	localparam int unsigned  COUNT_BITS = $clog2(SIZE+1);

	logic [COUNT_BITS-1:0]  count = 0;  // chunks held
	logic [CHUNK_BITS-1:0]  held[SIZE];

	assign  ovld = count >= COUNT_BITS'(OUT);
	uwire  pop = ovld && ordy;
	uwire [COUNT_BITS-1:0]  kept = count - (pop? COUNT_BITS'(OUT) : '0);
	assign  irdy = kept <= COUNT_BITS'(SIZE-IN);
	uwire  push = ivld && irdy;

	always_ff @(posedge clk) begin
		if(!rst_n)  count <= 0;
		else        count <= kept + (push? COUNT_BITS'(IN) : '0);
	end

	for(genvar  p = 0; p < SIZE; p++) begin : genPosition
		// The input chunk that lands here when `kept` chunks are in front of the new word; for
		// other fill levels the position holds its own or the shifted chunk.
		logic [CHUNK_BITS-1:0]  next;
		always_comb begin
			next = pop && (p + OUT < SIZE)? held[p + OUT < SIZE? p + OUT : p] : held[p];
			for(int unsigned  i = 0; i < IN; i++) begin
				// A push finds OUT-1 chunks at most.
				if((i <= p) && (p - i < OUT) && push && (kept == COUNT_BITS'(p - i)))  next = idat[i];
			end
		end
		always_ff @(posedge clk)  held[p] <= next;
	end : genPosition

	for(genvar  o = 0; o < OUT; o++)  assign  odat[o] = held[o];

endmodule : width_converter
