// Gives every word of a stream to COPIES streams, each of which takes it in its own time; the next
// word is taken once all have.
module stream_fork #(
	int unsigned  BITS,
	int unsigned  COPIES
)(
	input	logic  clk,
	input	logic  rst_n,

	input	logic [BITS-1:0]  idat,
	input	logic  ivld,
	output	logic  irdy,

	output	logic [COPIES-1:0][BITS-1:0]  odat,
	output	logic [COPIES-1:0]  ovld,
	input	logic [COPIES-1:0]  ordy
);
	logic [BITS-1:0]  word;
	logic [COPIES-1:0]  pending = 0;

	uwire [COPIES-1:0]  left = pending & ~ordy;
	assign  irdy = left == 0;
	assign  ovld = pending;
	assign  odat = {COPIES{word}};

	always_ff @(posedge clk) begin
		if(!rst_n)  pending <= 0;
		else        pending <= irdy? {COPIES{ivld}} : left;
	end
	always_ff @(posedge clk) begin
		if(irdy)  word <= idat;
	end

endmodule : stream_fork
