"""Continuous classification: what is counted, what is dropped, how it ends."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deploy.board.driver import quantize
from deploy.board.package import Package
from deploy.board.radioml import CLASSES
from deploy.cli_deploy import deploy
from deploy.stream import Counts, Room, first, paced, summary
from models.errors import BadInput
from tests.conftest import ROOT
from tests.deploy.packages import graph_weight, make_graph_package, needs_board_env
from training.recordings.piped import Piped
from training.recordings.prepared import Block
from training.recordings.raw import sample_type


def test_a_full_room_drops_and_says_what() -> None:
    room = Room(4, waits=False)
    frames = np.arange(10, dtype=np.float32)[:, None, None]
    kept = np.ones(10, bool)
    kept[1] = False
    assert room.offer(frames, kept)
    taken = room.take(3)
    assert taken is not None and taken[:, 0, 0].tolist() == [0, 2, 3]
    room.offer(frames[:3], kept[:3])
    assert room.offered == 13 and room.rejected == 2
    assert room.dropped == [[5, 5]]  # 10 and 12 found room, 11 is silent
    room.offer(frames, np.ones(10, bool))
    assert room.dropped == [[5, 5], [14, 9]]
    room.close()
    assert not room.offer(frames, kept)
    rest = [room.take(2), room.take(2), room.take(2)]
    assert [None if r is None else r[:, 0, 0].tolist() for r in rest] == [[4, 0], [2, 0], None]


def test_a_room_that_waits_drops_nothing() -> None:
    room = Room(4, waits=True)
    frames = np.arange(50, dtype=np.float32)[:, None, None]
    feeder = threading.Thread(target=lambda: (room.offer(frames, np.ones(50, bool)), room.close()))
    feeder.start()
    found = []
    while (part := room.take(3)) is not None:
        found += part[:, 0, 0].tolist()
    feeder.join()
    assert found == frames[:, 0, 0].tolist() and room.dropped == []


def block(count: int, start: int = 0) -> Block:
    starts = np.arange(start, start + count) * 100
    return Block(
        starts, np.zeros((count, 2, 100), np.float32), np.ones(count), np.ones(count, bool)
    )


def test_a_paced_recording_takes_its_time() -> None:
    began, arrived = time.monotonic(), []
    for part in paced([block(20), block(20, 20)], 10_000, 100, threading.Event()):
        arrived += [time.monotonic() - began] * len(part.starts)
    due = (np.arange(40) + 1) / 100
    assert len(arrived) == 40 and (np.array(arrived) > due - 0.06).all()
    stopped = threading.Event()
    stopped.set()
    assert not list(paced([block(20)], 0.001, 100, stopped))


def test_the_first_frames_of_many() -> None:
    assert [len(part.starts) for part in first([block(20), block(20)], 30)] == [20, 10]
    assert [len(part.starts) for part in first([block(20), block(20)], None)] == [20, 20]


@pytest.mark.parametrize("step", [None, 30, 250])
def test_frames_of_a_pipe_are_those_of_its_samples(step: int | None) -> None:
    random = np.random.default_rng(0)
    numbers = random.integers(-100, 100, 2 * 5_050).astype(np.int16)
    read, write = os.pipe()

    def feed() -> None:
        data = numbers.tobytes()
        for at in range(0, len(data), 1_111):  # across samples
            os.write(write, data[at : at + 1_111])
        os.close(write)

    threading.Thread(target=feed).start()
    piped = Piped(read, sample_type("ci16"), 100, step, "none")
    blocks = list(piped)
    os.close(read)
    frames = np.concatenate([each.frames for each in blocks])
    starts = np.concatenate([each.starts for each in blocks])
    assert starts.tolist() == list(range(0, 5_050 - 99, step or 100))
    iq = (numbers / 32768).astype(np.float32).reshape(-1, 2)
    wanted = np.stack([iq[start : start + 100].T for start in starts])
    np.testing.assert_array_equal(frames, wanted)
    assert step is not None or piped.left_over == 50


def test_a_pipe_cannot_be_looked_at_ahead() -> None:
    for arguments in (("rf32", 100), ("cf32", 100, None, "file"), ("cf32", 100, 0)):
        with pytest.raises(BadInput):
            Piped(-1, sample_type(str(arguments[0])), *arguments[1:])  # type: ignore[arg-type]


def test_all_that_was_offered_is_accounted_for() -> None:
    room, counts = Room(2, waits=False), Counts()
    room.offer(np.zeros((5, 1, 1)), np.array([True, False, True, True, True]))
    counts.add(json.dumps({"board": "a", "virtual": True, "own_dmas": True}))
    counts.add(json.dumps({"classes": [3], "accelerator_frames": 1, "accelerator_seconds": 0.5}))
    found = summary("x", room, counts, CLASSES, False)
    assert (found.offered, found.classified, found.rejected, found.dropped) == (5, 1, 1, 2)
    assert found.unfinished == 1 and found.accelerator_frames_per_second == 2
    assert found.classes == {CLASSES[3]: 1} and found.dropped_runs == [[3, 2]]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return make_graph_package(tmp_path_factory.mktemp("stream") / "package")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("samples") / "iq.cf32"
    random = np.random.default_rng(3)
    random.normal(size=2 * 1024 * 300 + 7).astype("<f4")[:-1].tofile(path)
    return path


def classes_of(package: Package, path: Path, frames: int) -> list[int]:
    """Return the classes of a file's frames, each of unit power."""
    x = np.fromfile(path, "<f4").view(np.complex64)[: 1024 * frames].reshape(frames, 1024)
    x = x / np.sqrt((np.abs(x) ** 2).mean(1) - np.abs(x.mean(1)) ** 2)[:, None]
    integers = quantize(np.stack([x.real, x.imag], axis=-1), package.input)
    found: list[int] = (integers.reshape(frames, -1) @ graph_weight()).argmax(axis=1).tolist()
    return found


