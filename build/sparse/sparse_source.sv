// Takes a frame's words from an AXI stream into a FIFO and plays them without a gap: the pipeline
// behind has no back-pressure. A frame starts when it is there as a whole and its class will find
// room at the end of the pipeline. One clock lies between two frames.
module sparse_source #(
	parameter WIDTH = 48, WORDS = 256, ROOM = 16,
	localparam ABITS = $clog2(2 * WORDS), DEPTH = 1 << ABITS
) (
	input clk, input rst,
	input [WIDTH-1:0] in_data, input in_valid, output in_ready,
	output reg [WIDTH-1:0] out_data, output reg out_first,
	input taken  // a class has left the accelerator
);
	reg [WIDTH-1:0] memory [0:DEPTH-1];
	reg [ABITS-1:0] at_write, at_read;
	reg [ABITS:0] level;
	reg [$clog2(WORDS+1)-1:0] left;
	reg [$clog2(ROOM+1)-1:0] room;
	wire write = in_valid & in_ready, read = left != 0;
	wire start = ~read & (level >= WORDS) & (room != 0);
	assign in_ready = (level != DEPTH) & ~rst;
	always @(posedge clk) begin
		if (write) memory[at_write] <= in_data;
		out_data <= memory[at_read];
		out_first <= read & (left == WORDS);
		at_write <= at_write + write;
		at_read <= at_read + read;
		level <= level + write - read;
		left <= start ? WORDS : left - read;
		room <= room + taken - start;
		if (rst) begin
			at_write <= 0; at_read <= 0; level <= 0; left <= 0; room <= ROOM; out_first <= 0;
		end
	end
endmodule
