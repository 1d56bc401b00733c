"""The board's side on the Pythons of PYNQ's images: 3.10 (3.1.2) and 3.12 (4.0.0).

The slow ones run it with interpreters of these versions that have numpy and h5py; those named in
AARONNET_BOARD_PYTHONS (paths with : between them) are looked at first.
"""

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest

from deploy.board.driver import quantize
from deploy.board.package import Package
from deploy.board.packing import pack
from deploy.virtual_board.board import Board
from deploy.virtual_board.played_dmas import PlayedDmas
from deploy.virtual_board.server import serve
from tests.conftest import ROOT
from tests.deploy.packages import ToyAccelerator

VERSIONS = ("3.10", "3.12")
ROOM = ROOT / "deploy" / "board"
ADDRESS = "127.0.0.30"


def complaints(folder: Path, version: str, cache_at: Path) -> str:
    """Return what mypy says of code for a version: its syntax, and names the library has not."""
    config = cache_at.with_suffix(".ini")
    # These are not of the standard library; what else is missing, a version does not have.
    config.write_text(
        "[mypy]\n"
        + "".join(
            f"[mypy-{name}.*]\nignore_missing_imports = true\n"
            for name in ("numpy", "h5py", "pynq", "grpc")
        )
    )
    command = [sys.executable, "-m", "mypy", "--no-site-packages", "--config-file", str(config)]
    command += ["--cache-dir", str(cache_at)]
    command += ["--python-version", version, "-p", "deploy.board"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("version", VERSIONS)
def test_it_needs_no_other_python(version: str, tmp_path: Path) -> None:
    assert complaints(ROOT, version, tmp_path / "cache") == ""


def test_what_only_some_versions_have_is_found(tmp_path: Path) -> None:
    room = tmp_path / "deploy" / "board"
    room.mkdir(parents=True)
    (room.parent / "__init__.py").touch()
    (room / "__init__.py").touch()
    newer = {
        "names.py": "from datetime import UTC\nprint(UTC)\n",
        "syntax.py": "try:\n    pass\nexcept* OSError:\n    pass\n",
        "library.py": "import tomllib\nprint(tomllib)\n",
    }
    for name, text in newer.items():
        (room / name).write_text(text)
        assert name in complaints(tmp_path, "3.10", tmp_path / "cache")
        assert complaints(tmp_path, "3.12", tmp_path / "cache") == ""
        (room / name).unlink()
    (room / "older.py").write_text("import distutils\nprint(distutils)\n")
    assert complaints(tmp_path, "3.10", tmp_path / "cache") == ""
    assert "distutils" in complaints(tmp_path, "3.12", tmp_path / "cache")


@cache
def python(version: str, modules: str) -> Path:
    """Return an interpreter of that version that has these modules; skip where there is none."""
    named = filter(None, os.environ.get("AARONNET_BOARD_PYTHONS", "").split(os.pathsep))
    for path in (*named, shutil.which(f"python{version}")):
        if path is None:
            continue
        program = f"import sys, {modules}; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([path, "-c", program], capture_output=True, text=True)
        if done.stdout.strip() == version:
            return Path(path)
    pytest.skip(f"no Python {version} with {modules}; name one in AARONNET_BOARD_PYTHONS")


def copied(package: Package, folder: Path) -> None:
    """Copy what goes to a board, as docs/boards.md says."""
    shutil.copytree(ROOM, folder / "deploy" / "board", ignore=shutil.ignore_patterns("__pyc*"))
    shutil.copytree(package.folder, folder / "package")


def run(
    version: str, modules: str, folder: Path, *arguments: str, data: bytes = b"", **named: str
) -> subprocess.CompletedProcess[bytes]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYNQ"))}
    return subprocess.run(
        [str(python(version, modules)), "-W", "error::DeprecationWarning:deploy", "-m", *arguments],
        cwd=folder,
        env=environment | named,
        input=data,
        capture_output=True,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.parametrize("ours", ["0", "1"])
@pytest.mark.parametrize("version", VERSIONS)
def test_on_a_board_itself(package: Package, tmp_path: Path, version: str, ours: str) -> None:
    copied(package, tmp_path)
    shutil.copy(ROOT / "tests" / "deploy" / "stand_in_pynq.py", tmp_path / "pynq.py")
    with h5py.File(package.samples) as file:
        frames = file["X"][:]
    packed = pack(quantize(frames, package.input), package.input.datatype)
    classes = ToyAccelerator(package).predict(frames).astype(np.uint8)
    np.savez(tmp_path / "answers.npz", frames=packed, classes=classes)
    named = {"STAND_IN_ANSWERS": "answers.npz", "STAND_IN_OURS": ours}
    # A single frame's buffers are of 2 KiB and of one byte.
    options = ("package", "--batch", "100", "--sweep", "1,3,64", "--json", "facts.json")
    done = run(version, "numpy, h5py", tmp_path, "deploy.board.validate", *options, **named)
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["agrees"] and facts["compared"] == 624 and facts["times"] == "measured"
    assert facts["board"] == {"name": "ZCU104", "virtual": False, "own_dmas": ours == "1"}
    data = frames[:50].astype("<f4").tobytes()
    streamed = ("deploy.board.streaming", "package", "--batch", "8")
    done = run(version, "numpy, h5py", tmp_path, *streamed, data=data, **named)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum((line.get("classes", []) for line in lines), []) == classes[:50].tolist()
    frames_command = ("deploy.board.predict", "package", "--data", "package/samples.h5", "-n", "24")
    done = run(version, "numpy, h5py", tmp_path, *frames_command, **named)
    assert done.returncode == 0 and done.stdout.count(b"\n") == 24, done.stderr


@pytest.mark.slow
def test_through_pynq_remote(package: Package, tmp_path: Path) -> None:
    version = "3.12"  # what pynq 4.0.0 is made for
    python(version, "numpy, h5py, pynq")  # or there is nothing to serve
    copied(package, tmp_path)
    with serve(Board(package, PlayedDmas(package, ToyAccelerator(package))), ADDRESS):
        done = run(
            *(version, "numpy, h5py, pynq", tmp_path),
            *("deploy.board.validate", "package", "--json", "facts.json"),
            PYNQ_REMOTE_DEVICES=ADDRESS,
        )
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["agrees"] and facts["compared"] == 624 and facts["board"]["virtual"]
