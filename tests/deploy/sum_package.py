"""A package whose RTL is small: a weighted sum of a frame's integers, four bits of it."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from deploy.board.driver import quantize
from deploy.board.package import Input
from deploy.board.packing import pack
from deploy.board.records import record
from tests.deploy.packages import MANIFEST, make_package, other_fold, write_manifest

WORDS, LANES = 256, 8

SUM = f"""
module accelerator (
	input ap_clk, input ap_rst_n,
	input [{8 * LANES - 1}:0] in0_TDATA, input in0_TVALID, output in0_TREADY,
	output [7:0] out0_TDATA, output out0_TVALID, input out0_TREADY
);
	reg [8:0] count;
	reg [7:0] sum, weights [0:{LANES - 1}];
	initial $readmemh("weights.dat", weights);
	assign in0_TREADY = count != {WORDS};
	assign out0_TVALID = count == {WORDS};
	assign out0_TDATA = sum & 8'd15;
	reg [7:0] word;
	always_comb begin
		word = 0;
		for (int i = 0; i < {LANES}; i++) word += weights[i] * in0_TDATA[8*i +: 8];
	end
	always_ff @(posedge ap_clk)
		if (!ap_rst_n || (out0_TVALID && out0_TREADY)) begin
			count <= 0;
			sum <= 0;
		end else if (in0_TVALID && in0_TREADY) begin
			count <= count + 1;
			sum <= sum + word;
		end
endmodule
"""
WEIGHTS = np.arange(1, LANES + 1, dtype=np.uint8)


def make_sum_package(folder: Path, **changes: Any) -> Path:
    """Write the package, its manifest with changes; return its folder."""
    manifest = other_fold(MANIFEST, "INT8", LANES) | {"rtl": "rtl"} | changes
    manifest["output"] = MANIFEST["output"] | {"datatype": "UINT8"}
    make_package(folder, manifest | {"rtl": None})
    (folder / "rtl" / "hdl").mkdir(parents=True)
    (folder / "rtl" / "data").mkdir()
    (folder / "rtl" / "hdl" / "accelerator.sv").write_text(SUM)
    (folder / "rtl" / "data" / "weights.dat").write_text("\n".join(f"{w:02x}" for w in WEIGHTS))
    design = {
        **{"top": "accelerator", "sources": ["accelerator.sv"], "values": {}},
        **{"ports": [["in0", 8 * LANES, False], ["out0", 8, False]], "data": ["weights.dat"]},
        **{"input": "in0", "output": "out0", "output_words": 1},
    }
    (folder / "rtl" / "design.json").write_text(json.dumps(design))
    port = record(Input, manifest["input"])
    with h5py.File(folder / "samples.h5", "a") as file:
        packed = pack(quantize(file["X"][:], port), port.datatype)
        file["predicted"][:] = results_of(packed.reshape(len(packed), -1))[:, 0]
    write_manifest(folder, manifest)
    return folder


def results_of(frames: np.ndarray) -> np.ndarray:
    words = frames.reshape(len(frames), WORDS, LANES)
    return ((words * WEIGHTS).sum(axis=(1, 2), dtype=np.uint8) & 15)[:, None]
