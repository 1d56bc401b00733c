"""Where a signal is in a recording and how fast: its centre and its symbol rate, estimated.

The band is what stands out of the noise in the averaged spectrum. A linear modulation with excess
bandwidth has a line at its symbol rate in the spectrum of |x|^2 (Gardner, "Exploitation of spectral
redundancy in cyclostationary signals", IEEE SP Magazine 8(2), 1991); where no line stands out
(constant envelopes: GMSK, FM), the width of the band has to do.
"""

from dataclasses import dataclass

import numpy as np

from models.errors import BadInput
from training.recordings.recording import IQSource, Shifted, resampled

BINS = 4096
_PIECES = 64  # of the recording, evenly spread, that are looked at
_OUT_OF_NOISE = 4.0  # times the median of the spectrum
_LINE = 12.0  # times the median of its surroundings: by chance once in 1e5 bins
_WIDTH = 1.15  # of a band in symbol rates, for the recipe's pulse


@dataclass(frozen=True)
class Estimate:
    """What was found.

    Attributes:
        centre: Hz from the recording's middle.
        bandwidth: Hz.
        symbol_rate: a second.
        by_line: whether the symbol rate is that of a spectral line, or was guessed from the band.
    """

    centre: float
    bandwidth: float
    symbol_rate: float
    by_line: bool


def estimate(source: IQSource) -> Estimate:
    """Estimate centre, bandwidth and symbol rate of the one signal in a recording.

    Raises:
        BadInput: the recording is too short, or nothing stands out of its noise.
    """
    spectrum = averaged_spectrum(source, BINS)
    strong = spectrum > _OUT_OF_NOISE * np.median(spectrum)
    if not strong.any():
        raise BadInput(
            "--auto finds no signal above the noise; give --symbol-rate (and --shift) instead"
        )
    low, high = _band(spectrum, strong)
    step = source.rate / BINS
    centre = ((low + high) / 2 - BINS // 2) * step
    bandwidth = (high - low + 1) * step
    line = _symbol_line(source, centre, bandwidth)
    return Estimate(centre, bandwidth, line or bandwidth / _WIDTH, line is not None)


def averaged_spectrum(source: IQSource, bins: int) -> np.ndarray:
    """Return the power at `bins` frequencies, from -rate/2 on, of pieces all over a recording.

    Raises:
        BadInput: it is shorter than one piece.
    """
    if source.samples < bins:
        raise BadInput(f"{source.samples} samples are too few for a spectrum; {bins} are needed")
    window = np.hanning(bins).astype(np.float32)
    power = np.zeros(bins)
    starts = np.unique(np.linspace(0, source.samples - bins, _PIECES * 4).astype(np.int64))
    for start in starts:
        power += np.abs(np.fft.fft(source.read(int(start), bins) * window)) ** 2
    return np.fft.fftshift(power / len(starts))


def _band(spectrum: np.ndarray, strong: np.ndarray) -> tuple[int, int]:
    """Return first and last bin of the run of strong bins with most power, small gaps closed."""
    gap = max(len(spectrum) // 256, 1)
    edges = np.flatnonzero(strong)
    runs = np.split(edges, np.flatnonzero(np.diff(edges) > gap) + 1)
    best = max(runs, key=lambda run: spectrum[run].sum())
    return int(best[0]), int(best[-1])


def _symbol_line(source: IQSource, centre: float, bandwidth: float) -> float | None:
    """Return the frequency of the line in |x|^2 that lies within the band's width, if one does."""
    near = resampled(Shifted(source, centre), min(4 * bandwidth, source.rate))
    length = 1 << 14
    while length > near.samples:
        length //= 2
    if length < 1024:
        return None
    starts = np.unique(np.linspace(0, near.samples - length, _PIECES // 4).astype(np.int64))
    power = np.zeros(length // 2 + 1)
    for start in starts:
        envelope = np.abs(near.read(int(start), length)) ** 2
        power += np.abs(np.fft.rfft((envelope - envelope.mean()) * np.hanning(length))) ** 2
    first, last = (int(length * share * bandwidth / near.rate) for share in (0.45, 1.15))
    last = min(last, len(power) - 3)
    if last - first < 16:
        return None
    peak = first + int(power[first:last].argmax())
    if power[peak] < _LINE * np.median(power[first:last]):
        return None
    # A parabola through the peak's logarithms: a fraction of a bin (Smith, Serra 1987).
    a, b, c = np.log(power[peak - 1 : peak + 2])
    offset = 0.5 * (a - c) / (a - 2 * b + c)
    return float((peak + offset) * near.rate / length)
