"""A small accelerator package and a stand-in for its accelerator, for tests of driver and board."""

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from deploy.board.driver import quantize
from deploy.board.package import Package, read_package, seal, virtual_digests
from deploy.board.packing import unpack, word_bytes
from deploy.board.radioml import CLASSES, SNRS
from deploy.virtual_board.accelerator import Accelerator, Run, timed
from tests.conftest import ROOT
from training.synthesis import synthesise

BOARD_PYTHON = ROOT / ".venv-board" / "bin" / "python"

needs_board_env = pytest.mark.skipif(
    not BOARD_PYTHON.exists(), reason="no .venv-board with pynq; make board-env creates it"
)

MANIFEST = {
    "format": 2,
    "network": {"name": "toy", "score": 0.0157, "hash": "0" * 64},
    "classes": list(CLASSES),
    "board": "ZCU104",
    "part": "xczu7ev-ffvc1156-2-e",
    "clock_mhz": 250.0,
    "input": {
        "dma": "idma0",
        "datatype": "INT6",
        "normal": [1, 256, 1, 8],
        "folded": [1, 256, 1, 4, 2],
        "packed": [1, 256, 1, 4, 2],
        "quantizer": {"step": 0.0625, "minimum": -32, "maximum": 31},
    },
    "output": {
        "dma": "odma0",
        "datatype": "UINT5",
        "normal": [1, 1],
        "folded": [1, 1, 1],
        "packed": [1, 1, 1],
        "kind": "class",
        "scale": 1.0,
    },
    "performance": {"cycles_per_frame": 1028, "latency_cycles": 5000, "source": "estimated"},
    "samples": {"file": "samples.h5", "label": "synthetic, for tests"},
    "bitfile": None,
    "rtl": None,
    "graph": None,
}


class ToyAccelerator(Accelerator):
    """Sums the input's integers with fixed odd factors: any flipped or moved bit shows."""

    source = "estimated"

    def __init__(self, package: Package):
        self.package = package
        self.runs = 0

    def classes(self, integers: np.ndarray) -> np.ndarray:
        flat = integers.reshape(len(integers), -1).astype(np.int64)
        factors = np.random.default_rng(1).integers(1, 1000, flat.shape[1]) * 2 + 1
        return (flat @ factors) % 24

    def run(self, frames: np.ndarray) -> Run:
        self.runs += 1
        port = self.package.input
        words = frames.reshape(len(frames), *port.packed[1:])
        classes = self.classes(unpack(words, port.datatype, port.folded[-1]))
        return timed(self.package, classes.astype(np.uint8)[:, None])

    def predict(self, frames: np.ndarray) -> np.ndarray:
        return self.classes(quantize(frames, self.package.input))


def make_package(folder: Path, manifest: dict[str, Any] | None = None, frames: int = 1) -> Package:
    """Write a package with `frames` sample frames of every class and SNR; return it."""
    folder.mkdir(parents=True)
    facts = json.loads(json.dumps(manifest or MANIFEST))
    write_frames(folder / "samples.h5", frames)
    write_manifest(folder, facts)
    package = read_package(folder)
    with h5py.File(folder / "samples.h5", "a") as file:
        file["predicted"] = ToyAccelerator(package).predict(file["X"][:])
        file.attrs["label"] = "synthetic, for tests"
    write_manifest(folder, facts)
    return read_package(folder)


def make_graph_package(folder: Path) -> Package:
    """Write a package whose graph is a matrix product and the index of the largest."""
    package = make_package(folder)
    weight = graph_weight()
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"], name="Flatten"),
        helper.make_node("MatMul", ["flat", "w"], ["logits"], name="MatMul"),
        helper.make_node("TopK", ["logits", "k"], ["largest", "y"], name="TopK"),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 256, 1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [1, 1])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.array([1]), "k")],
    )
    save(helper.make_model(graph), folder / "graph.onnx")
    with h5py.File(folder / "samples.h5", "a") as file:
        integers = quantize(file["X"][:], package.input)
        file["predicted"][:] = (integers.reshape(len(integers), -1) @ weight).argmax(axis=1)
    write_manifest(folder, MANIFEST | {"graph": "graph.onnx"})
    return read_package(folder)


def graph_weight() -> np.ndarray:
    """Return the matrix of `make_graph_package`'s graph, float32 (2048, 24)."""
    return np.random.default_rng(5).integers(-8, 8, (2048, 24)).astype(np.float32)


def write_frames(path: Path, count: int, seed: int = 0) -> None:
    """Write `count` synthetic frames of every class and SNR in RadioML's layout."""
    random = np.random.default_rng(seed)
    cells = [(m, s) for m in range(len(CLASSES)) for s in SNRS]
    frames = np.concatenate([synthesise(m, s, count, random) for m, s in cells])
    with h5py.File(path, "w") as file:
        file["X"] = frames
        file["Y"] = np.eye(len(CLASSES), dtype=np.int8)[np.repeat([m for m, _ in cells], count)]
        file["Z"] = np.repeat([s for _, s in cells], count)[:, None]
        file.attrs["synthetic"] = True


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Write the manifest with the digests of all files there are."""
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json" and "virtual" not in path.parts
    }
    (folder / "manifest.json").write_text(json.dumps(seal(facts | {"files": files})))


def change_manifest(folder: Path, **changes: Any) -> None:
    """Change keys of a package's manifest, digests and all."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(seal(json.loads(path.read_text()) | changes)))


def change_handoff(package: Package, old: str, new: str) -> None:
    """Change the virtual overlay's .hwh, its digest too."""
    handoff, digests = package.overlay.with_suffix(".hwh"), virtual_digests(package.overlay)
    handoff.write_text(handoff.read_text().replace(old, new))
    facts = json.loads(digests.read_text())
    facts["hwh"] = hashlib.sha256(handoff.read_bytes()).hexdigest()
    digests.write_text(json.dumps(facts))


def other_fold(manifest: dict[str, Any], datatype: str, lanes: int) -> dict[str, Any]:
    """Return a manifest whose input has another type and another number of lanes a word."""
    from deploy.board.packing import DataType

    facts = json.loads(json.dumps(manifest))
    kind = DataType.parse(datatype)
    low, high = kind.range
    fold = [1, 256, 1, 8 // lanes]
    facts["input"] |= {
        "datatype": datatype,
        "folded": [*fold, lanes],
        "packed": [*fold, word_bytes(kind, lanes)],
        "quantizer": {"step": 2.0 / (high + 1), "minimum": low, "maximum": high},
    }
    return facts


def run_client(
    address: str, *arguments: str | Path, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run Python in the board's environment, against the virtual board at `address`."""
    return subprocess.run(
        [str(BOARD_PYTHON), *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYNQ_REMOTE_DEVICES": address},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
