// Takes a frame's words from an AXI stream into a FIFO and plays them evenly, a frame in CLOCKS
// clocks or more: the pipeline behind has no back-pressure, but waits for words. `out_step` marks
// a word's clock; after a frame the steps go on, without words. A frame starts when its first
// AHEAD words are there, and room for its class at the end of the pipeline. One step lies between
// two frames, or at least LAG clocks.
module sparse_source #(
	parameter WIDTH = 48, WORDS = 256, CLOCKS = 257, AHEAD = 64, LAG = 0, ROOM = 16,
	localparam ABITS = $clog2(2 * WORDS), DEPTH = 1 << ABITS
) (
	input clk, input rst,
	input [WIDTH-1:0] in_data, input in_valid, output in_ready,
	output reg [WIDTH-1:0] out_data, output reg out_step, output reg out_first,
	input taken  // a class has left the accelerator
);
	reg [WIDTH-1:0] memory [0:DEPTH-1];
	reg [ABITS-1:0] at_write, at_read;
	reg [ABITS:0] level;
	reg [$clog2(WORDS+1)-1:0] left;
	reg [$clog2(ROOM+1)-1:0] room;
	reg [$clog2(CLOCKS)-1:0] phase;
	reg [$clog2(LAG+2)-1:0] lag;
	reg idle;  // the frame before did not start at once
	wire write = in_valid & in_ready, reads = left != 0;
	wire due = phase < WORDS + 1, step = due & (~reads | level != 0), read = step & reads;
	wire can_start = step & ~reads, start = can_start & (level >= AHEAD) & (room != 0) & (lag == 0);
	assign in_ready = (level != DEPTH) & ~rst;
	always @(posedge clk) begin
		if (write) memory[at_write] <= in_data;
		out_data <= memory[at_read];
		out_step <= step;
		out_first <= read & (left == WORDS);
		at_write <= at_write + write;
		at_read <= at_read + read;
		level <= level + write - read;
		left <= start ? WORDS : left - read;
		room <= room + taken - start;
		// WORDS + 1 steps in CLOCKS
		if (~due) phase <= phase - (WORDS + 1);
		else if (step) phase <= phase + (CLOCKS - WORDS - 1);
		idle <= can_start ? ~start : idle;
		lag <= can_start & ~start & ~idle ? LAG : lag - (lag != 0);
		if (rst) begin
			at_write <= 0; at_read <= 0; level <= 0; left <= 0; room <= ROOM; out_first <= 0;
			phase <= 0; lag <= 0; idle <= 1;
		end
	end
endmodule
