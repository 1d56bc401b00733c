"""What a recording is: complex samples at a rate, read a piece at a time; shifted and resampled.

Each step answers `read(start, count)` by reading a little more of the step before it. So nothing
is ever held whole, and a piece is the same whoever asks for it.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
from scipy.signal import firwin, upfirdn

from models.errors import BadInput

LARGEST_FACTOR = 512
"""Of the up- and downsampling: the filter grows with it. A rate is met to 1 / (2 * 512^2)."""

_TAPS = 24  # a phase of the filter, and as many input samples
_KAISER = 8.0  # stop band below -80 dB


class IQSource(Protocol):
    """Complex samples that can be read anywhere.

    Attributes:
        samples: how many there are.
        rate: samples a second.
    """

    @property
    def samples(self) -> int:
        """How many there are."""

    @property
    def rate(self) -> float:
        """Samples a second."""

    def read(self, start: int, count: int) -> np.ndarray:
        """Return complex64 (count,), from sample `start` on; all of it exists."""


@dataclass(frozen=True)
class Recording:
    """A file, read by what it says about itself.

    Attributes:
        source: its samples.
        type: how they are stored, in SigMF's words (cf32_le, ci16_le, ...), or of which format.
        centre: Hz, of the receiver; None where nobody says.
        rate_known: False where the file has no rate and none was given: times are in samples then.
        row: samples of a row where the file holds separate frames, which no frame may cross.
        metadata: the SigMF metadata that came with it.
        stored: samples of the file that one of `source` stands for: two where they are real.
        scaled: the frames of a data set, which have the scale that networks expect.
    """

    source: IQSource
    type: str
    centre: float | None = None
    rate_known: bool = True
    row: int | None = None
    metadata: dict | None = None
    stored: int = 1
    scaled: bool = False

    @property
    def normalize(self) -> str:
        """How its frames are normalised unless somebody says otherwise (`Preparation`)."""
        return "none" if self.scaled else "frame"

    @property
    def samples(self) -> int:
        """Samples in the file."""
        return self.source.samples * self.stored

    @property
    def rate(self) -> float:
        """Samples of the file a second; 1 where that is not known."""
        return self.source.rate * self.stored


@dataclass(frozen=True)
class InMemory:
    """Samples in an array, complex64 (N,)."""

    values: np.ndarray
    rate: float

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(self.values)

    def read(self, start: int, count: int) -> np.ndarray:
        """Return complex64 (count,)."""
        return self.values[start : start + count]


@dataclass(frozen=True)
class Shifted:
    """A source with `hertz` brought to zero."""

    source: IQSource
    hertz: float

    @property
    def samples(self) -> int:
        """As many as before."""
        return self.source.samples

    @property
    def rate(self) -> float:
        """The same as before."""
        return self.source.rate

    def read(self, start: int, count: int) -> np.ndarray:
        """Return complex64 (count,)."""
        # The phase of the first sample in float64: after 2^31 samples float32 has none left.
        turns = -self.hertz / self.rate
        first = (start * turns) % 1
        phase = 2 * np.pi * (first + turns * np.arange(count))
        return self.source.read(start, count) * np.exp(1j * phase).astype(np.complex64)


class Resampled:
    """A source at `up / down` times its rate, through a linear-phase low-pass without delay.

    Args:
        source: what is resampled; silent before its beginning and after its end.
        up, down: coprime.
    """

    def __init__(self, source: IQSource, up: int, down: int):
        self.source, self._up, self._down = source, up, down
        self.samples = source.samples * up // down
        self.rate = source.rate * up / down
        widest = max(up, down)
        self._half = _TAPS * widest
        taps = up * firwin(2 * self._half + 1, 0.92 / widest, window=("kaiser", _KAISER))
        # One of every `down` outputs is kept, from the first: the filter's delay is to be one.
        early = -self._half % down
        self._taps = np.concatenate([np.zeros(early), taps]).astype(np.float32)
        self._delay = (self._half + early) // down

    def read(self, start: int, count: int) -> np.ndarray:
        """Return complex64 (count,)."""
        up, down = self._up, self._down
        # Input samples from `first` on, which coincides with an output sample: so every piece has
        # the grid of the whole.
        margin = -(-self._half // up) + 1
        block = (start * down // up - margin) // down
        first, last = block * down, (start + count) * down // up + margin + 1
        x = _padded(self.source, first, last - first)
        # I and Q by themselves: upfirdn would make complex numbers of the taps, at thrice the cost.
        parts = np.ascontiguousarray(x.view(np.float32).reshape(-1, 2).T)
        skip = self._delay + start - block * up
        y = upfirdn(self._taps, parts, up, down)[:, skip : skip + count]
        return np.ascontiguousarray(y.T).view(np.complex64)[:, 0]


def _padded(source: IQSource, start: int, count: int) -> np.ndarray:
    """Read a piece that may begin before a source or end after it."""
    low, high = max(start, 0), min(start + count, source.samples)
    values: np.ndarray = np.zeros(count, np.complex64)
    if high > low:
        values[low - start : high - start] = source.read(low, high - low)
    return values


def resampled(source: IQSource, rate: float) -> IQSource:
    """Return a source at `rate` samples a second, or as near as `LARGEST_FACTOR` allows.

    Raises:
        BadInput: the rate is out of reach.
    """
    ratio = rate / source.rate
    if not 1 / LARGEST_FACTOR <= ratio <= LARGEST_FACTOR:
        raise BadInput(
            f"a recording of {source.rate:g} samples/s cannot be brought to {rate:g}: the factor "
            f"is beyond {LARGEST_FACTOR}; check the rate and the symbol rate"
        )
    near = Fraction(ratio).limit_denominator(LARGEST_FACTOR)
    if near.numerator > LARGEST_FACTOR:
        near = 1 / Fraction(1 / ratio).limit_denominator(LARGEST_FACTOR)
    if near == 1:
        return source
    return Resampled(source, near.numerator, near.denominator)


def analytic(source: IQSource) -> IQSource:
    """Return the positive half of the spectrum of a real source, its middle at zero, half the rate.

    A frequency f of the original is then found at f - rate / 4.
    """
    return Resampled(Shifted(source, source.rate / 4), 1, 2)
