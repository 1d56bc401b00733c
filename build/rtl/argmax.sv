// Index of the largest of FOLDS x PE values; of equal ones the first, as numpy and ONNX have it.
// Stage 1 finds the best lane of a word in a tree, stage 2 keeps the best word of the frame.
module argmax #(
	int unsigned  FOLDS,    // words a frame
	int unsigned  PE,       // values a word
	int unsigned  BITS,
	bit           SIGNED,
	int unsigned  INDEX_BITS
)(
	input	logic  clk,
	input	logic  rst_n,

	input	logic [PE-1:0][BITS-1:0]  idat,
	input	logic  ivld,
	output	logic  irdy,

	output	logic [INDEX_BITS-1:0]  odat,
	output	logic  ovld,
	input	logic  ordy
);
	localparam int unsigned  COUNT_BITS = FOLDS > 1? $clog2(FOLDS) : 1;
	localparam int unsigned  LEAVES = 2**$clog2(PE);
	// Flipping the sign bit turns signed into unsigned order.
	localparam logic [BITS-1:0]  FLIP = BITS'(SIGNED) << (BITS-1);

	uwire  en = !ovld || ordy;
	assign  irdy = en;

	// Heap-ordered tree: node i has children 2i+1 and 2i+2, the left one with the lower indices.
	logic [BITS-1:0]        value[2*LEAVES-1];
	logic [INDEX_BITS-1:0]  lane [2*LEAVES-1];
	logic [2*LEAVES-2:0]    used;
	for(genvar  i = 0; i < LEAVES; i++) begin : genLeaf
		localparam int unsigned  NODE = LEAVES-1 + i;
		assign  used [NODE] = i < PE;
		assign  value[NODE] = i < PE? idat[i < PE? i : 0] ^ FLIP : '0;
		assign  lane [NODE] = INDEX_BITS'(i);
	end : genLeaf
	for(genvar  i = 0; i < LEAVES-1; i++) begin : genNode
		localparam int unsigned  L = 2*i+1;
		localparam int unsigned  R = 2*i+2;
		uwire  right = used[R] && (value[R] > value[L]);
		assign  used [i] = used[L];
		assign  value[i] = right? value[R] : value[L];
		assign  lane [i] = right? lane[R] : lane[L];
	end : genNode

	// Stage 1: best of the word, as an index into the frame
	logic [COUNT_BITS-1:0]  count = 0;
	logic [INDEX_BITS-1:0]  base  = 0;
	uwire  last = count == COUNT_BITS'(FOLDS-1);
	logic  vld1 = 0, first1, last1;
	logic [BITS-1:0]        value1;
	logic [INDEX_BITS-1:0]  index1;
	always_ff @(posedge clk) begin
		if(!rst_n) begin
			count <= 0;
			base  <= 0;
			vld1  <= 0;
		end
		else if(en) begin
			vld1 <= ivld;
			if(ivld) begin
				count <= last? 0 : count + 1;
				base  <= last? 0 : base + INDEX_BITS'(PE);
			end
		end
	end
	always_ff @(posedge clk) begin
		if(en) begin
			first1 <= count == 0;
			last1  <= last;
			value1 <= value[0];
			index1 <= base + lane[0];
		end
	end

	// Stage 2: best of the frame
	logic  vld2 = 0;
	logic [BITS-1:0]        best2;
	logic [INDEX_BITS-1:0]  index2;
	always_ff @(posedge clk) begin
		if(!rst_n)   vld2 <= 0;
		else if(en)  vld2 <= vld1 && last1;
	end
	always_ff @(posedge clk) begin
		if(en && vld1 && (first1 || (value1 > best2))) begin
			best2  <= value1;
			index2 <= index1;
		end
	end
	assign  odat = index2;
	assign  ovld = vld2;

endmodule : argmax
