// Two reading and two writing masters, of ids 0 and 1, at one memory port: what an interconnect does.
// Addresses in turns; read data and responses go to the master whose id they bear, in the order in
// which they come; write data in the order of their addresses.
module axi_share #(
	int unsigned  ADDRESS_BITS,
	int unsigned  DATA_BITS
)(
	input	logic  clk,
	input	logic  rst_n,

	input	logic [1:0][ADDRESS_BITS-1:0]  araddr,
	input	logic [1:0][7:0]  arlen,
	input	logic [1:0]  arvalid,
	output	logic [1:0]  arready,
	output	logic [1:0]  rvalid,
	input	logic [1:0]  rready,

	input	logic [1:0][ADDRESS_BITS-1:0]  awaddr,
	input	logic [1:0][7:0]  awlen,
	input	logic [1:0]  awvalid,
	output	logic [1:0]  awready,
	input	logic [1:0][DATA_BITS-1:0]    wdata,
	input	logic [1:0][DATA_BITS/8-1:0]  wstrb,
	input	logic [1:0]  wlast,
	input	logic [1:0]  wvalid,
	output	logic [1:0]  wready,
	output	logic [1:0]  bvalid,
	input	logic [1:0]  bready,

	output	logic  port_arid,
	output	logic [ADDRESS_BITS-1:0]  port_araddr,
	output	logic [7:0]  port_arlen,
	output	logic  port_arvalid,
	input	logic  port_arready,
	input	logic  port_rid,
	input	logic  port_rvalid,
	output	logic  port_rready,

	output	logic  port_awid,
	output	logic [ADDRESS_BITS-1:0]  port_awaddr,
	output	logic [7:0]  port_awlen,
	output	logic  port_awvalid,
	input	logic  port_awready,
	output	logic [DATA_BITS-1:0]    port_wdata,
	output	logic [DATA_BITS/8-1:0]  port_wstrb,
	output	logic  port_wlast,
	output	logic  port_wvalid,
	input	logic  port_wready,
	input	logic  port_bid,
	input	logic  port_bvalid,
	output	logic  port_bready
);
	// Whose turn it is: it stays with who has offered until that is taken.
	logic  reads, writes;
	always_ff @(posedge clk) begin
		if(!arvalid[reads] || port_arready)  reads <= !reads;
		if(!awvalid[writes] || port_awready)  writes <= !writes;
		if(!rst_n) begin
			reads  <= 0;
			writes <= 0;
		end
	end
	assign  port_arid    = reads;
	assign  port_araddr  = araddr[reads];
	assign  port_arlen   = arlen[reads];
	assign  port_arvalid = arvalid[reads];
	assign  arready      = 2'(port_arready) << reads;
	assign  rvalid       = 2'(port_rvalid) << port_rid;
	assign  port_rready  = rready[port_rid];

	// Whose data come next: an address is offered only when there is room to remember it.
	logic [15:0]  order;
	logic [4:0]   waiting;
	uwire  announced = port_awvalid && port_awready;
	uwire  finished  = port_wvalid && port_wready && port_wlast;
	uwire  sender = order[0];
	assign  port_awid    = writes;
	assign  port_awaddr  = awaddr[writes];
	assign  port_awlen   = awlen[writes];
	assign  port_awvalid = awvalid[writes];
	assign  awready      = 2'(port_awready) << writes;
	assign  port_wdata   = wdata[sender];
	assign  port_wstrb   = wstrb[sender];
	assign  port_wlast   = wlast[sender];
	assign  port_wvalid  = (waiting != 0) && wvalid[sender];
	assign  wready       = 2'(port_wready && (waiting != 0)) << sender;
	always_ff @(posedge clk) begin
		automatic logic [15:0]  kept = finished? order >> 1 : order;
		automatic logic [4:0]   left = waiting - 5'(finished);
		if(announced)  kept[left[3:0]] = writes;
		order   <= kept;
		waiting <= left + 5'(announced);
		if(!rst_n)  waiting <= 0;
	end
	assign  bvalid      = 2'(port_bvalid) << port_bid;
	assign  port_bready = bready[port_bid];

endmodule : axi_share
