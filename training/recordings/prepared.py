"""Frames as a network expects them: about 8 samples a symbol, no offset, unit power.

RadioML's frames have unit power without their mean, and their mean is left in (recipe 1); frames of
a recording are made alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models.errors import BadInput
from training.recordings.recording import IQSource, Recording, Shifted, resampled

SAMPLES_A_SYMBOL = 8
NORMALIZE = ("frame", "file", "none")
_BATCH = 64  # frames: what a network makes of them in between is many times as large
_PIECE = 1 << 19  # samples of the recording that are read at a time, at most, but for one frame
SILENT = 1e-20
"""Power of a frame that has none."""


@dataclass(frozen=True)
class Preparation:
    """How a recording becomes frames.

    Attributes:
        shift: Hz that are brought to zero.
        symbol_rate: a second; None leaves the rate as it is.
        decimate: the rate is divided by it, where no symbol rate is given.
        normalize: each frame to unit power, the file as a whole, or nothing.
        step: samples from one frame's begin to the next; None: the frame's length.
        gate: dB below the strongest frame from which on a frame is noise; None: none is.
    """

    shift: float = 0.0
    symbol_rate: float | None = None
    decimate: int = 1
    normalize: str = "frame"
    step: int | None = None
    gate: float | None = None

    def __post_init__(self) -> None:
        if self.normalize not in NORMALIZE:
            raise BadInput(
                f"unknown --normalize {self.normalize!r}; use one of {', '.join(NORMALIZE)}"
            )
        if self.decimate < 1 or (self.step is not None and self.step < 1):
            raise BadInput("--decimate and --step are whole numbers from 1 on")
        if self.symbol_rate is not None and self.decimate != 1:
            raise BadInput("--symbol-rate says the rate already; leave --decimate out")
        if self.symbol_rate is not None and not 0 < self.symbol_rate < 1e12:
            raise BadInput(f"a symbol rate of {self.symbol_rate:g} cannot be")
        if self.gate is not None and not 0 < self.gate < 200:
            raise BadInput("--gate is a number of dB above 0")


@dataclass(frozen=True)
class Block:
    """Some frames of a recording, in order.

    Attributes:
        starts: int64 (N,), first sample of each in the prepared recording.
        frames: float32 (N, 2, L), I and Q.
        power: float64 (N,), mean |x|^2 before anything was normalised.
        kept: bool (N,): not silent, and not below the gate.
    """

    starts: np.ndarray
    frames: np.ndarray
    power: np.ndarray
    kept: np.ndarray


class Prepared:
    """A recording as frames.

    Args:
        recording: as it was opened.
        how: what is done to it.
        length: samples of a frame.

    Raises:
        BadInput: the recording has fewer samples than a frame, or no rate where one is needed.
    """

    def __init__(self, recording: Recording, how: Preparation, length: int):
        source, row = recording.source, recording.row
        moved = how.shift != 0 or how.symbol_rate is not None
        if moved and not recording.rate_known:
            raise BadInput("this recording does not say its rate; give --rate in samples a second")
        if row is not None and (how.symbol_rate is not None or how.decimate != 1):
            raise BadInput("a file of separate frames cannot be resampled; leave the rates out")
        if how.shift:
            if abs(how.shift) > source.rate / 2:
                raise BadInput(
                    f"a shift of {how.shift:g} Hz leaves the recording's {source.rate:g} Hz"
                )
            source = Shifted(source, how.shift)
        if how.symbol_rate is not None:
            source = resampled(source, SAMPLES_A_SYMBOL * how.symbol_rate)
        elif how.decimate != 1:
            source = resampled(source, source.rate / how.decimate)
        if (row or source.samples) < length:
            raise BadInput(
                f"the recording has {row or source.samples} samples"
                f"{' a frame' if row else ''}, the network wants {length}"
            )
        self.recording = recording
        self.source: IQSource = source
        self.length, self.centre, self._how = length, how.shift, how
        self._row = row or source.samples
        step = how.step or length
        self._in_row = np.arange(0, self._row - length + 1, step)
        self.frames = len(self._in_row) * (source.samples // self._row)
        self._strongest = self._level = 1.0
        if how.normalize == "file" or how.gate is not None:
            self._look()

    def __len__(self) -> int:
        return self.frames

    def __iter__(self) -> Iterator[Block]:
        for starts, x, power in self._pieces():
            kept = power > SILENT
            if self._how.gate is not None:
                kept &= power > self._strongest * 10 ** (-self._how.gate / 10)
            scaled = x * self._scale(x, power)[:, None].astype(np.float32)
            pairs = scaled.view(np.float32).reshape(len(x), self.length, 2)
            yield Block(starts, np.ascontiguousarray(pairs.swapaxes(1, 2)), power, kept)

    def constellation(self, number: int) -> np.ndarray:
        """Return one sample a symbol of a frame, where the power is largest: complex64 (L / 8,)."""
        x = self._read(self._starts(np.array([number])))[0]
        x = x[: len(x) // SAMPLES_A_SYMBOL * SAMPLES_A_SYMBOL].reshape(-1, SAMPLES_A_SYMBOL)
        best = (np.abs(x) ** 2).mean(axis=0).argmax()
        return x[:, best]

    def _pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield starts, samples (complex64 (N, L)) and power of a batch of frames."""
        # Strongly decimated frames are long in the recording.
        of_a_frame = self.length * self.recording.source.rate / self.source.rate
        batch = int(np.clip(_PIECE / of_a_frame, 1, _BATCH))
        for first in range(0, self.frames, batch):
            starts = self._starts(np.arange(first, min(first + batch, self.frames)))
            x = self._read(starts)
            yield starts, x, (np.abs(x) ** 2).mean(axis=1, dtype=np.float64)

    def _starts(self, numbers: np.ndarray) -> np.ndarray:
        row, within = np.divmod(numbers, len(self._in_row))
        return row * self._row + self._in_row[within]

    def _read(self, starts: np.ndarray) -> np.ndarray:
        """Return complex64 (N, L); where frames touch or overlap, one piece is read."""
        first, last = int(starts[0]), int(starts[-1]) + self.length
        if last - first > 4 * len(starts) * self.length:  # a long --step
            return np.stack([self.source.read(int(s), self.length) for s in starts])
        piece = self.source.read(first, last - first)
        return piece[(starts - first)[:, None] + np.arange(self.length)]

    def _scale(self, x: np.ndarray, power: np.ndarray) -> np.ndarray:
        if self._how.normalize == "none":
            return np.ones(len(x))
        if self._how.normalize == "file":
            return np.full(len(x), 1 / np.sqrt(max(self._level, SILENT)))
        return to_unit_power(x, power)

    def _look(self) -> None:
        """Go through the frames once: how strong the strongest is, and all on average."""
        total, strongest = 0.0, SILENT
        for _, x, power in self._pieces():
            total += float(_variance(x, power).sum())
            strongest = max(strongest, float(power.max()))
        self._strongest, self._level = strongest, total / self.frames


def to_unit_power(x: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Return float64 (N,): what brings each of frames (N, L) to unit power without its mean.

    Args:
        x: complex frames.
        power: mean |x|^2 of each.
    """
    scale: np.ndarray = 1 / np.sqrt(np.maximum(_variance(x, power), SILENT))
    return scale


def _variance(x: np.ndarray, power: np.ndarray) -> np.ndarray:
    return power - np.abs(x.mean(axis=1, dtype=np.complex128)) ** 2
