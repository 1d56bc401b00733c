"""`aaronnet deploy --stream`: frames of a recording or a pipe to a board, and classes back, live.

A thread takes frames from the source, a bounded room holds those that the board has not asked for,
a thread gives them to the driver's process, and its answers are counted here. In real time a frame
that finds no room is dropped; each one is counted, with its number. Otherwise the source waits.
"""

import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from training.recordings.prepared import Block

SLICE = 0.05
"""Seconds of a paced source that come at once."""


class Room:
    """Frames between a source and a board; every method may be called from any thread.

    Args:
        frames: most that are held.
        waits: a source waits for room; or else what finds none is dropped.
    """

    def __init__(self, frames: int, waits: bool):
        self.most, self.waits = frames, waits
        self.offered = self.rejected = self.taken = 0
        self.dropped: list[list[int]] = []  # number of the first frame, how many
        self._held: deque[np.ndarray] = deque()
        self._count, self._closed = 0, False
        self._changed = threading.Condition()

    def offer(self, frames: np.ndarray, kept: np.ndarray) -> bool:
        """Put the kept ones of frames (n, samples, channels) in; False once it is closed."""
        with self._changed:
            for index, frame in enumerate(frames):
                while self.waits and self._count >= self.most and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return False
                number, self.offered = self.offered, self.offered + 1
                if not kept[index]:
                    self.rejected += 1
                elif self._count >= self.most:
                    self._drop(number)
                else:
                    self._held.append(frame)
                    self._count += 1
                    self._changed.notify_all()
        return True

    def _drop(self, number: int) -> None:
        if self.dropped and sum(self.dropped[-1]) == number:
            self.dropped[-1][1] += 1
        else:
            self.dropped.append([number, 1])

    def take(self, most: int) -> np.ndarray | None:
        """Return up to `most` frames as soon as there is one; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._count or self._closed)
            if not self._count:
                return None
            frames = [self._held.popleft() for _ in range(min(most, self._count))]
            self._count -= len(frames)
            self.taken += len(frames)
            self._changed.notify_all()
            return np.stack(frames)

    def close(self) -> None:
        """Let nothing more in; what is held can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def paced(
    blocks: Iterable[Block], rate: float, length: int, stopped: threading.Event
) -> Iterator[Block]:
    """Yield a recording's frames when a receiver would have had them.

    Args:
        blocks: the frames.
        rate: samples a second of what they are cut from.
        length: of a frame.
        stopped: ends it.
    """
    begin = time.monotonic()
    for block in blocks:
        due = begin + (block.starts + length) / rate
        first = 0
        while first < len(due) and not stopped.is_set():
            now = time.monotonic()
            last = int(np.searchsorted(due, now + SLICE))
            if last > first:
                part = slice(first, last)
                yield Block(*(each[part] for each in vars(block).values()))
                first = last
            stopped.wait(max(0.0, min(SLICE, due[min(first, len(due) - 1)] - now)))


def first(blocks: Iterable[Block], most: int | None) -> Iterator[Block]:
    """Yield the first `most` frames, all of them without a number."""
    left = most
    for block in blocks:
        if left is None or left >= len(block.starts):
            yield block
        else:
            yield Block(*(each[:left] for each in vars(block).values()))
        if left is not None:
            left -= len(block.starts)
            if left <= 0:
                return


@dataclass
class Counts:
    """What has come of a stream so far.

    Attributes:
        board: what the driver says of it.
        classes: class index -> frames.
        accelerator_seconds, accelerator_frames: of its transfers.
        times: where the accelerator's come from; known at the end.
        began, last: when the board was ready, and when it answered last.
    """

    board: dict[str, Any] = field(default_factory=dict)
    classes: Counter[int] = field(default_factory=Counter)
    accelerator_seconds: float = 0.0
    accelerator_frames: int = 0
    times: str | None = None
    began: float = 0.0
    last: float = 0.0

    @property
    def seconds(self) -> float:
        """Between the two."""
        return max(self.last - self.began, 1e-9)

    @property
    def classified(self) -> int:
        """How many frames."""
        return self.classes.total()

    def add(self, line: str) -> None:
        """Count what the driver's process says."""
        if not line:
            return
        facts, self.last = json.loads(line), time.monotonic()
        if "board" in facts:
            self.board, self.began = facts, self.last
        self.classes.update(facts.get("classes", ()))
        self.accelerator_seconds = facts.get("accelerator_seconds", self.accelerator_seconds)
        self.accelerator_frames = facts.get("accelerator_frames", self.accelerator_frames)
        self.times = facts.get("times", self.times)


