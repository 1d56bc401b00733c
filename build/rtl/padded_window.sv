// Windows of a padded convolution: positions come in one a word, whole windows go out, tap 0 lowest.
// Padding takes no clock: at stride 1 with as many windows as positions a frame takes LENGTH clocks,
// back to back.
//
// `past` holds the positions before the one at the input, and zeros once a frame has ended. The
// windows that reach beyond the frame's end come from `tail`, a copy of `past` that zeros move
// through while the next frame fills `past`: they wait for no word of it.
module padded_window #(
	int unsigned  BITS,      // of a position
	int unsigned  TAPS,
	int unsigned  DILATION,
	int unsigned  STRIDE,
	int unsigned  LENGTH,    // positions a frame
	int unsigned  BEFORE,    // zeros in front of them; less than a window reaches over
	int unsigned  WINDOWS    // windows a frame
)(
	input	logic  clk,
	input	logic  rst_n,

	input	logic [BITS-1:0]  idat,
	input	logic  ivld,
	output	logic  irdy,

	output	logic [TAPS-1:0][BITS-1:0]  odat,
	output	logic  ovld,
	input	logic  ordy
);
	localparam int unsigned  REACH = (TAPS-1) * DILATION;  // positions held beside the newest
	localparam int unsigned  LEAD = REACH - BEFORE;        // positions before the first window's last
	localparam int unsigned  NEEDED = LEAD + (WINDOWS-1) * STRIDE + 1;
	localparam int unsigned  AFTER = NEEDED > LENGTH? NEEDED - LENGTH : 0;  // zeros behind a frame
	localparam int unsigned  MOST = LEAD > STRIDE? LEAD : STRIDE;
	localparam int unsigned  SKIP_BITS = $clog2(MOST+1);
	localparam int unsigned  POS_BITS = LENGTH > 1? $clog2(LENGTH) : 1;
	localparam int unsigned  REST_BITS = AFTER > 0? $clog2(AFTER+1) : 1;

	uwire  free;                       // the output register takes a window
	logic [REST_BITS-1:0]  rest = 0;   // zeros still to follow the former frame
	uwire  draining = rest != 0;

	// The frame that comes in
	logic [POS_BITS-1:0]   pos = 0;
	logic [SKIP_BITS-1:0]  skip = SKIP_BITS'(LEAD);  // positions before the next window's last
	uwire  last  = pos == POS_BITS'(LENGTH-1);
	uwire  emits = skip == 0;
	assign  irdy = !(emits && !free) && !((emits || last) && draining);
	uwire  accept = ivld && irdy;
	uwire [SKIP_BITS-1:0]  next_skip = emits? SKIP_BITS'(STRIDE-1) : skip - 1;
	logic [REACH-1:0][BITS-1:0]  past;
	logic [REACH:0][BITS-1:0]    all;
	assign  all = { past, idat };
	always_ff @(posedge clk) begin
		if(!rst_n) begin
			pos  <= 0;
			skip <= SKIP_BITS'(LEAD);
			past <= '0;
		end
		else if(accept) begin
			pos  <= last? 0 : pos + 1;
			skip <= last? SKIP_BITS'(LEAD) : next_skip;
			past <= last? '0 : all[REACH-1:0];
		end
	end

	// What is left of the frame before it
	logic [REACH-1:0][BITS-1:0]  tail;
	logic [SKIP_BITS-1:0]  gap;
	uwire  tail_emits = draining && gap == 0;
	uwire  drain = draining && (free || gap != 0);
	always_ff @(posedge clk) begin
		if(!rst_n)                rest <= 0;
		else if(accept && last)   rest <= REST_BITS'(AFTER);
		else if(drain)            rest <= rest - 1;
	end
	always_ff @(posedge clk) begin
		if(accept && last) begin
			tail <= all[REACH-1:0];
			gap  <= next_skip;
		end
		else if(drain) begin
			tail <= tail << BITS;
			gap  <= gap == 0? SKIP_BITS'(STRIDE-1) : gap - 1;
		end
	end

	logic  vld = 0;
	assign  free = !vld || ordy;
	assign  ovld = vld;
	always_ff @(posedge clk) begin
		if(!rst_n)     vld <= 0;
		else if(free)  vld <= tail_emits || (accept && emits);
	end

	logic [TAPS-1:0][BITS-1:0]  window;
	assign  odat = window;
	for(genvar  t = 0; t < TAPS; t++) begin : genTap
		localparam int unsigned  BACK = (TAPS-1-t) * DILATION;  // from the newest
		if(BACK == 0) begin : genNewest
			always_ff @(posedge clk)  if(free)  window[t] <= tail_emits? '0 : idat;
		end : genNewest
		else begin : genPast
			always_ff @(posedge clk)  if(free)  window[t] <= tail_emits? tail[BACK-1] : past[BACK-1];
		end : genPast
	end : genTap

endmodule : padded_window
