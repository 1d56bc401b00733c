// FIFO with a capacity that is read when simulation starts, for the search of FIFO depths: same
// handshake and latency as the shift register form of finn-rtllib's fifo.sv.
module fifo_sized #(
	int unsigned  MAX_DEPTH,
	int unsigned  DATA_WIDTH,
	parameter     DEPTH_FILE  // one hex number: how many words it holds, at least 2
)(
	input	logic  clk,
	input	logic  rst,

	input	logic [DATA_WIDTH-1:0]  idat,
	input	logic  ivld,
	output	logic  irdy,

	output	logic [DATA_WIDTH-1:0]  odat,
	output	logic  ovld,
	input	logic  ordy,

	output	logic [31:0]  count,
	output	logic [31:0]  maxcount
);
	logic [31:0]  depth[1];
	initial  $readmemh(DEPTH_FILE, depth);

	// The output register holds one word, the ring the others.
	logic [DATA_WIDTH-1:0]  Ring[MAX_DEPTH];
	logic [31:0]  Fill = 0, WrPtr = 0, RdPtr = 0, Count = 0, MaxCount = 0;
	logic  Vld = 0;
	logic [DATA_WIDTH-1:0]  B;
	assign  irdy = Fill < depth[0] - 1;
	assign  ovld = Vld;
	assign  odat = B;
	assign  count = Count;
	assign  maxcount = MaxCount;

	uwire  push = ivld && irdy;
	uwire  load = !Vld || ordy;
	uwire  pop  = load && (Fill != 0);
	uwire [31:0]  count_nxt = Count + 32'(push) - 32'(ovld && ordy);
	always_ff @(posedge clk) begin
		if(rst) begin
			Fill <= 0;
			WrPtr <= 0;
			RdPtr <= 0;
			Count <= 0;
			MaxCount <= 0;
			Vld <= 0;
		end
		else begin
			if(push) begin
				Ring[WrPtr] <= idat;
				WrPtr <= WrPtr == MAX_DEPTH-1? 0 : WrPtr + 1;
			end
			if(pop) begin
				B <= Ring[RdPtr];
				RdPtr <= RdPtr == MAX_DEPTH-1? 0 : RdPtr + 1;
			end
			Fill <= Fill + 32'(push) - 32'(pop);
			if(load)  Vld <= pop;
			Count <= count_nxt;
			if(count_nxt > MaxCount)  MaxCount <= count_nxt;
		end
	end

endmodule : fifo_sized
