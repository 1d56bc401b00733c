"""Classify frames as they come, without end: two buffers on either side, so that none waits.

    SOURCE | python -m deploy.board.streaming PACKAGE [--batch N]

Frames come on stdin: float32, little-endian, samples * channels numbers each. On stdout is a line
of JSON at the beginning (what the board is), one a batch (the classes, in the frames' order) and
one at the end. Ctrl-C finishes what was read. Exit code 0: all frames that came are classified; 1:
the board stopped answering; 2: bad input.
"""

import argparse
import json
import os
import queue
import select
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deploy.board.console import BOARD_FAILURES, end, leave
from deploy.board.driver import Driver
from deploy.board.errors import BadInput
from deploy.board.package import read_package

PATIENCE = 0.02
"""Seconds without a frame after which what is in the DMAs is not kept waiting for company."""


class Arrivals:
    """Frames from a pipe, read beside the work.

    Args:
        pipe: file descriptor to read from.
        frame: samples and channels.
        batch: most frames a block.
    """

    def __init__(self, pipe: int, frame: tuple[int, int], batch: int):
        self._pipe, self._frame, self._batch = pipe, frame, batch
        self.size = 4 * frame[0] * frame[1]
        self.stopped = threading.Event()
        self.left_over = 0  # bytes of a frame that never became whole
        # None is the end. What does not fit here waits in the pipe.
        self._blocks: queue.Queue[Any] = queue.Queue(2)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        held = bytearray()
        more = True
        while more and not self.stopped.is_set():
            ready, _, _ = select.select([self._pipe], [], [], PATIENCE if not held else 0)
            if ready:
                data = os.read(self._pipe, self._batch * self.size - len(held))
                more = bool(data)
                held += data
            whole = len(held) // self.size * self.size
            if whole and (not ready or not more or len(held) == self._batch * self.size):
                self._blocks.put(
                    np.frombuffer(bytes(held[:whole]), "<f4").reshape(-1, *self._frame)
                )
                del held[:whole]
            elif held and not ready:
                select.select([self._pipe], [], [], PATIENCE)  # part of a frame: the rest comes
        self.left_over = len(held)
        self._blocks.put(None)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield blocks (n, samples, channels); an empty one when none came for a while."""
        while True:
            try:
                block = self._blocks.get(timeout=PATIENCE)
            except queue.Empty:
                yield np.empty((0, *self._frame), np.float32)
                continue
            if block is None:
                return
            yield block


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.board.streaming", description="Classify frames as they come."
    )
    parser.add_argument("package", type=Path, help="folder of an accelerator package")
    parser.add_argument(
        "--batch-size", "--batch", type=int, default=64, help="most frames a transfer"
    )
    given = parser.parse_args(arguments)
    # Libraries print what they like; the answers are ours alone.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(**facts: Any) -> None:
        print(json.dumps(facts), file=answers)

    try:
        package = read_package(given.package)
        with Driver(package, given.batch_size) as driver:
            arrivals = Arrivals(sys.stdin.fileno(), package.input.frame, given.batch_size)
            signal.signal(signal.SIGINT, lambda *_: arrivals.stopped.set())
            say(board=driver.board, virtual=driver.virtual, own_dmas=driver.own_dmas)
            for outputs in driver.stream(arrivals):
                timing = driver.timing
                say(
                    classes=driver.classes(outputs).tolist(),
                    accelerator_frames=timing.frames,
                    accelerator_seconds=timing.accelerator_seconds,
                )
            say(seconds=driver.timing.seconds, times=driver.timing.source)
        if arrivals.left_over:
            raise BadInput(
                f"stdin ended {arrivals.left_over} bytes into a frame of {arrivals.size} bytes"
            )
    except BOARD_FAILURES as error:
        return leave("streaming", error)
    except BrokenPipeError:
        return 1  # nobody listens any more
    return 0


if __name__ == "__main__":
    end(main())
