"""Good files of every kind, made once; every case copies and damages some of them."""

from pathlib import Path

import numpy as np
import pytest

from build.build_report import BuildReport, Estimate
from models import checkpoint, export
from models.files import write_json
from tests.build.small_aaronnet import small_checkpoint
from tests.campaign.harness import Commands
from tests.deploy.packages import make_graph_package
from tests.tiny import TINY, ready
from tests.training.radioml_files import grid, write

DESIGN = {
    "top": "toy",
    "sources": ["toy.sv"],
    "ports": [["s_axis_0", 16, False], ["m_axis_0", 8, False]],
    "values": {},
    "data": ["w.dat"],
    "input": "s_axis_0",
    "output": "m_axis_0",
    "output_words": 1,
}
FOLDING = {"Defaults": {}, "MVAU_rtl_0": {"PE": 1, "SIMD": 1}}


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """A folder of good files: networks, data, a build's folder and an accelerator package."""
    folder = tmp_path_factory.mktemp("good")
    info = {"data_label": "synthetic, for tests", "seed": 1, "history": []}
    info |= {"command": "aaronnet train", "frames": 16, "epochs": 1, "wall_seconds": 1.0}
    info |= {"device": "CPU"}
    checkpoint.save(folder / "net.pth", ready(), TINY, info)
    hardware = small_checkpoint()
    checkpoint.save(folder / "hard.pth", hardware.network, hardware.config, hardware.info)
    export.export(checkpoint.load(folder / "hard.pth"), folder / "hard.onnx")
    labels, snrs = grid(2, (-20, 10, 30))
    frames = np.random.default_rng(1).standard_normal((len(labels), 1024, 2)).astype(np.float32)
    frames /= np.abs(frames).max()
    write(folder / "data.h5", labels, snrs, frames, synthetic=True)
    make_graph_package(folder / "package")
    write_json(folder / "folding.json", FOLDING)
    _build_folder(folder / "build")
    return folder


def _build_folder(folder: Path) -> None:
    """Write what `simulate` and `synth` look at before they read a graph."""
    (folder / "intermediate_models").mkdir(parents=True)
    (folder / "intermediate_models" / "step_hw_codegen.onnx").write_bytes(b"")
    write_json(folder / "build.json", {"seconds": {}, "to": "hdl", "board": "ZCU104"})
    report = BuildReport(
        network="toy",
        data_label="none",
        board="ZCU104",
        part="xczu7ev-ffvc1156-2-e",
        to="hdl",
        performance=Estimate(250.0, 1028, 5000, "MVAU_rtl_0"),
        cost=None,
        verification=(),
    )
    write_json(folder / "report.json", report.to_dict())


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    """Run commands in this process, in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("AARONNET_CACHE", str(folder / "caches"))
    return Commands(folder, capfd)
