"""FINN+'s own driver against the virtual board, by its own command line."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from deploy.board.driver import quantize
from deploy.board.package import Package
from deploy.board.radioml import SNRS, Index
from deploy.board.split import test_rows as official_rows
from deploy.virtual_board.board import Board
from deploy.virtual_board.overlay import write_overlay
from deploy.virtual_board.played_dmas import PlayedDmas
from deploy.virtual_board.server import serve
from tests.deploy.packages import (
    BOARD_PYTHON,
    MANIFEST,
    ROOT,
    ToyAccelerator,
    make_package,
    needs_board_env,
    other_fold,
)
from training.synthesis import synthesise

pytestmark = pytest.mark.slow
ADDRESS = "127.0.0.20"
CELL = 4096
WRITTEN = 20  # frames a class; the others of the sparse file are zeros


def index_of_full_size() -> Index:
    cells = np.arange(24 * len(SNRS) * CELL) // CELL
    snrs = np.array(SNRS)[cells % len(SNRS)]
    return Index(Path("full"), cells // len(SNRS), snrs, "full size", True)


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of RadioML's size, as FINN's validator demands, almost all of it never written."""
    path = tmp_path_factory.mktemp("finn") / "GOLD_XYZ_OSC.0001_1024.hdf5"
    count = 24 * len(SNRS) * CELL
    test = official_rows(index_of_full_size())
    test = test[test // CELL % len(SNRS) == len(SNRS) - 1]
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        x = file.create_dataset("X", (count, 1024, 2), np.float32, chunks=(1, 1024, 2))
        y = file.create_dataset("Y", (count, 24), np.int8, chunks=(CELL, 24), compression=1)
        for label in range(24):
            size = len(SNRS) * CELL
            y[size * label : size * (label + 1)] = np.eye(24, dtype=np.int8)[[label] * size]
            rows = test[test // size == label]
            x[rows[:WRITTEN]] = synthesise(label, SNRS[-1], WRITTEN, random)
    return path


def settings_of(package: Package) -> dict[str, Any]:
    """Return the package's accelerator as FINN's `MakePYNQDriver` writes it."""
    shapes: dict[str, Any] = {"num_inputs": 1, "num_outputs": 1, "number_of_external_weights": 0}
    for letter, port in (("i", package.input), ("o", package.output)):
        shapes[f"{letter}dt"] = [f"DataType['{port.datatype.name}']"]
        shapes[f"{letter}dma_names"] = [port.dma]
        for form in ("normal", "folded", "packed"):
            shapes[f"{letter}shape_{form}"] = [getattr(port, form)]
    return {
        "driver_information": {
            "driver_type": "FINNDMAOverlay",
            "io_shape_dict": shapes,
            "platform": "zynq-iodma",
            "fclk_mhz": package.clock_mhz,
            "validation_dataset": "radioml",
        }
    }


def run_finn_driver(
    package: Package, folder: Path, function: str, *arguments: str, data: Path | None = None
) -> subprocess.CompletedProcess[str]:
    settings = folder / "settings.json"
    settings.write_text(json.dumps(settings_of(package)))
    command = [str(BOARD_PYTHON.with_name("finn-plus-driver")), "-b", str(package.overlay)]
    command += ["-s", str(settings), "-f", function, "-fk", f"report_dir={folder}", "Str"]
    # The validator looks DATASET_DIR up even where it is told the path.
    environment = {"PYNQ_REMOTE_DEVICES": ADDRESS, "DATASET_DIR": str(folder)}
    if data is not None:
        command += ["-fk", f"dataset_path={data}", "Str"]
    return subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        env=os.environ | environment | {"no_proxy": ADDRESS},
        capture_output=True,
        text=True,
        timeout=300,
    )


def finns_quantizer(frames: np.ndarray) -> np.ndarray:
    """Quantize as finn_plus_driver.validate.radioml does."""
    return np.clip(np.round((frames + 2.0) / 4.0 * 256) - 128, -128, 127).astype(np.int8)


@pytest.fixture
def served(tmp_path: Path, request: pytest.FixtureRequest):
    manifest = other_fold(MANIFEST, request.param, 8)
    # As our builds have it; through PYNQ.remote FINN's driver unpacks no widths but 8 and 16 bits
    # (pynq 4.0.0's RemoteBuffer cannot be sliced after np.empty_like).
    manifest["output"]["datatype"] = "UINT8"
    package = make_package(tmp_path / "package", manifest)
    write_overlay(package)
    accelerator = ToyAccelerator(package)
    with serve(Board(package, PlayedDmas(package, accelerator)), ADDRESS):
        yield package, accelerator, tmp_path


@needs_board_env
@pytest.mark.parametrize("served", ["INT8"], indirect=True)
def test_finns_validator_finds_the_accuracy_of_an_8_bit_input(served, full_size: Path) -> None:
    package, accelerator, folder = served
    done = run_finn_driver(
        package, folder, "validate", "-ck", "batch_size=820", "Int", data=full_size
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((folder / "report_dma_validate.json").read_text())
    rows = official_rows(index_of_full_size())
    rows = rows[rows // CELL % len(SNRS) == len(SNRS) - 1]
    with h5py.File(full_size) as file:
        frames = file["X"][rows]
    integers = finns_quantizer(frames)
    predicted = accelerator.classes(integers)
    # Adding 2 before scaling rounds some samples that lie next to a tie to the other side.
    exact = quantize(frames, package.input).reshape(frames.shape)
    assert 0 < (integers != exact).sum() < 100 and np.abs(integers - exact.astype(int)).max() == 1
    right = (predicted == rows // (len(SNRS) * CELL)).mean()
    assert report["num_samples"] == 9840 and 0 < right < 1
    # FINN's driver reports per cent.
    assert report["top-1_accuracy"] == pytest.approx(100 * right)
    found = np.load(folder / "validate_predictions.npz")["predictions"][0]
    np.testing.assert_array_equal(found, predicted)


@needs_board_env
@pytest.mark.parametrize("served", ["INT6"], indirect=True)
def test_what_finns_driver_can_and_cannot_do_with_a_6_bit_input(served, full_size: Path) -> None:
    package, accelerator, folder = served
    done = run_finn_driver(package, folder, "run_throughput_test", "-ck", "batch_size=64", "Int")
    assert done.returncode == 0, done.stderr
    report = json.loads((folder / "report_throughput_test.json").read_text())
    assert report["batch_size"] == 64 and accelerator.runs == 1
    # Its RadioML validator quantizes to 8 bits whatever the accelerator takes.
    done = run_finn_driver(package, folder, "validate", data=full_size)
    assert done.returncode == 1
    assert "AssertionError: This value is not permitted by chosen dtype." in done.stderr
    assert not (folder / "report_dma_validate.json").exists()
