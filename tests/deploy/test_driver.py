"""The driver: quantizing, checks, and every batch size through the unmodified pynq."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from deploy.board.device import check_board, check_clock
from deploy.board.driver import as_frames, quantize
from deploy.board.errors import BadInput
from deploy.board.package import Input, Package, read_package, seal
from deploy.board.packing import DataType
from deploy.board.records import record
from deploy.virtual_board.board import Board
from deploy.virtual_board.overlay import write_overlay
from deploy.virtual_board.played_dmas import PlayedDmas
from deploy.virtual_board.server import serve
from models.quantizers import input_quantizer
from tests.deploy.packages import (
    MANIFEST,
    ToyAccelerator,
    change_handoff,
    make_package,
    needs_board_env,
    other_fold,
    run_client,
    write_manifest,
)

ADDRESS = "127.0.0.12"


@pytest.fixture
def changed(package: Package, tmp_path: Path) -> Iterator[tuple[Path, dict]]:
    """A package's copy, to be broken, and its manifest."""
    folder = make_package(tmp_path / "package").folder
    yield folder, json.loads((folder / "manifest.json").read_text())


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_quantizes_as_the_network_does(bits: int) -> None:
    rng = np.random.default_rng(bits)
    frames = rng.normal(scale=1.5, size=(50, 1024, 2)).astype(np.float32)
    half = 2.0 ** (1 - bits)
    frames[0] = half * rng.integers(-(2 ** (bits + 1)), 2 ** (bits + 1), (1024, 2))  # ties
    layer = input_quantizer(bits).eval()
    with torch.no_grad():
        wanted = layer(torch.from_numpy(frames))
        step = float(layer.act_quant.scale())
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    kind = DataType.parse(f"INT{bits}")
    facts = other_fold(MANIFEST, kind.name, 2)["input"]
    facts["quantizer"] = {"step": step, "minimum": low, "maximum": high}
    port = record(Input, facts)
    found = quantize(frames, port)
    assert found.dtype == np.int8 and found.shape == (50, *port.folded[1:])
    value = wanted.value if hasattr(wanted, "value") else wanted
    np.testing.assert_array_equal(found.reshape(frames.shape) * np.float32(step), value.numpy())


def test_complex_frames_are_the_same_frames() -> None:
    frames = np.random.default_rng(0).normal(size=(3, 1024, 2))
    np.testing.assert_array_equal(as_frames(frames[..., 0] + 1j * frames[..., 1]), frames)


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((3, 2, 1024)),
        np.zeros((1024, 2)),
        np.full((2, 1024, 2), np.nan),
        np.array(["a"]),
        np.zeros((3, 1024, 2), object),
    ],
)
def test_what_are_no_frames_is_refused(frames: np.ndarray) -> None:
    with pytest.raises(BadInput):
        as_frames(frames)


def test_frames_of_another_length_are_refused(package: Package) -> None:
    with pytest.raises(BadInput, match="takes 1024"):
        quantize(np.zeros((2, 512, 2)), package.input)


def test_the_board_must_be_the_packages(package: Package) -> None:
    for name in ("ZCU104", "zcu104", "Unknown"):
        check_board(package, name)
    with pytest.raises(BadInput, match="for ZCU104, and the board is a Pynq-Z2"):
        check_board(package, "Pynq-Z2")


def test_the_clock_must_be_the_bitfiles(package: Package, tmp_path: Path) -> None:
    check_clock(package)
    copy = read_package(shutil.copytree(package.folder, tmp_path / "package"))
    change_handoff(copy, "250.000", "100.000")
    with pytest.raises(BadInput, match="built for 100 MHz, the package says 250 MHz"):
        check_clock(copy)
    change_handoff(copy, "EDKSYSTEM", "EDK")
    change_handoff(copy, "</EDK>", "")
    with pytest.raises(BadInput, match="cannot be read"):
        check_clock(copy)


def test_a_virtual_overlay_is_used_as_it_was_written(package: Package, tmp_path: Path) -> None:
    copy = read_package(shutil.copytree(package.folder, tmp_path / "package"))
    draw, refused = random.Random(3), 0
    for path in sorted(copy.overlay.parent.iterdir()):
        data = path.read_bytes()
        for bit in draw.sample(range(8 * len(data)), 40):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            with pytest.raises(BadInput, match="start the virtual board again") as raised:
                check_clock(copy)
            assert "\n" not in str(raised.value)
            refused += 1
        path.write_bytes(data)
    assert refused == 120
    check_clock(copy)


