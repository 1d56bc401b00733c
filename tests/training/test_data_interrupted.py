"""`data synth` and `data cache`, ended from outside: nothing is lost, and a rerun is as good."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from deploy.board.radioml import read_index
from models.files import sha256
from tests.conftest import ROOT
from training.cache import cache_of, open_cache
from training.synthesis import write_dataset

FRAMES, SEED = 8, 3


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The file of an uninterrupted run."""
    path = tmp_path_factory.mktemp("whole") / "a.h5"
    write_dataset(path, FRAMES, SEED)
    return path


def start(*arguments):
    """Start the command line as the leader of a process group."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "aaronnet.py"), *map(str, arguments)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(there, process):
    deadline = time.monotonic() + 120
    while not there():
        assert process.poll() is None, "it ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.002)


def check_nobody_is_left(process):
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


SIGNALS = pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])


@SIGNALS
def test_synth(whole, tmp_path, number):
    path = tmp_path / "a.h5"
    path.write_text("the former result")
    options = ("--frames-per-cell", FRAMES, "--seed", SEED, "--jobs", 1, "--force")
    process = start("data", "synth", path, *options)
    wait_for((tmp_path / ".a.h5.journal").exists, process)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode not in (0, 1, 2) and "Traceback" not in said, said
    check_nobody_is_left(process)
    assert path.read_text() == "the former result"
    write_dataset(path, FRAMES, SEED, overwrite=True)
    assert sha256(path) == sha256(whole)
    assert [left.name for left in tmp_path.iterdir()] == ["a.h5"]


@SIGNALS
def test_cache(whole, tmp_path, number):
    path, temporary = tmp_path / "a.h5", tmp_path / ".a.h5.cache.tmp"
    write_dataset(path, 1, SEED, snrs=[0])
    open_cache(path)
    former = (cache_of(path) / "frames.i16").read_bytes()
    shutil.copy(whole, path)
    process = start("data", "cache", path)
    wait_for((temporary / "frames.i16").exists, process)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode not in (0, 1, 2) and "Traceback" not in said, said
    check_nobody_is_left(process)
    assert (cache_of(path) / "frames.i16").read_bytes() == former
    assert len(open_cache(path)) == len(read_index(whole))
    assert not temporary.exists()


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160m", "aaronnet-test", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place):
    with (place / "filler").open("wb", buffering=0) as file:
        part = bytes(1 << 16)
        try:
            while True:
                file.write(part)
        except OSError:
            return


def test_a_full_disk(whole, small_disk):
    path = small_disk / "a.h5"
    path.write_text("the former result")
    options = ("--frames-per-cell", FRAMES, "--seed", SEED, "--compress", 1, "--force")
    process = start("data", "synth", path, *options)
    wait_for((small_disk / ".a.h5.journal").exists, process)
    fill(small_disk)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 2
    assert "No space left on device; what is done is kept in" in " ".join(said.split())
    assert path.read_text() == "the former result"
    # No room for the journal, the cache or the JSON file either: one line each, nothing half.
    for arguments in (
        ("data", "cache", whole, "--cache-dir", small_disk),
        ("data", "info", whole, "--json", small_disk / "info.json"),
    ):
        process = start(*arguments)
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 2 and "Traceback" not in said, said
    names = {left.name for left in small_disk.iterdir()}
    assert {name for name in names if "cache" in name or "info" in name} <= {
        f".{cache_of(whole, small_disk).name}.lock"
    }
    (small_disk / "filler").unlink()
    facts = write_dataset(path, FRAMES, SEED, compress=1, overwrite=True)
    assert facts.resumed_at > 0
    write_dataset(small_disk.parent / "b.h5", FRAMES, SEED, compress=1)
    assert sha256(path) == sha256(small_disk.parent / "b.h5")