@dataclass(frozen=True)
class Streamed:
    """What came of a stream; offered = classified + dropped + rejected + unfinished.

    Attributes:
        source: of the samples.
        board: name, virtual, own_dmas; empty if it never answered.
        offered: frames that the source gave.
        classified: frames that the board classified.
        dropped: frames that found no room.
        rejected: frames that are silent; the board is not asked.
        unfinished: frames that were on their way when it ended.
        dropped_runs: first frame's number and how many, in order.
        classes: name -> frames, the most frequent first.
        seconds: from when the board was ready to its last answer.
        frames_per_second: classified ones.
        accelerator_frames_per_second: by its own time, in transfers of these sizes; None where
            none was classified.
        times: where the accelerator's come from; None if the board did not come to its end.
        interrupted: Ctrl-C ended it.
    """

    source: str
    board: dict[str, Any]
    offered: int
    classified: int
    dropped: int
    rejected: int
    unfinished: int
    dropped_runs: list[list[int]]
    classes: dict[str, int]
    seconds: float
    frames_per_second: float
    accelerator_frames_per_second: float | None
    times: str | None
    interrupted: bool


@dataclass
class _Stopping:
    """Ctrl-C: once ends the source, twice the board's process too."""

    stopped: threading.Event
    room: Room
    child: subprocess.Popen[str]
    asked: int = 0

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self.asked += 1
        self.stopped.set()
        # Not here: who holds the room's lock may be the very code that this interrupts.
        threading.Thread(target=self.room.close, daemon=True).start()
        if self.asked > 1:
            self.child.kill()


def run(
    command: list[str],
    environment: dict[str, str],
    cwd: Path,
    blocks: Callable[[threading.Event], Iterable[Block]],
    room: Room,
    batch: int,
    counts: Counts,
) -> tuple[int, bool]:
    """Let a driver's process classify a source's frames until either ends, or Ctrl-C.

    Args:
        command, environment, cwd: of `deploy.board.streaming`.
        blocks: the source; it ends early when the event is set.
        room: for its frames.
        batch: most frames that are given at once.
        counts: what comes of them.

    Returns:
        the process's exit code, and whether Ctrl-C ended it.

    Raises:
        BadInput: the source is unusable; what it gave before is classified.
    """
    stopped, failures = threading.Event(), []

    def take() -> None:
        try:
            for block in blocks(stopped):
                if stopped.is_set() or not room.offer(block.frames.swapaxes(1, 2), block.kept):
                    return
        except Exception as error:  # raised again by who waits for the end
            failures.append(error)
        finally:
            room.close()

    with subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,  # Ctrl-C is ours to answer
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        pipe = child.stdin

        def give() -> None:
            try:
                while (frames := room.take(batch)) is not None:
                    data = memoryview(frames.astype("<f4").tobytes())
                    while data:  # past Python's buffer, which nobody could empty in the end
                        data = data[os.write(pipe.fileno(), data) :]
            except OSError:  # the board's process ended and has said why
                stopped.set()
            finally:
                room.close()
                pipe.close()

        stopping = _Stopping(stopped, room, child)
        before = signal.signal(signal.SIGINT, stopping)
        threads = [threading.Thread(target=each, daemon=True) for each in (take, give)]
        try:
            # The source begins when the board is ready: none is dropped while it loads.
            counts.add(child.stdout.readline())
            for thread in threads:
                thread.start()
            for line in child.stdout:
                counts.add(line)
            code = child.wait()
        finally:
            stopped.set()
            room.close()
            child.kill()
            signal.signal(signal.SIGINT, before)
            for thread in threads:
                if thread.is_alive():
                    thread.join(timeout=5)
    if failures:
        raise failures[0]
    return code, stopping.asked > 0


def summary(
    source: str, room: Room, counts: Counts, names: Sequence[str], interrupted: bool
) -> Streamed:
    """Return the facts of a stream that ended."""
    dropped = sum(count for _, count in room.dropped)
    return Streamed(
        source=source,
        board=counts.board,
        offered=room.offered,
        classified=counts.classified,
        dropped=dropped,
        rejected=room.rejected,
        unfinished=room.offered - counts.classified - dropped - room.rejected,
        dropped_runs=room.dropped,
        classes={names[index]: count for index, count in counts.classes.most_common()},
        seconds=counts.seconds,
        frames_per_second=counts.classified / counts.seconds,
        accelerator_frames_per_second=(
            counts.accelerator_frames / counts.accelerator_seconds
            if counts.accelerator_seconds
            else None
        ),
        times=counts.times,
        interrupted=interrupted,
    )