def test_a_changed_file_is_found(changed: tuple[Path, dict]) -> None:
    folder, _ = changed
    path = folder / "samples.h5"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadInput, match="not the file that was built"):
        read_package(folder)
    path.unlink()
    with pytest.raises(BadInput, match=r"samples\.h5 is missing"):
        read_package(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("format", 1), ("classes", None), ("clock_mhz", 0), ("files", {"../x": "0"})),
        *(("samples", {"file": "/etc/passwd", "label": ""}), ("bitfile", "a.bit")),
        ("output", MANIFEST["output"] | {"kind": "picture"}),
        ("output", MANIFEST["output"] | {"datatype": "INT"}),
        ("output", MANIFEST["output"] | {"packed": [1, 1, 2]}),
        ("output", MANIFEST["output"] | {"kind": "logits"}),
        (
            "input",
            MANIFEST["input"] | {"quantizer": {"step": 0.0625, "minimum": -33, "maximum": 31}},
        ),
        ("input", {}),
    ],
)
def test_a_broken_manifest_is_one_clear_line(
    changed: tuple[Path, dict], key: str, value: object
) -> None:
    folder, facts = changed
    path = folder / "manifest.json"
    path.write_text(json.dumps(seal(facts | {key: value})))
    with pytest.raises(BadInput) as raised:
        read_package(folder)
    assert "\n" not in str(raised.value)


def test_no_package_at_all(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no accelerator package"):
        read_package(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(BadInput, match="damaged"):
        read_package(tmp_path)


SCRIPT = """
import sys
import numpy as np, h5py
from deploy.board.driver import Driver
folder, addressed = sys.argv[1], sys.argv[2]
with h5py.File(f"{folder}/samples.h5") as file:
    frames, wanted = file["X"][:], file["predicted"][:]
for batch in (1, 7, 100, 624, 1000):
    count = 20 if batch == 1 else len(frames)
    with Driver(folder, batch=batch) as driver:
        assert driver.virtual and driver.board == addressed
        found = driver.predict(frames[:count])
        assert (found == wanted[:count]).all(), (batch, (found != wanted[:count]).sum())
        assert driver.timing.frames == count and driver.timing.source == "estimated"
        again = driver.predict(frames[:3, :, 0] + 1j * frames[:3, :, 1])
        assert (again == wanted[:3]).all()
        assert driver.predict(frames[:0]).shape == (0,)
print("done", len(frames), {m.split(".")[0] for m in sys.modules} & {"models", "torch", "finn"})
"""


@needs_board_env
@pytest.mark.parametrize(
    ("board", "part", "datatype", "lanes"),
    [
        ("ZCU104", "xczu7ev-ffvc1156-2-e", "INT6", 2),
        ("Pynq-Z2", "xc7z020clg400-1", "INT8", 8),
        ("ZCU104", "xczu7ev-ffvc1156-2-e", "INT5", 1),
    ],
)
def test_every_batch_through_the_unmodified_pynq(
    tmp_path: Path, board: str, part: str, datatype: str, lanes: int
) -> None:
    manifest = other_fold(MANIFEST, datatype, lanes) | {"board": board, "part": part}
    package = make_package(tmp_path / "package", manifest)
    write_overlay(package)
    with serve(Board(package, PlayedDmas(package, ToyAccelerator(package))), ADDRESS):
        done = run_client(ADDRESS, "-c", SCRIPT, package.folder, board)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "done 624 set()"


@needs_board_env
def test_logits_come_scaled(tmp_path: Path) -> None:
    manifest = json.loads(json.dumps(MANIFEST))
    shape = {"normal": [1, 24], "folded": [1, 6, 4], "packed": [1, 6, 8]}
    manifest["output"] |= shape | {"datatype": "INT16", "kind": "logits", "scale": 0.25}
    package = make_package(tmp_path / "package", manifest)
    write_overlay(package)

    class Logits(ToyAccelerator):
        def run(self, frames: np.ndarray):
            run = super().run(frames)
            logits = np.full((len(frames), 24), -3, "<i2")
            logits[np.arange(len(frames)), run.results[:, 0]] = 1000
            return type(run)(logits.view(np.uint8), run.cycles, run.latency, run.interval)

    with serve(Board(package, PlayedDmas(package, Logits(package))), ADDRESS):
        done = run_client(
            ADDRESS,
            "-c",
            """
import sys, h5py
from deploy.board.driver import Driver
with h5py.File(sys.argv[1] + "/samples.h5") as file, Driver(sys.argv[1]) as driver:
    frames, wanted = file["X"][:50], file["predicted"][:50]
    assert (driver.predict(frames) == wanted).all()
    logits = driver.logits(frames)
    assert logits.max() == 250 and logits.min() == -0.75 and logits.shape == (50, 24)
""",
            package.folder,
        )
    assert done.returncode == 0, done.stderr


def test_the_samples_of_a_package_are_over_all_classes_and_snrs(package: Package) -> None:
    with h5py.File(package.samples) as file:
        assert len(np.unique(np.c_[file["Y"][:].argmax(1), file["Z"][:]], axis=0)) == 24 * 26


def test_the_written_manifest_is_read_back(package: Package) -> None:
    facts = json.loads((package.folder / "manifest.json").read_text())
    write_manifest(package.folder, facts)
    again = read_package(package.folder)
    assert again.digest == package.digest and again.input.frame_bytes == 256 * 4 * 2
