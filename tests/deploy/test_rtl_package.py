"""A package with a small RTL of its own: from its files to a simulator behind the DMAs."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from deploy.board.package import read_package
from deploy.virtual_board.accelerator import RtlAccelerator, choose
from models.errors import BadInput
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    manifest = other_fold(MANIFEST, "INT8", LANES) | {"rtl": "rtl"}
    manifest["output"] = MANIFEST["output"] | {"datatype": "UINT8"}
    folder = tmp_path_factory.mktemp("sum") / "package"
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
    write_manifest(folder, manifest)
    return folder


def results_of(frames: np.ndarray) -> np.ndarray:
    words = frames.reshape(len(frames), WORDS, LANES)
    return ((words * WEIGHTS).sum(axis=(1, 2), dtype=np.uint8) & 15)[:, None]


@pytest.fixture
def cached(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to start in, and a cache named relative to it."""
    start = tmp_path_factory.getbasetemp() / "start"
    start.mkdir(exist_ok=True)
    monkeypatch.chdir(start)
    monkeypatch.setenv("AARONNET_CACHE", "caches")
    return start


def test_its_simulator_runs_from_a_relative_cache(folder: Path, cached: Path) -> None:
    accelerator = choose(read_package(folder))
    assert isinstance(accelerator, RtlAccelerator)
    assert accelerator.executable.is_relative_to(cached / "caches")
    frames = np.random.default_rng(0).integers(0, 256, (3, WORDS * LANES), np.uint8)
    run = accelerator.run(frames)
    np.testing.assert_array_equal(run.results, results_of(frames))
    assert run.latency == WORDS + 1 and run.interval == WORDS + 1


def test_no_flipped_bit_of_its_rtl_is_simulated(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(folder, tmp_path / "package")
    draw, refused = random.Random(5), 0
    for path in sorted(path for path in (copy / "rtl").rglob("*") if path.is_file()):
        data = path.read_bytes()
        for bit in draw.sample(range(8 * len(data)), 40):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            with pytest.raises(BadInput, match="not the file that was built"):
                read_package(copy)
            refused += 1
        path.write_bytes(data)
    with capsys.disabled():
        print(f"\nflips in RTL refused: {refused}")
    assert refused == 120


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ports", [["in0", 8, False], ["out0", 8, False]]),
        ("ports", [["in0", 8 * LANES, False], ["out0", 16, False]]),
        ("data", ["nosuch.dat"]),
        ("sources", ["accelerator.sv", "nosuch.sv"]),
    ],
)
def test_rtl_that_does_not_fit_the_manifest_is_refused(
    folder: Path, tmp_path: Path, key: str, value: object
) -> None:
    copy = shutil.copytree(folder, tmp_path / "package")
    path = copy / "rtl" / "design.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    write_manifest(copy, json.loads((copy / "manifest.json").read_text()))
    with pytest.raises(BadInput) as raised:
        choose(read_package(copy))
    assert "\n" not in str(raised.value)
