"""Ended in the middle, by whatever, and started again: as if nothing had happened.

Each run has a process of its own, forked from one that has imported everything.
"""

import errno
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from models import checkpoint as checkpoints
from models.errors import BadInput
from tests.conftest import mounted
from tests.tiny import TINY, ready, weights_cost
from training import prune_run, quantize
from training.data import RadioMLData
from training.module import Recipe
from training.plans import FixedSteps
from training.train import train

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
ROOM = (0, 20, 60, 100, 150, 250, 400)  # KiB that a full disk has left, one run after the other
FULL, GONE = 2, 15  # exit code; seconds
ITERATIONS = len(SIGNALS) + 1  # each signal may end one
MADE = {
    "train": ["best.pth", "last.pth"],
    "prune": [*(f"iteration_{number:02}.pth" for number in range(ITERATIONS)), "best.pth"],
    "quantize": ["hw.pth"],
}


def work(kind: str, data: Path, start: Path, out: Path) -> None:
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # as in a process of the command line
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in jobs of some shells
    prune_run.inference_cost = quantize.inference_cost = weights_cost
    source = RadioMLData(data, 64, min_snr=0, workers=1, seed=1)
    options = {"progress": False, "accelerator": "cpu", "batches_per_epoch": 4}
    try:
        if kind == "train":
            train(TINY, source, out, Recipe(epochs=5, t0=2, lr=0.0005), **options)
        elif kind == "prune":
            retraining = prune_run.Retraining(rounds=1, t0=2, lr=0.0005, threshold=-1.0)
            steps = FixedSteps((0.2,) * ITERATIONS)
            # Every accuracy is good enough, and ends a round: so iterations of one epoch.
            prune_run.prune(checkpoints.load(start), source, out, steps, retraining, **options)
        else:
            quantize.quantize(
                *(checkpoints.load(start), source, out / "hw.pth", 8),
                frames=312,
                finetuning=Recipe(5, lr=0.0005),
                batches_per_epoch=4,
            )
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
def start(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("start") / "start.pth"
    checkpoints.save(path, ready(frames=64).eval(), TINY, {"data_label": "synthetic"})
    return path


@pytest.fixture(
    scope="module",
    params=[
        "train",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("prune", "quantize")),
    ],
)
def whole(request, data, start, tmp_path_factory) -> tuple[str, Path]:
    """A kind of work, and the folder of an uninterrupted run."""
    out = tmp_path_factory.mktemp("whole")
    assert ended(request.param, data, start, out) == 0
    return request.param, out


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


def compare(kind: str, whole: Path, other: Path) -> None:
    for name in MADE[kind]:
        one, again = (checkpoints.load(folder / name) for folder in (whole, other))
        assert one.info.get("accuracy") == again.info.get("accuracy")
        for key, value in one.network.state_dict().items():
            assert torch.equal(value, again.network.state_dict()[key]), key
    if kind == "prune":
        one, again = (json.loads((f / "prune.json").read_text()) for f in (whole, other))
        assert one == again
    listed = [{path.name for path in folder.iterdir()} for folder in (whole, other)]
    assert listed[0] == listed[1]  # nothing half-written, no folder of work is left


def test_interrupted_by_each_signal_it_ends_like_an_uninterrupted_run(whole, data, start, tmp_path):
    kind, uninterrupted = whole
    former = tmp_path / "hw.pth"
    if kind == "quantize":
        former.write_bytes(b"the result before")
    for number in SIGNALS:
        before = states(tmp_path)
        process = begin(kind, data, start, tmp_path)
        while process.is_alive() and not states(tmp_path) - before:
            time.sleep(0.005)
        assert process.is_alive(), "it ended before it could be stopped"
        family = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, number)
        process.join(60)
        assert not process.is_alive(), number
        deadline = time.monotonic() + GONE
        while left := [each for each in family if running(each)]:
            assert time.monotonic() < deadline, left
            time.sleep(0.1)
        assert process.exitcode in (-number, 128 + number, 1), process.exitcode
        for path in tmp_path.glob("[!.]*.pth"):
            if path != former:  # the results so far are there, and whole
                checkpoints.load(path)
        if kind == "quantize":
            assert former.read_bytes() == b"the result before"
    assert ended(kind, data, start, tmp_path) == 0
    compare(kind, uninterrupted, tmp_path)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "4m") as disk:
        yield disk


def test_a_full_disk_is_told_and_then_it_goes_on(whole, data, start, small_disk):
    kind, uninterrupted = whole
    filler, codes = small_disk / "filler", []
    for left in ROOM:
        filler.unlink(missing_ok=True)
        with filler.open("wb") as file:
            file.write(bytes(max(free(small_disk) - left * 1024, 0)))
        codes.append(ended(kind, data, start, small_disk))
        assert codes[-1] in (0, FULL), codes
        for path in small_disk.glob("[!.]*.pth"):
            checkpoints.load(path)
    assert codes[0] == FULL
    filler.unlink()
    assert ended(kind, data, start, small_disk) == 0
    compare(kind, uninterrupted, small_disk)


def free(folder: Path) -> int:
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize
