"""Signals that are a carrier and little else, as RadioML's analogue classes.

In its frames these have their carrier 1/32 cycles a sample off the middle: AM-DSB a real one, which
is two lines with one envelope; FM a complex one of constant envelope. An estimate has to bring them
there. How fast they are is a matter of definition: what is AM-DSB gets the rate at which its two
lines stand where the frames have them, what is FM the one at which it deviates as much.
"""

from dataclasses import dataclass

import numpy as np

from training.recordings.recording import LARGEST_FACTOR, IQSource, Shifted, resampled
from training.synthesis.modulations import CARRIER, FM_DEVIATION, SPS

_ALIKE = 10**0.2  # largest ratio of the powers of two lines that are one real carrier's
_SAME = 0.8  # least correlation of their envelopes
_MEAN = 8  # samples of them that are averaged: audio is narrower by far than two lines are apart
_FEWEST = 128  # samples to tell anything by
_CONSTANT = 0.1  # largest spread of an envelope that is called constant
_MODULATED = 0.1  # radians by which a phase must leave a straight line to be called modulated
_LONGEST = 1 << 16  # samples of a line's surroundings that are looked at


@dataclass(frozen=True)
class Analogue:
    """What a carrier was found to be.

    Attributes:
        centre: Hz from the recording's middle, of what is to be the middle of the frames.
        symbol_rate: a second, at which frames have the carrier where RadioML has it.
        kind: in words.
    """

    centre: float
    symbol_rate: float
    kind: str


def real_carrier(source: IQSource, low: float, high: float) -> Analogue | None:
    """Return what two lines (Hz) are together, if they are one real carrier: AM-DSB."""
    apart = high - low
    first, second = (_around(source, hertz, apart / 2) for hertz in (low, high))
    if first is None or second is None:
        return None
    envelopes = [np.abs(np.convolve(x, np.ones(_MEAN) / _MEAN, "valid")) for x in (first, second)]
    low_power, high_power = ((envelope**2).mean() for envelope in envelopes)
    if not 1 / _ALIKE < low_power / max(high_power, 1e-30) < _ALIKE:
        return None
    if min(e.std() for e in envelopes) == 0 or np.corrcoef(np.stack(envelopes))[0, 1] < _SAME:
        return None
    return Analogue((low + high) / 2, apart / (2 * CARRIER * SPS), "two lines of one envelope")


def modulated_carrier(source: IQSource, hertz: float, width: float) -> Analogue | None:
    """Return what a line is, if its phase is modulated and its envelope is not: FM.

    Args:
        source: the recording.
        hertz: where the line is.
        width: Hz around it that are its own.
    """
    x = _around(source, hertz, width)
    if x is None or _varies(x):
        return None
    rate = _rate(source, width)
    phase, slope, off = _phase(x, rate)
    if off < _MODULATED:
        return None
    deviation = np.diff(phase).std() * rate / (2 * np.pi)
    samples = float(deviation) / FM_DEVIATION
    centre = hertz + slope / (2 * np.pi) - CARRIER * samples
    return Analogue(float(centre), samples / SPS, "a line of constant envelope")


def bare(source: IQSource, hertz: float, width: float) -> bool:
    """Whether a line is modulated in no way: a spur, or the receiver's own offset."""
    x = _around(source, hertz, width)
    if x is None or _varies(x):
        return False
    return _phase(x, _rate(source, width))[2] < _MODULATED


def _varies(x: np.ndarray) -> bool:
    """Whether the envelope of complex samples is not constant."""
    return bool(np.abs(x).std() > _CONSTANT * np.abs(x).mean())


def _phase(x: np.ndarray, rate: float) -> tuple[np.ndarray, float, float]:
    """Return the phase (N,), its slope in radians a second, and its spread about it in radians."""
    phase = np.unwrap(np.angle(x))
    place = np.arange(len(phase)) / rate
    slope, start = np.polyfit(place, phase, 1)
    return phase, float(slope), float(np.std(phase - start - slope * place))


def _rate(source: IQSource, width: float) -> float:
    return min(max(width, source.rate / LARGEST_FACTOR), source.rate)


def _around(source: IQSource, hertz: float, width: float) -> np.ndarray | None:
    """Return the samples of a line's surroundings; None where there are too few."""
    near = resampled(Shifted(source, hertz), _rate(source, width))
    count = min(near.samples, _LONGEST)
    if count < _FEWEST:
        return None
    x = near.read((near.samples - count) // 2, count)
    return x[count // 16 : -(count // 16)]  # what lies outside the recording is silence
