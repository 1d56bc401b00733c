import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple

import h5py
import numpy as np
import pytest

from deploy.board.radioml import read_index
from models.errors import BadInput
from models.files import sha256
from tests.conftest import ROOT
from training.synthesis import BLOCK, block, write_dataset, writer
from training.synthesis.compress import write_compressed

SNRS = (-20, 0, 30)


def python(code: str, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, **options)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("synthesis") / "synthetic.h5"
    written = write_dataset(path, BLOCK + 10, seed=3, jobs=1, snrs=SNRS)
    assert written.frames == 24 * 3 * (BLOCK + 10)
    assert written.resumed_at == 0
    assert written.bytes == path.stat().st_size
    assert written.data_label == "synthetic (recipe 1, seed 3)"
    return path


def test_layout_is_that_of_radioml(reference):
    with h5py.File(reference) as file:
        n = 24 * 3 * (BLOCK + 10)
        assert {key: (file[key].shape, file[key].dtype.str) for key in file} == {
            "X": ((n, 1024, 2), "<f4"),
            "Y": ((n, 24), "<i8"),
            "Z": ((n, 1), "<i8"),
            "crc32": ((n,), "<u4"),
        }
        assert file.attrs["synthetic"]
        assert file.attrs["recipe_version"] == 1
        assert file.attrs["seed"] == 3
        assert file.attrs["frames_per_cell"] == BLOCK + 10
    index = read_index(reference)
    assert index.in_order
    assert index.label == "synthetic (recipe 1, seed 3)"
    assert (index.cells[:, [0, 10, 25]] == BLOCK + 10).all()


def test_every_frame_is_where_it_belongs(reference):
    index = read_index(reference)
    with h5py.File(reference) as file:
        for modulation in (0, 11, 23):
            for snr in SNRS:
                rows = np.flatnonzero((index.labels == modulation) & (index.snrs == snr))
                found = file["X"][rows[0] : rows[-1] + 1]
                wanted = [block(3, modulation, snr, i) for i in (0, 1)]
                assert np.array_equal(found, np.concatenate(wanted)[: BLOCK + 10])


@pytest.mark.parametrize("jobs", [2, 5])
def test_jobs_leave_no_trace(reference, tmp_path, jobs):
    path = tmp_path / "again.h5"
    write_dataset(path, BLOCK + 10, seed=3, jobs=jobs, snrs=SNRS)
    assert sha256(path) == sha256(reference)
    assert [left.name for left in tmp_path.iterdir()] == ["again.h5"]


def test_fewer_frames_are_the_first_ones(reference, tmp_path):
    write_dataset(tmp_path / "few.h5", 2, seed=3, snrs=SNRS)
    with h5py.File(tmp_path / "few.h5") as few, h5py.File(reference) as many:
        assert np.array_equal(few["X"][2:4], many["X"][BLOCK + 10 : BLOCK + 12])


def test_killed_and_resumed_gives_the_same_bytes(reference, tmp_path, monkeypatch):
    path = tmp_path / "killed.h5"
    # An entry in the journal after every block, and a pause, so that the kill comes half-way.
    code = f"""
import time
from training.synthesis import write_dataset, writer
writer._SYNC_EVERY = 1
write_dataset({str(path)!r}, {BLOCK + 10}, 3, jobs=2, snrs={SNRS},
              progress=lambda done, total: time.sleep(0.01))
"""
    journal = tmp_path / ".killed.h5.journal"
    process = python(code)
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.read_text().count("\n") > 30):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not path.exists()
    with journal.open("a") as file:
        file.write("14")  # half of a number: the line has no end
    written = write_dataset(path, BLOCK + 10, 3, snrs=SNRS)
    assert 0 < written.resumed_at < written.frames
    assert sha256(path) == sha256(reference)
    assert [left.name for left in tmp_path.iterdir()] == ["killed.h5"]


def test_interrupted_by_the_user_it_can_go_on(reference, tmp_path):
    path = tmp_path / "interrupted.h5"

    def stop(done, total):
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(path, BLOCK + 10, 3, snrs=SNRS, progress=stop)
    written = write_dataset(path, BLOCK + 10, 3, snrs=SNRS)
    assert sha256(path) == sha256(reference)
    assert written.resumed_at > 0


def test_another_plan_starts_anew(tmp_path):
    def stop(done, total):
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "a.h5", 2, 3, snrs=[0], progress=stop)
    assert write_dataset(tmp_path / "a.h5", 2, 4, snrs=[0]).resumed_at == 0
    write_dataset(tmp_path / "b.h5", 2, 4, snrs=[0])
    assert sha256(tmp_path / "a.h5") == sha256(tmp_path / "b.h5")


def test_finished_files_are_not_overwritten_unasked(tmp_path):
    path = tmp_path / "a.h5"
    path.write_text("mine")
    with pytest.raises(BadInput, match="exists already"):
        write_dataset(path, 1, snrs=[0])
    assert path.read_text() == "mine"
    write_dataset(path, 1, snrs=[0], overwrite=True)
    assert read_index(path).cells.sum() == 24


def test_two_writers_do_not_mix(tmp_path):
    with (tmp_path / ".a.h5.partial").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BadInput, match="another process"):
            write_dataset(tmp_path / "a.h5", 1, snrs=[0])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"frames_per_cell": 0}, "at least one"),
        ({"seed": -1}, "negative"),
        ({"jobs": 0}, "at least one"),
        ({"snrs": [1]}, r"\[1\]"),
        ({"snrs": []}, "missing"),
        ({"compress": 10}, "no level 10"),
    ],
)
def test_bad_arguments(tmp_path, options, complaint):
    with pytest.raises(BadInput, match=complaint):
        write_dataset(tmp_path / "a.h5", **{"frames_per_cell": 1, "snrs": [0]} | options)
    assert not list(tmp_path.iterdir())


def test_a_link_is_followed_and_a_pipe_is_refused(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "a.h5"
    link.symlink_to(tmp_path / "disk" / "real.h5")
    write_dataset(link, 1, snrs=[0])
    assert link.is_symlink() and read_index(tmp_path / "disk" / "real.h5").cells.sum() == 24
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="no regular file"):
        write_dataset(tmp_path / "pipe", 1, snrs=[0], overwrite=True)


def test_folder_or_file_in_the_way(tmp_path):
    with pytest.raises(BadInput, match="is a folder"):
        write_dataset(tmp_path, 1)
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot write to folder"):
        write_dataset(tmp_path / "file" / "a.h5", 1)


@pytest.mark.parametrize("compress", [None, 1])
def test_too_small_a_disk_is_noticed_before(tmp_path, monkeypatch, compress):
    path = tmp_path / "a.h5"
    path.write_text("mine")
    usage = namedtuple("usage", "total used free")
    room = (24 * (8192 + 204) * (1 if compress is None else 2)) + (64 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(0, 0, room - 1))
    with pytest.raises(BadInput, match=r"needs 0\.0 GB, .* are free"):
        write_dataset(path, 1, snrs=[0], overwrite=True, compress=compress)
    assert path.read_text() == "mine"
    assert [left.name for left in tmp_path.iterdir()] == ["a.h5"]
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(0, 0, room))
    write_dataset(path, 1, snrs=[0], overwrite=True, compress=compress)


@pytest.mark.parametrize("limit", [1_000, 50_000, 150_000])
def test_a_disk_that_fills_up_loses_nothing(tmp_path, limit):
    path = tmp_path / "a.h5"
    path.write_text("mine")
    # No file may grow beyond a limit: what a full disk is to a writer.
    code = f"""
import resource
from models.errors import BadInput
from training.synthesis import write_dataset
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    write_dataset({str(path)!r}, 1, snrs=[0], overwrite=True)
except BadInput as error:
    print(error)
"""
    process = python(code, stdout=subprocess.PIPE, text=True)
    said = process.communicate()[0]
    assert process.returncode == 0
    assert "cannot write" in said
    assert said.count("\n") == 1
    assert path.read_text() == "mine"
    assert [left.name for left in tmp_path.iterdir()] == ["a.h5"]
    write_dataset(path, 1, snrs=[0], overwrite=True)
    assert read_index(path).cells.sum() == 24


def test_a_write_that_fails_half_way_can_be_taken_up_again(reference, tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    calls = iter(range(1000))

    def full(descriptor, data, place):
        if next(calls) == 40:
            raise OSError(28, "No space left on device")
        return original(descriptor, data, place)

    original = os.pwrite
    monkeypatch.setattr(writer.os, "pwrite", full)
    with pytest.raises(BadInput, match="No space left on device; what is done is kept"):
        write_dataset(path, BLOCK + 10, 3, snrs=SNRS)
    monkeypatch.setattr(writer.os, "pwrite", original)
    write_dataset(path, BLOCK + 10, 3, snrs=SNRS)
    assert sha256(path) == sha256(reference)


def test_compressed(reference, tmp_path):
    path = tmp_path / "small.h5"
    write_dataset(path, BLOCK + 10, 3, snrs=SNRS, compress=1, jobs=3)
    assert path.stat().st_size < 0.9 * reference.stat().st_size
    with h5py.File(path) as packed, h5py.File(reference) as plain:
        assert packed["X"].compression == "gzip"
        for key in ("X", "Y", "Z", "crc32"):
            assert packed[key].dtype == plain[key].dtype
            assert np.array_equal(packed[key], plain[key])
        assert packed.attrs.keys() == plain.attrs.keys()
    (tmp_path / ".one.h5.packed").write_text("left by a kill")
    write_compressed(reference, tmp_path / "one.h5", 1, jobs=1)
    assert {left.name for left in tmp_path.iterdir()} == {"small.h5", "one.h5"}
    assert sha256(tmp_path / "one.h5") == sha256(path)
