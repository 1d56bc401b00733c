"""`build`, `simulate` and `synth`, ended in the middle: nothing is lost, a rerun is as good.

The commands are real, each a process of its own. Their cache is a folder of the test, and by its
name in their environment they, and all that they start, are found.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from models import checkpoint as checkpoints
from tests.build.small_aaronnet import small_checkpoint
from tests.conftest import ROOT, mounted

SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
STAGED = ".aaronnet-build-*/new"
WALL_TIMES = {"build_seconds", "simulation_seconds", "simulated_frames_per_second"}


def start(cache: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "aaronnet.py"), *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "AARONNET_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(cache: Path, *arguments: object) -> None:
    process = start(cache, *arguments)
    said = process.communicate()[1]
    assert process.returncode == 0, said


def alive(cache: Path) -> list[psutil.Process]:
    """Return the processes that have this cache; zombies wait for whoever reaps, and are none."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(
                "AARONNET_CACHE"
            ) == str(cache):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def wait(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not reached():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def end(process: subprocess.Popen[str], number: int, cache: Path) -> None:
    """Send a signal and check that all ends, and how."""
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode in (-number, 128 + number), said
    assert "Traceback" not in said
    deadline = time.monotonic() + 15
    while left := alive(cache):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def content(folder: Path) -> dict[str, bytes]:
    """Return what is in a build's folder, but nothing of one that is under way beside it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".aaronnet-build-")
    }


def made(folder: Path) -> dict[str, bytes]:
    """Return what a build made but for wall times and names that FINN draws by lot."""
    drawn = re.compile(rb"(code_gen_ipgen_\w+_)[a-z0-9_]{8}\b")
    found = {}
    for name, data in content(folder).items():
        if name.endswith((".onnx", ".log", "time_per_step.json")) or name == "build.json":
            continue  # the graphs name tensors by lot; the report tells that they compute the same
        name = drawn.sub(rb"\1", name.encode()).decode()
        found[name] = drawn.sub(rb"\1", data.replace(bytes(folder), b"."))
    return found


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("network") / "small.pth"
    small = small_checkpoint()
    checkpoints.save(path, small.network, small.config, small.info)
    return path


@pytest.fixture(scope="module")
def whole(network, tmp_path_factory) -> Path:
    """The folder of an uninterrupted build."""
    folder = tmp_path_factory.mktemp("whole")
    done(
        folder / "cache", "build", network, "--style", "dense", "--to", "hdl", "-o", folder / "out"
    )
    return folder / "out"


@pytest.mark.slow
def test_build(whole, network, tmp_path):
    out, cache = tmp_path / "out", tmp_path / "cache"
    shutil.copytree(whole, out)
    former = content(out)
    # Not the package: it is whole milliseconds before the build is. Swaps that are ended in the
    # middle have tests of their own (test_staging.py).
    moments = (
        "intermediate_models/step_lift_1d.onnx",
        "finn-rtllib/*",
        "intermediate_models/step_patch_rtllib.onnx",
    )
    for number, moment in zip(SIGNALS, moments, strict=True):
        process = start(cache, "build", network, "--style", "dense", "--to", "hdl", "-o", out)
        wait(process, lambda moment=moment: any(out.glob(f"{STAGED}/{moment}")))
        end(process, number, cache)
        assert content(out) == former
        assert number == signal.SIGKILL or not list(out.glob(".*"))
    done(cache, "build", network, "--style", "dense", "--to", "hdl", "-o", out)
    assert (out / "build.json").read_bytes() != former["build.json"], "it was not built again"
    assert made(out) == made(whole)
    assert not list(out.glob(".*"))


COMMANDS = {
    "simulate": {
        # Where in the cache it is seen that work is going on, and the command.
        "simulators/building-*/obj/*.o": ("simulate", "-n", 16),
        "runs/running-*/*.in": ("simulate", "-n", 16),
    },
    "synth": {"netlists/running-*/run.ys": ("synth",)},
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_what_adds_to_a_build(command, whole, tmp_path):
    out, cache, facts = tmp_path / "out", tmp_path / "cache", tmp_path / "facts.json"
    shutil.copytree(whole, out)
    former = content(out)
    facts.write_text("the former result")
    for moment, (name, *options) in COMMANDS[command].items():
        arguments = (name, out, *options, "--json", facts)
        for number in SIGNALS:
            there = set(cache.glob(moment))  # SIGKILL leaves its own
            process = start(cache, *arguments)
            wait(process, lambda there=there, moment=moment: set(cache.glob(moment)) - there)
            end(process, number, cache)
            assert content(out) == former
            assert facts.read_text() == "the former result"
            assert number == signal.SIGKILL or not list(cache.glob("*/*ing-*"))
            assert not list(cache.glob("netlists/*.log"))
        if "building" in moment:
            done(cache, name, out, *options)  # from now on the simulator is there
            shutil.rmtree(out)
            shutil.copytree(whole, out)
    done(cache, *arguments)
    shutil.copytree(whole, tmp_path / "other")
    done(tmp_path / "fresh", arguments[0], tmp_path / "other", *options)
    added = {"simulate": "simulation", "synth": "synthesis"}[command]
    one, again = (
        json.loads((folder / "report.json").read_text())[added]
        for folder in (out, tmp_path / "other")
    )
    differing = {key for key in one | again if one.get(key) != again.get(key)}
    assert differing <= WALL_TIMES
    assert not list(cache.glob("*/*ing-*"))


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "24m") as disk:
        yield disk


def leave(disk: Path, room: int) -> None:
    """Fill a disk but for some KiB."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    facts = os.statvfs(disk)
    with filler.open("wb") as file:
        file.write(bytes(max(facts.f_bavail * facts.f_frsize - room * 1024, 0)))


def told(cache: Path, *arguments: object) -> None:
    """Run a command for which there is no room: one line says so."""
    process = start(cache, *arguments)
    lines = process.communicate()[1].strip().splitlines()
    assert process.returncode == 2, lines
    assert "No space left on device" in lines[-1]
    # The progress bar may stand before it.
    assert not [line for line in lines[:-1] if "rror" in line or "Traceback" in line], lines
    assert not alive(cache)


@pytest.mark.slow
def test_a_full_disk(whole, network, small_disk, tmp_path):
    out, cache = small_disk / "out", tmp_path / "cache"
    shutil.copytree(whole, out)
    former = content(out)
    arguments = ("build", network, "--style", "dense", "--to", "hdl", "-o", out)
    for room in (0, 200, 1000, 2400, 6000):  # nothing; a graph; the library; HDL; the package
        leave(small_disk, room)
        told(cache, *arguments)
        assert content(out) == former
        assert not list(out.glob(".*"))
    for room in (0, 100):
        leave(small_disk, room)
        told(small_disk / "cache", "simulate", out, "-n", 16)
        told(small_disk / "cache", "synth", out)
        assert content(out) == former
    (small_disk / "filler").unlink()
    done(cache, *arguments)
    assert made(out) == made(whole)
