"""Projects of our shell around an accelerator that is a wire, in a moment."""

from pathlib import Path

from build.rtl.kernel import Stream
from build.simulation.stitch import Accelerator, Link
from build.simulation.verilate import Design, Port

TOP = """module accelerator (
	input ap_clk, input ap_rst_n,
	input [63:0] in0_TDATA, input in0_TVALID, output in0_TREADY,
	output [7:0] out0_TDATA, output out0_TVALID, input out0_TREADY
);
	reg [7:0] table_of [0:3];
	initial $readmemh("node.memblock.dat", table_of);
	assign out0_TDATA = in0_TDATA[7:0] ^ table_of[0];
	assign out0_TVALID = in0_TVALID & ap_rst_n;
	assign in0_TREADY = out0_TREADY;
endmodule
"""


def tiny_accelerator() -> Accelerator:
    """Return one of 64 bits in and 8 out, a word a frame, that reads a memory's contents."""
    links = (
        Link("in0", "in", "", "node", Stream(8, 8, False), (1, 256, 8)),
        Link("out0", "out", "node", "", Stream(1, 8, False), (1, 1, 1)),
    )
    ports = [Port("in0", 64), Port("out0", 8)]
    design = Design("accelerator", {"accelerator.sv": TOP}, ports, {})
    return Accelerator(design, {"node.memblock.dat": b"01\n02\n03\n04\n"}, links, {})


def tiny_project(board: str, folder: Path, clock: float = 200.0) -> Path:
    """Write the project of a board to a new folder; return its script."""
    from build.boards import find_board
    from build.shell.project import write_project

    write_project(tiny_accelerator(), find_board(board), clock, folder)
    return folder / "shell.tcl"
