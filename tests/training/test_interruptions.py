"""Ended in the middle, by whatever, and started again: as if nothing had happened.

Each run has a process of its own, forked from one that has imported everything.
"""

import errno
import multiprocessing
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from models import checkpoint as checkpoints
from models.errors import BadInput
from tests.tiny import TINY
from training.data import RadioMLData
from training.module import Recipe
from training.train import train

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
ROOM = (0, 20, 60, 100, 150, 250, 400)  # KiB that a full disk has left, one run after the other
FULL, GONE = 2, 15  # exit code; seconds
MADE = ("best.pth", "last.pth")


def work(data: Path, out: Path) -> None:
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # as in a process of the command line
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in jobs of some shells
    source = RadioMLData(data, 64, min_snr=0, workers=1, seed=1)
    options = {"progress": False, "accelerator": "cpu", "batches_per_epoch": 4}
    try:
        train(TINY, source, out, Recipe(epochs=5, t0=2, lr=0.0005), **options)
    except BadInput as error:
        raise SystemExit(FULL if "No space left" in str(error) else str(error)) from error
    except OSError as error:  # the command line tells it in a line, too
        raise SystemExit(FULL if error.errno == errno.ENOSPC else str(error)) from error


def begin(*arguments) -> multiprocessing.process.BaseProcess:
    process = PROCESSES.Process(target=work, args=arguments)
    process.start()
    return process


def ended(*arguments) -> int | None:
    process = begin(*arguments)
    process.join()
    return process.exitcode


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> Path:
    """The folder of an uninterrupted run."""
    out = tmp_path_factory.mktemp("whole")
    assert ended(data, out) == 0
    return out


def states(out: Path) -> set[tuple[Path, int]]:
    found = set()
    for path in out.rglob("state.ckpt"):
        try:
            found.add((path, path.stat().st_mtime_ns))
        except FileNotFoundError:
            continue
    return found


def running(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # not every system's first process reaps
    except psutil.NoSuchProcess:
        return False


def compare(whole: Path, other: Path) -> None:
    for name in MADE:
        one, again = (checkpoints.load(folder / name) for folder in (whole, other))
        assert one.info.get("accuracy") == again.info.get("accuracy")
        for key, value in one.network.state_dict().items():
            assert torch.equal(value, again.network.state_dict()[key]), key
    listed = [{path.name for path in folder.iterdir()} for folder in (whole, other)]
    assert listed[0] == listed[1]  # nothing half-written, no folder of work is left


def test_interrupted_by_each_signal_it_ends_like_an_uninterrupted_run(whole, data, tmp_path):
    for number in SIGNALS:
        before = states(tmp_path)
        process = begin(data, tmp_path)
        while process.is_alive() and not states(tmp_path) - before:
            time.sleep(0.005)
        family = [psutil.Process(process.pid)] if process.is_alive() else []
        family += family[0].children(recursive=True) if family else []
        os.kill(process.pid, number)
        process.join(60)
        assert not process.is_alive(), number
        deadline = time.monotonic() + GONE
        while left := [each for each in family[1:] if running(each)]:
            assert time.monotonic() < deadline, left
            time.sleep(0.1)
        assert process.exitcode in (-number, 128 + number, 1), process.exitcode
        for path in tmp_path.glob("[!.]*.pth"):
            checkpoints.load(path)  # the results so far are there, and whole
    assert ended(data, tmp_path) == 0
    compare(whole, tmp_path)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4M", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_told_and_then_it_goes_on(whole, data, small_disk):
    filler, codes = small_disk / "filler", []
    for left in ROOM:
        filler.unlink(missing_ok=True)
        with filler.open("wb") as file:
            file.write(bytes(max(free(small_disk) - left * 1024, 0)))
        codes.append(ended(data, small_disk))
        assert codes[-1] in (0, FULL), codes
        for path in small_disk.glob("[!.]*.pth"):
            checkpoints.load(path)
    assert codes[0] == FULL
    filler.unlink()
    assert ended(data, small_disk) == 0
    compare(whole, small_disk)


def free(folder: Path) -> int:
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize
