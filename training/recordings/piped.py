"""Samples from a pipe, without end: a receiver's program, or any other that makes samples.

What is behind cannot be looked at ahead or again, so frames are cut and brought to unit power, and
nothing else is done to them.
"""

import os
import select
import threading
from collections.abc import Iterator

import numpy as np

from models.errors import BadInput
from training.recordings.prepared import SILENT, Block, to_unit_power
from training.recordings.raw import SampleType


class Piped:
    """Frames of a pipe; iterating reads it.

    Args:
        pipe: file descriptor to read from.
        type_: of the samples, complex.
        length: samples of a frame.
        step: samples from one frame's begin to the next; None: the length.
        normalize: "frame" or "none".
        stopped: ends the frames, whatever the pipe does.

    Attributes:
        left_over: samples behind the last whole frame, once the pipe has ended.

    Raises:
        BadInput: this cannot be done to a pipe.
    """

    def __init__(
        self,
        pipe: int,
        type_: SampleType,
        length: int,
        step: int | None = None,
        normalize: str = "frame",
        stopped: threading.Event | None = None,
    ):
        if type_.real:
            raise BadInput(f"a pipe of real samples ({type_.name}) is not read; give I and Q")
        if normalize not in ("frame", "none"):
            raise BadInput("a pipe has no file's power; use --normalize frame or none")
        if step is not None and step < 1:
            raise BadInput("--step is a whole number from 1 on")
        self._pipe, self._type, self.length = pipe, type_, length
        self._step, self._normalize = step or length, normalize
        self._stopped = stopped or threading.Event()
        self.left_over = 0

    def __iter__(self) -> Iterator[Block]:
        """Yield what has come, as soon as a frame is whole.

        Raises:
            BadInput: a sample is infinite or not a number.
        """
        held, first, start = b"", 0, 0  # number of the first held sample; of the next frame
        size = self._type.size
        while data := self._read():
            held += data
            there = first + len(held) // size
            count = (there - start - self.length) // self._step + 1
            if count > 0:
                starts = start + self._step * np.arange(count)
                last = int(starts[-1]) + self.length
                part = held[(start - first) * size : (last - first) * size]
                samples = self._type.values(np.frombuffer(part, self._type.number))
                if not np.isfinite(samples).all():
                    raise BadInput("a sample of the pipe is not finite; check --type")
                yield self._block(
                    samples[(starts - start)[:, None] + np.arange(self.length)], starts
                )
                start += count * self._step
            skip = min(start, there) - first
            held, first = held[skip * size :], first + skip
        self.left_over = len(held) // size

    def _read(self) -> bytes:
        """Return what has come; nothing at the end."""
        while not self._stopped.is_set():
            if select.select([self._pipe], [], [], 0.1)[0]:
                return os.read(self._pipe, 1 << 20)
        return b""

    def _block(self, x: np.ndarray, starts: np.ndarray) -> Block:
        power = (np.abs(x) ** 2).mean(axis=1, dtype=np.float64)
        if self._normalize == "frame":
            x = x * to_unit_power(x, power)[:, None].astype(np.float32)
        pairs = np.ascontiguousarray(x).view(np.float32).reshape(len(x), self.length, 2)
        frames = np.ascontiguousarray(pairs.swapaxes(1, 2))
        return Block(starts.astype(np.int64), frames, power, power > SILENT)