def counted(classes: list[int]) -> dict[str, int]:
    return {CLASSES[c]: classes.count(c) for c in set(classes)}


@needs_board_env
def test_a_recording_is_streamed_and_nothing_is_lost(
    package: Package, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = tmp_path / "facts.json"
    deploy(package.folder, address="127.0.0.28", stream=str(samples), batch_size=16, json=facts)
    found = json.loads(facts.read_text())
    assert found["offered"] == found["classified"] == 300
    assert found["dropped"] == found["unfinished"] == 0 and not found["interrupted"]
    near = counted(classes_of(package, samples, 300))
    # A sample next to a tie may round to the other side.
    assert sum(abs(found["classes"].get(k, 0) - near.get(k, 0)) for k in CLASSES) <= 6
    assert found["board"] == {"board": "ZCU104", "virtual": True, "own_dmas": False}
    assert "offered 300: classified 300, dropped 0, silent 0" in capsys.readouterr().out


def start(package: Package, address: str, *options: object, **how: object) -> subprocess.Popen[str]:
    command = [sys.executable, "aaronnet.py", "deploy", str(package.folder), "--address", address]
    return subprocess.Popen(
        [*command, *map(str, options)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **how,  # type: ignore[call-overload]
    )


@pytest.fixture
def endless() -> Iterator[int]:
    """A pipe in which samples come without end, 200 frames a second."""
    read, write = os.pipe()
    stopped = threading.Event()

    def feed() -> None:
        random = np.random.default_rng(0)
        while not stopped.wait(0.05):
            try:
                os.write(write, random.normal(size=2 * 10_240).astype("<f4").tobytes())
            except OSError:
                return

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    yield read
    stopped.set()
    os.close(read)
    feeder.join(timeout=5)
    os.close(write)


@needs_board_env
def test_ctrl_c_ends_with_a_summary(package: Package, endless: int, tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    options = ("--stream", "-", "--type", "cf32", "--realtime", "--room", 4, "--json", facts)
    with start(package, "127.0.0.29", *options, stdin=endless) as child:
        deadline = time.monotonic() + 200
        while not _driver_runs(child.pid) and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(3)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=100)
    assert child.returncode == 0, err
    found = json.loads(facts.read_text())
    assert found["interrupted"] and "(ended by Ctrl-C)" in out and "Traceback" not in err
    parts = ("classified", "dropped", "rejected", "unfinished")
    assert found["offered"] == sum(found[part] for part in parts)
    assert sum(count for _, count in found["dropped_runs"]) == found["dropped"]


def _driver_runs(parent: int) -> bool:
    import psutil

    children = psutil.Process(parent).children(recursive=True)
    return any("deploy.board.streaming" in " ".join(child.cmdline()) for child in children)


@needs_board_env
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stream": "nosuch.cf32"}, "nosuch.cf32 does not exist"),
        ({"stream": "-"}, "need their --type"),
        ({"stream": "-", "type_": "cf32", "shift": 5.0}, "shift and resample them before"),
        ({"stream": "-", "type_": "cf31"}, "unknown sample type"),
        ({"stream": "{samples}", "realtime": True}, "real time needs a rate"),
        ({"stream": "{samples}", "data": Path("x.h5")}, "leave them out of a stream"),
        ({"realtime": True}, "without --stream"),
        ({"batch_size": 3}, "without --stream"),
    ],
)
def test_a_stream_that_cannot_be_is_refused_at_once(
    package: Package,
    samples: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, object],
    said: str,
) -> None:
    monkeypatch.setattr("deploy.virtual_board.choose.choose", lambda *_: pytest.fail("too early"))
    options = {
        key: value.format(samples=samples) if isinstance(value, str) else value
        for key, value in options.items()
    }
    with pytest.raises(BadInput, match=said):
        deploy(package.folder, **options)  # type: ignore[arg-type]
