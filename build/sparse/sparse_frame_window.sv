// The windows of the first convolution, one a step: TAPS words each, BEFORE words of zeros in front
// of the frame's WORDS and behind them. The next frame may follow after a step; its words are
// masked where they lie in a window of this one.
module sparse_frame_window #(
	parameter WIDTH = 48, WORDS = 256, TAPS = 8, BEFORE = 4,
	localparam POSITIONS = WORDS + 2 * BEFORE - TAPS + 1, AHEAD = TAPS - BEFORE - 1
) (
	input clk, input rst,
	input [WIDTH-1:0] in_data, input in_step, input in_first,
	output reg [TAPS*WIDTH-1:0] out_data, output reg out_valid
);
	reg [WIDTH-1:0] line [0:TAPS-1];  // line[0] is the oldest word
	reg [AHEAD:0] begins;
	reg active;
	reg [$clog2(POSITIONS+TAPS)-1:0] position;  // of the window that lies in line
	wire begin_next = AHEAD == 0 ? in_first : begins[AHEAD == 0 ? 0 : AHEAD - 1];
	integer s;
	always @(posedge clk) begin
		out_valid <= in_step & active;
		if (in_step) begin
			begins <= {begins, in_first};
			for (s = 0; s < TAPS - 1; s = s + 1) line[s] <= line[s+1];
			line[TAPS-1] <= in_data;
			position <= begin_next ? 0 : position + 1'b1;
			active <= begin_next | (active & position != POSITIONS - 1);
			for (s = 0; s < TAPS; s = s + 1)
				if (position + s < BEFORE || position + s >= WORDS + BEFORE) out_data[s*WIDTH +: WIDTH] <= 0;
				else out_data[s*WIDTH +: WIDTH] <= line[s];
		end
		if (rst) begin
			begins <= 0; active <= 0; out_valid <= 0;
		end
	end
endmodule
