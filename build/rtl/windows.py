"""The kernels that read windows off a stream of positions at the full rate: padding and pooling.

FINN's generators take a clock for each padded position, and a few a frame of their own. These take
a clock a position that comes in, and so keep one sample a clock.
Resource estimates are rough LUT counts, as in `build/rtl/kernels.py`.
"""

import dataclasses
import math
from typing import ClassVar

import numpy as np

from build.rtl.kernel import Kernel, Resources, Stream


@dataclasses.dataclass(frozen=True)
class PaddedWindow(Kernel):
    """Windows of a convolution over a frame with zeros at both ends, a whole one a word."""

    module: ClassVar[str] = "padded_window"

    channels: int
    length: int
    before: int
    after: int
    taps: int
    stride: int
    dilation: int
    bits: int
    signed: bool

    def __post_init__(self) -> None:
        assert self.taps > 1, "a window of one position needs no generator"
        assert max(self.before, self.after) <= self.reach, "a window lies in the padding"
        assert self.length + self.before + self.after > self.reach, "no window fits the frame"

    @property
    def reach(self) -> int:
        """Positions from a window's first to its last."""
        return (self.taps - 1) * self.dilation

    @property
    def positions(self) -> int:
        """Windows a frame."""
        return (self.length + self.before + self.after - self.reach - 1) // self.stride + 1

    @property
    def input(self) -> Stream:
        """A position: all channels."""
        return Stream(self.channels, self.bits, self.signed)

    @property
    def output(self) -> Stream:
        """A window: tap by tap, channels innermost."""
        return Stream(self.taps * self.channels, self.bits, self.signed)

    @property
    def words(self) -> tuple[int, int]:
        """A word a position in, a word a window out."""
        return self.length, self.positions

    @property
    def lead(self) -> int:
        """Positions of a frame in front of the last one of its first window."""
        return self.reach - self.before

    @property
    def behind(self) -> int:
        """Zeros behind a frame up to the end of its last window."""
        return max(0, self.lead + (self.positions - 1) * self.stride + 1 - self.length)

    def cycles(self) -> int:
        """A clock a position, unless what is left of a frame holds the next one up."""
        held_up = max(0, self.behind - self.lead)
        return max(self.length + held_up, self.behind + 1)

    def parameters(self) -> dict[str, int | str]:
        """Parameters of padded_window.sv."""
        return {
            "BITS": self.input.used_bits,
            "TAPS": self.taps,
            "DILATION": self.dilation,
            "STRIDE": self.stride,
            "LENGTH": self.length,
            "BEFORE": self.before,
            "WINDOWS": self.positions,
        }

    def reference(self, words: np.ndarray, memory: np.ndarray | None = None) -> np.ndarray:
        """Pad each frame and take its windows."""
        frames = words.reshape(-1, self.length, self.channels)
        padded = np.pad(frames, [(0, 0), (self.before, self.after), (0, 0)])
        first = np.arange(self.positions)[:, None] * self.stride
        taken = first + np.arange(self.taps) * self.dilation
        return padded[:, taken].reshape(-1, self.output.lanes)

    def resources(self) -> Resources:
        """Choose between both frames for each output bit, load or shift what is left of one."""
        chosen = self.output.used_bits + self.reach * self.input.used_bits
        return Resources(lut=30 + math.ceil(chosen / 2))


@dataclasses.dataclass(frozen=True)
class PositionMax(Kernel):
    """Maximum over neighbouring positions that share none: max pooling without a generator."""

    module: ClassVar[str] = "position_max"

    channels: int
    window: int
    length: int
    pe: int
    bits: int
    signed: bool

    def __post_init__(self) -> None:
        assert self.channels % self.pe == 0, "PE must divide the channels"
        assert self.window <= self.length, "no window fits the frame"

    @property
    def folds(self) -> int:
        """Words a position."""
        return self.channels // self.pe

    @property
    def positions(self) -> int:
        """Windows a frame."""
        return self.length // self.window

    @property
    def input(self) -> Stream:
        """PE channels of a position."""
        return Stream(self.pe, self.bits, self.signed)

    @property
    def output(self) -> Stream:
        """PE maxima."""
        return Stream(self.pe, self.bits, self.signed)

    @property
    def words(self) -> tuple[int, int]:
        """All positions in, one a window out."""
        return self.length * self.folds, self.positions * self.folds

    def parameters(self) -> dict[str, int | str]:
        """Parameters of position_max.sv."""
        return {
            "WINDOW": self.window,
            "WINDOWS": self.positions,
            "SURPLUS": self.length % self.window,
            "FOLDS": self.folds,
            "PE": self.pe,
            "BITS": self.bits,
            "SIGNED": self.signed,
        }

    def reference(self, words: np.ndarray, memory: np.ndarray | None = None) -> np.ndarray:
        """Take each channel's maximum over the positions of each window."""
        frames = words.reshape(-1, self.length, self.channels)
        used = frames[:, : self.positions * self.window]
        windows = used.reshape(-1, self.window, self.channels)
        return windows.max(axis=1).reshape(-1, self.pe)

    def resources(self) -> Resources:
        """Compare and select for every lane; what is held of a position in shift registers."""
        held_a_lut = 16  # words of a bit
        shift = math.ceil(self.folds / held_a_lut) if self.folds > 1 else 0
        return Resources(lut=12 + math.ceil((1.5 + shift) * self.pe * self.bits))
