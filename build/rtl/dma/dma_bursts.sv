// Cuts a transfer into AXI bursts of type INCR: at most BURST beats each, none across a 4 KiB
// boundary (IHI 0022E, A3.4.1). A burst is offered two clocks after the one before was taken.
module dma_bursts #(
	int unsigned  ADDRESS_BITS,
	int unsigned  BYTES,      // a beat
	int unsigned  BURST,      // most beats a burst, 1 to 256
	int unsigned  BEAT_BITS   // of the number of beats of a transfer
)(
	input	logic  clk,
	input	logic  start,     // with address and beats; drops what is left of the transfer before
	input	logic [ADDRESS_BITS-1:0]  address,
	input	logic [BEAT_BITS-1:0]     beats,

	output	logic  valid,
	output	logic [ADDRESS_BITS-1:0]  burst_address,
	output	logic [8:0]  burst_beats,
	output	logic  burst_last,
	input	logic  take,

	output	logic  empty      // every burst was taken
);
	localparam int unsigned  SHIFT = $clog2(BYTES);
	localparam int unsigned  PAGE_BITS = 12 - SHIFT;  // of a beat's place in its 4 KiB
	// Wide enough for BURST, for all beats of 4 KiB, and for the beats of a transfer
	localparam int unsigned  WIDTH = BEAT_BITS > 13? BEAT_BITS : 13;

	logic [BEAT_BITS-1:0]  left;
	uwire [WIDTH-1:0]  here  = WIDTH'(left);
	uwire [WIDTH-1:0]  room  = WIDTH'(2**PAGE_BITS) - WIDTH'(burst_address[11:SHIFT]);
	uwire [WIDTH-1:0]  most  = room < WIDTH'(BURST)? room : WIDTH'(BURST);
	uwire  ends = here <= most;
	uwire [8:0]  length = ends? here[8:0] : most[8:0];

	assign  empty = left == 0;
	always_ff @(posedge clk) begin
		if(start) begin
			burst_address <= address;
			left  <= beats;
			valid <= 0;
		end
		else if(!valid) begin
			burst_beats <= length;
			burst_last  <= ends;
			valid <= left != 0;
		end
		else if(take) begin
			burst_address <= burst_address + (ADDRESS_BITS'(burst_beats) << SHIFT);
			left  <= left - BEAT_BITS'(burst_beats);
			valid <= 0;
		end
	end

endmodule : dma_bursts
