"""Where signals are in a recording and how fast: centres and symbol rates, estimated.

Bands are what stands out of the noise in the averaged spectrum. A linear modulation with excess
bandwidth has a line at its symbol rate in the spectrum of |x|^2 (Gardner, "Exploitation of spectral
redundancy in cyclostationary signals", IEEE SP Magazine 8(2), 1991), and one at M times its carrier
in that of x^M for the M that its constellation's symmetry gives (Viterbi & Viterbi, IEEE Trans.
Inf. Theory 29(4), 1983). Where no line stands out, the band's middle and width have to do. A
carrier alone is looked at by `carriers.py`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter

from models.errors import BadInput
from training.recordings.carriers import Analogue, bare, modulated_carrier, real_carrier
from training.recordings.recording import (
    LARGEST_FACTOR,
    InMemory,
    IQSource,
    Shifted,
    resampled,
)

BINS = 4096
_PIECES = 256  # of the recording, evenly spread, that are looked at
_OUT_OF_NOISE = 4.0  # times the noise's spectrum
_NARROWEST = 3  # bins of a band: what the window makes of a line
_LINE = 10.0  # times the median around it: what 16 averaged pieces of noise never are
_CARRIER = 40.0  # times the median around it, of one long piece
_HALF_POWER = 0.81  # width in symbol rates between half the power: the recipe's pulse
_LONG = 1 << 16
_FINE = 1024  # bins over twice a band
_LINES = 31  # of these, which a line is narrower than
_HELD = 1 << 18  # samples around a band that are kept in memory
_ALONE = 6  # a band is a carrier alone if it is so many times wider than at half its power


@dataclass(frozen=True)
class Estimate:
    """A signal that was found.

    Attributes:
        centre: Hz from the recording's middle.
        bandwidth: Hz, of what stands out of the noise.
        symbol_rate: a second.
        by_line: whether the symbol rate is that of a spectral line, or was guessed from the band.
        kind: what a carrier alone was found to be, if it is one.
        power: of the strongest of its frequencies over that of the noise.
    """

    centre: float
    bandwidth: float
    symbol_rate: float
    by_line: bool
    power: float
    kind: str = ""

    def __str__(self) -> str:
        by = "a line of |x|^2" if self.by_line else "the width of the band: no line of |x|^2"
        by = f"{self.kind}, as RadioML has it" if self.kind else by
        return (
            f"centre {self.centre:+.6g} Hz, bandwidth {self.bandwidth:.6g} Hz, "
            f"{self.symbol_rate:.6g} symbols/s (by {by})"
        )


def estimate(source: IQSource, most: int = 1) -> list[Estimate]:
    """Estimate centre, bandwidth and symbol rate of the signals in a recording.

    Args:
        source: the recording.
        most: how many signals are looked for; the strongest are kept.

    Returns:
        at least one, by their centres.

    Raises:
        BadInput: the recording is too short, or nothing stands out of its noise.
    """
    spectrum = averaged_spectrum(source, BINS)
    noise = float(np.percentile(spectrum, 25))
    runs = _bands(spectrum, _OUT_OF_NOISE * noise)
    if not runs:
        raise BadInput(
            "no signal stands out of the noise; give --symbol-rate (and --shift) instead"
        )
    groups = _real_carriers(source, spectrum, runs)
    groups.sort(key=lambda group: -spectrum[np.concatenate(group[0])].sum())
    found = [
        _of_carrier(source, spectrum, noise, parts, analogue)
        if analogue
        else _one(source, spectrum, noise, parts[0])
        for parts, analogue in groups[:most]
    ]
    return sorted(found, key=lambda each: each.centre)


def averaged_spectrum(source: IQSource, bins: int) -> np.ndarray:
    """Return the power at `bins` frequencies, from -rate/2 on, of pieces all over a recording.

    Raises:
        BadInput: it is shorter than one piece.
    """
    if source.samples < bins:
        raise BadInput(f"{source.samples} samples are too few for a spectrum; {bins} are needed")
    window = np.hanning(bins).astype(np.float32)
    power = np.zeros(bins)
    starts = np.unique(np.linspace(0, source.samples - bins, _PIECES).astype(np.int64))
    for start in starts:
        power += np.abs(np.fft.fft(source.read(int(start), bins) * window)) ** 2
    return np.fft.fftshift(power / len(starts))


def _bands(spectrum: np.ndarray, threshold: float) -> list[np.ndarray]:
    """Return the bins of each band, narrow gaps closed."""
    strong = np.flatnonzero(spectrum > threshold)
    runs = np.split(strong, np.flatnonzero(np.diff(strong) > 3) + 1)
    return [run for run in runs if len(run) >= _NARROWEST]


def _alone(spectrum: np.ndarray, run: np.ndarray) -> bool:
    """Whether a band may be a carrier and little else: a peak on what the window makes of it."""
    return int((spectrum[run] > spectrum[run].max() / 2).sum()) <= max(2, len(run) // _ALONE)


def _hertz(source: IQSource, spectrum: np.ndarray, run: np.ndarray) -> float:
    """Return where the strongest line of a band is."""
    peak = int(np.clip(run[spectrum[run].argmax()], 1, BINS - 2))
    return (peak + _between(spectrum[peak - 1 : peak + 2]) - BINS // 2) * source.rate / BINS


Group = tuple[list[np.ndarray], Analogue | None]


def _real_carriers(source: IQSource, spectrum: np.ndarray, runs: list[np.ndarray]) -> list[Group]:
    """Return the bands of each signal: two for the lines of one real carrier.

    A carrier that is modulated in no way is left out, unless there is nothing else.
    """
    groups: list[Group] = []
    for run in sorted(runs, key=lambda run: int(run[0])):
        last = groups[-1] if groups else None
        if last and len(last[0]) == 1:
            both = [last[0][0], run]
            if all(_alone(spectrum, part) for part in both):
                low, high = (_hertz(source, spectrum, part) for part in both)
                if found := real_carrier(source, low, high):
                    groups[-1] = (both, found)
                    continue
        groups.append(([run], None))
    signals: list[Group] = []
    others: list[Group] = []
    for parts, found in groups:
        if found or not _alone(spectrum, parts[0]):
            signals.append((parts, found))
            continue
        around = _hertz(source, spectrum, parts[0]), 2 * len(parts[0]) * source.rate / BINS
        known = others if bare(source, *around) else signals
        known.append((parts, modulated_carrier(source, *around)))
    return signals or others


def _of_carrier(
    source: IQSource,
    spectrum: np.ndarray,
    noise: float,
    parts: list[np.ndarray],
    found: Analogue,
) -> Estimate:
    bandwidth = float((parts[-1][-1] - parts[0][0] + 1) * source.rate / BINS)
    power = float(max(spectrum[part].max() for part in parts) / noise)
    return Estimate(found.centre, bandwidth, found.symbol_rate, False, power, found.kind)


def _one(source: IQSource, spectrum: np.ndarray, noise: float, run: np.ndarray) -> Estimate:
    step = source.rate / BINS
    excess = spectrum[run] - noise
    centre = (float((run * excess).sum() / excess.sum()) - BINS // 2) * step
    bandwidth = (run[-1] - run[0] + 1) * step
    rate = min(max(2 * bandwidth, source.rate / LARGEST_FACTOR), source.rate)
    near = _held(resampled(Shifted(source, centre), rate))
    symbol_rate = _width(near, bandwidth) / _HALF_POWER
    line = _symbol_line(near, symbol_rate)
    centre += _carrier(near, line or symbol_rate)
    power = float(spectrum[run].max() / noise)
    return Estimate(centre, float(bandwidth), line or symbol_rate, line is not None, power)


def _held(source: IQSource) -> IQSource:
    """Keep a source in memory if it is short enough: it is read many times."""
    if source.samples > _HELD:
        return source
    return InMemory(source.read(0, source.samples), source.rate)


def _width(near: IQSource, bandwidth: float) -> float:
    """Return the Hz between half the power of a band in the middle; lines in it do not count."""
    bins = _FINE
    while bins > near.samples:
        bins //= 2
    reach = min(int(0.55 * bandwidth / near.rate * bins), bins // 2)
    power = averaged_spectrum(near, bins)
    power = median_filter(power, max(_LINES * bins // _FINE, 3) | 1, mode="nearest")
    floor = float(np.percentile(power, 25))
    excess = power[bins // 2 - reach : bins // 2 + reach] - floor
    half = np.flatnonzero(excess > np.percentile(excess, 80) / 2)
    return float((half[-1] - half[0] + 1) * near.rate / bins)


def _symbol_line(near: IQSource, about: float) -> float | None:
    """Return the frequency of the line in |x|^2 that is nearest to what the band's width says."""
    length = 1 << 14
    while length > near.samples:
        length //= 2
    if length < 1024:
        return None
    starts = np.unique(np.linspace(0, near.samples - length, 16).astype(np.int64))
    power = np.zeros(length // 2 + 1)
    for start in starts:
        envelope = np.abs(near.read(int(start), length)) ** 2
        power += np.abs(np.fft.rfft((envelope - envelope.mean()) * np.hanning(length))) ** 2
    first, last = (int(length * share * about / near.rate) for share in (0.6, 1.6))
    last = min(last, len(power) - 3)
    if last - first < 16:
        return None
    over = power / median_filter(power, 129, mode="nearest")
    peak = first + int(over[first:last].argmax())
    if over[peak] < _LINE:
        return None
    return (peak + _between(power[peak - 1 : peak + 2])) * near.rate / length


def _carrier(near: IQSource, symbol_rate: float) -> float:
    """Return by how much the carrier is off zero, of the lowest power of x that shows a line."""
    length = min(_LONG, near.samples)
    x = near.read((near.samples - length) // 2, length)
    x = x / np.sqrt((np.abs(x) ** 2).mean() + 1e-30)
    window = np.hanning(length)
    frequency = np.fft.fftfreq(length) * near.rate
    for order in (1, 2, 4, 8):
        power = np.abs(np.fft.fft(x**order * window)) ** 2
        # Beside the carrier's own there are lines at multiples of the symbol rate from it.
        close = np.flatnonzero(np.abs(frequency) < min(symbol_rate * 0.45, near.rate / 2.2))
        order_of = close[np.argsort(frequency[close])]
        lines = power[order_of]
        over = lines / (median_filter(lines, 129, mode="nearest") + 1e-30)
        peak = int(lines.argmax())
        if 0 < peak < len(lines) - 1 and over[peak] > _CARRIER:
            bin_ = _between(lines[peak - 1 : peak + 2])
            return float(frequency[order_of[peak]] + bin_ * near.rate / length) / order
    return 0.0


def _between(three: np.ndarray) -> float:
    """Return where between bins a peak is: a parabola through its logarithms."""
    a, b, c = np.log(three + 1e-30)
    bend = a - 2 * b + c
    return float(0.5 * (a - c) / bend) if bend < 0 else 0.0
