"""FINN+'s own driver against the virtual board, by its own command line."""

import json
import os
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from deploy.board.driver import quantize
from deploy.board.package import Package, read_package
from deploy.board.radioml import SNRS, Index
from deploy.board.split import test_rows as official_rows
from deploy.virtual_board.board import Board
from deploy.virtual_board.choose import choose
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
    run_client,
)
from tests.deploy.sum_package import WORDS, make_sum_package, results_of
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


@pytest.fixture(scope="module")
def rtl_package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """A package with RTL, INT8 to a class."""
    package = read_package(make_sum_package(tmp_path_factory.mktemp("sum") / "package"))
    write_overlay(package)
    return package


@needs_board_env
def test_finns_validator_on_our_dmas(rtl_package: Package, full_size: Path, tmp_path: Path) -> None:
    fabric = choose(rtl_package)
    with closing(fabric), serve(Board(rtl_package, fabric), ADDRESS):
        done = run_finn_driver(
            rtl_package, tmp_path, "validate", "-ck", "batch_size=820", "Int", data=full_size
        )
        _, frames = fabric.told()
    assert fabric.own_dmas and done.returncode == 0, done.stderr
    rows = official_rows(index_of_full_size())
    rows = rows[rows // CELL % len(SNRS) == len(SNRS) - 1]
    assert frames == len(rows) == 9840
    with h5py.File(full_size) as file:
        integers = finns_quantizer(file["X"][rows])
    wanted = results_of(integers.view(np.uint8).reshape(len(rows), -1))[:, 0]
    found = np.load(tmp_path / "validate_predictions.npz")["predictions"][0]
    np.testing.assert_array_equal(found, wanted)


@needs_board_env
def test_finns_throughput_test_on_our_dmas(rtl_package: Package, tmp_path: Path) -> None:
    fabric = choose(rtl_package)
    with closing(fabric), serve(Board(rtl_package, fabric), ADDRESS):
        for batch in (1, 2, 63, 256, 1024, 4096):
            done = run_finn_driver(
                *(rtl_package, tmp_path, "run_throughput_test"),
                *("-ck", f"batch_size={batch}", "Int"),
            )
            assert done.returncode == 0, done.stderr
            report = json.loads((tmp_path / "report_throughput_test.json").read_text())
            last, _ = fabric.told()
            assert report["batch_size"] == batch and last is not None and last.frames == batch
            # 257 clocks a frame in the accelerator; the DMAs and the memory on top.
            assert batch * (WORDS + 1) < last.cycles < batch * (WORDS + 1) + 500


@needs_board_env
def test_our_driver_on_our_dmas_at_all_batches(rtl_package: Package, tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    fabric = choose(rtl_package)
    sweep = (1, 2, 3, 63, 64, 256, 1000, 4096)
    with closing(fabric), serve(Board(rtl_package, fabric), ADDRESS):
        done = run_client(
            ADDRESS,
            *("-m", "deploy.board.validate", rtl_package.folder, "--json", facts),
            *("--batch", "4096", "--sweep", ",".join(map(str, sweep))),
            timeout=600,
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(facts.read_text())
    assert found["agrees"] and found["compared"] == 624 and found["board"]["own_dmas"]
    assert [row["batch"] for row in found["throughput"]] == list(sweep)
    alone = 250e6 / (WORDS + 1)
    assert found["frames_per_second"] == pytest.approx(alone, rel=0.01)
    # From a start to a done, the DMAs' and the memory's clocks included.
    assert 0.98 * alone < found["throughput"][-1]["accelerator_frames_per_second"] < alone


@needs_board_env
def test_the_published_network_as_adders_on_our_dmas(tmp_path: Path) -> None:
    from build.sparse.sparse_build import build_sparse

    build_sparse("aaronnet32++-hw8", "ZCU104", tmp_path / "out")
    package = read_package(tmp_path / "out" / "package")
    write_overlay(package)
    facts = tmp_path / "facts.json"
    fabric = choose(package)
    with closing(fabric), serve(Board(package, fabric), ADDRESS):
        done = run_client(
            ADDRESS, "-m", "deploy.board.validate", package.folder, "--json", facts, timeout=1800
        )
        assert done.returncode == 0, done.stderr
        theirs = run_finn_driver(
            package, tmp_path, "run_throughput_test", "-ck", "batch_size=64", "Int"
        )
        last, _ = fabric.told()
    found = json.loads(facts.read_text())
    assert found["agrees"] and found["compared"] == 624 and found["board"]["own_dmas"]
    assert theirs.returncode == 0, theirs.stderr
    assert last is not None and last.frames == 64
    print(
        f"\n{found['frames_per_second']:,.0f} frames/s, {last.cycles / 64:.1f} clocks of 64 frames"
    )


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
