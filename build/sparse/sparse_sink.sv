// Holds classes until they are taken; `sparse_source` starts no frame that would find no room.
module sparse_sink #(parameter WIDTH = 8, ROOM = 16, localparam ABITS = $clog2(ROOM)) (
	input clk, input rst,
	input [WIDTH-1:0] in_data, input in_valid,
	output [WIDTH-1:0] out_data, output out_valid, input out_ready, output taken
);
	reg [WIDTH-1:0] memory [0:ROOM-1];
	reg [ABITS-1:0] at_write, at_read;
	reg [ABITS:0] level;
	assign out_valid = level != 0;
	assign out_data = memory[at_read];
	assign taken = out_valid & out_ready;
	always @(posedge clk) begin
		if (in_valid) memory[at_write] <= in_data;
		at_write <= at_write + in_valid;
		at_read <= at_read + taken;
		level <= level + in_valid - taken;
		if (rst) begin
			at_write <= 0; at_read <= 0; level <= 0;
		end
	end
endmodule
