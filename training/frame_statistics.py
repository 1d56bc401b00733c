"""What frames are like: numbers a frame, spectra, symbols after a matched filter.

Everything is computed alike for real and for synthetic frames, so that windows, filters and short
frames bias both in the same way.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from training.synthesis.modulations import PULSE_POWER, ROLL_OFF, SPS

CLIP = 2.0
"""The input quantizers of all our networks end at +-2."""

LINE = 0.7
"""|mean x^2| / mean |x|^2 from which on a frame lies on a line (BPSK, ASK): noise has next to 0."""

CLIPPED = "samples beyond +-2, share"

_EDGE = 3  # symbols at each end of a frame that the matched filter spoils
_BANDS = {"in the band": (0.0, 0.025), "edge": (0.0575, 0.0675), "outside": (0.25, 0.5)}
"""Frequencies, cycles a sample. A symbol rate of 1/8 has its -9 dB at 1/16, in the second."""

ROLL_OFFS = np.arange(0.20, 0.701, 0.01)
"""Among which `fitted_roll_off` chooses."""


@dataclass(frozen=True)
class Looks:
    """Frames as they are measured.

    Attributes:
        values: name of a number to float64 (B,); NaN for a frame that has none.
        spectra: float64 (B, L), power a frequency from -1/2 cycles a sample on, windowed.
        amplitudes: float64 (B, L), |x| over the frame's root mean square.
        aligned: complex (B, S, 2 SPS + 1), matched-filtered, turned, around each symbol's middle.
        on_a_line: bool (B,).
    """

    values: dict[str, np.ndarray]
    spectra: np.ndarray
    amplitudes: np.ndarray
    aligned: np.ndarray
    on_a_line: np.ndarray


def look_at(frames: np.ndarray) -> Looks:
    """Measure frames.

    Args:
        frames: complex (B, L), L at least 128 and a multiple of 8 samples.
    """
    x = frames.astype(np.complex128)
    power = (np.abs(x) ** 2).mean(axis=1, keepdims=True)
    square = (x**2).mean(axis=1)
    line = np.abs(square) / np.maximum(power[:, 0], 1e-30) > LINE
    unit = x / np.sqrt(np.maximum(power, 1e-30))
    spectra = _spectra(unit)
    delay, strength, slip = _timing(unit)
    offset, straightness = _drift(unit, line)
    aligned = _aligned(unit, delay, np.where(line, 2, 4), offset)
    symbols = aligned[:, :, SPS]
    return Looks(
        {
            "power": power[:, 0],
            CLIPPED: _clipped(x),
            **_levels(spectra),
            **_cumulants(unit),
            "peak over mean power": (np.abs(unit) ** 2).max(axis=1),
            "timing: delay, samples": delay,
            "timing: line of |x|^2": strength,
            "timing: slip, samples in 1000": slip,
            "drift: cycles a sample": offset,
            "drift: off a straight line, degrees": straightness,
            "symbols: spread of |x|": np.abs(symbols).std(axis=1) / np.abs(symbols).mean(axis=1),
        },
        spectra,
        np.abs(unit),
        aligned,
        line,
    )


def _levels(spectra: np.ndarray) -> dict[str, np.ndarray]:
    """Return power densities a frame, in dB of its mean power over all frequencies."""
    frequency = np.abs(np.fft.fftshift(np.fft.fftfreq(spectra.shape[1])))
    return {
        f"spectrum: {name}, dB": 10
        * np.log10(spectra[:, (frequency >= low) & (frequency <= high)].mean(axis=1) + 1e-20)
        for name, (low, high) in _BANDS.items()
    }


def fitted_roll_off(spectra: np.ndarray) -> float:
    """Return the pulse's roll-off by least squares of the averaged spectrum, in dB to -30.

    The pulse is the recipe's, a raised cosine to the power of 1.5, at 8 samples a symbol. Its
    spectrum is smeared by the window as that of the frames is.
    """
    mean = spectra.mean(axis=0)
    length = len(mean)
    frequency = np.fft.fftshift(np.fft.fftfreq(length))
    inside = mean[np.abs(frequency) < 0.02].mean()
    floor = mean[np.abs(frequency) > 0.25].mean()
    used = (np.abs(frequency) < 0.11) & (mean > 1e-3 * inside) & (mean > 4 * floor)
    measured = 10 * np.log10(mean[used] / inside)
    errors = [
        np.square(measured - 10 * np.log10(_smeared(float(a), length)[used])).mean()
        for a in ROLL_OFFS
    ]
    return float(ROLL_OFFS[int(np.argmin(errors))])


@lru_cache(maxsize=256)
def _smeared(roll_off: float, length: int) -> np.ndarray:
    """Return the power spectrum of the pulse, seen through the window, from -1/2 on; 1 at 0."""
    fine = 8 * length
    frequency = np.fft.fftfreq(fine)
    power = np.abs(_response(frequency, roll_off)) ** 2
    # Through a window the autocorrelation is multiplied by the window's own.
    window = np.abs(np.fft.fft(np.blackman(length), fine)) ** 2
    seen = np.fft.ifft(np.fft.fft(power) * np.fft.fft(window)).real
    taken = np.fft.fftshift(seen[::8])
    return np.maximum(taken / taken[length // 2], 1e-12)


def _response(frequency: np.ndarray, roll_off: float) -> np.ndarray:
    excess = np.clip(SPS * np.abs(frequency) - (1 - roll_off) / 2, 0, roll_off)
    return (0.5 * (1 + np.cos(np.pi / roll_off * excess))) ** PULSE_POWER


def _spectra(x: np.ndarray) -> np.ndarray:
    window = np.blackman(x.shape[1])  # its side lobes fall off: the noise is 60 dB down
    spectra = np.abs(np.fft.fft(x * window, axis=1)) ** 2 / (window**2).sum()
    return np.fft.fftshift(spectra, axes=1)


def _clipped(x: np.ndarray) -> np.ndarray:
    return ((np.abs(x.real) > CLIP).mean(axis=1) + (np.abs(x.imag) > CLIP).mean(axis=1)) / 2


def _cumulants(x: np.ndarray) -> dict[str, np.ndarray]:
    """Cumulants of frames of unit power (Swami, Sadler, IEEE Trans. Commun. 48(3), 2000)."""
    square, fourth = (x**2).mean(axis=1), (x**4).mean(axis=1)
    power = np.abs(x) ** 2
    absolute, lined = (power**2).mean(axis=1), np.abs(square) ** 2
    crossed = ((power * x**2).mean(axis=1) * square.conj()).real
    return {
        "cumulant |C20|": np.abs(square),
        "cumulant |C40|": np.abs(fourth - 3 * square**2),
        "cumulant C42": absolute - lined - 2,
        "cumulant C63": (power**3).mean(axis=1) - 9 * absolute - 6 * crossed + 18 * lined + 12,
    }


def _timing(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return delay of the symbols (samples), strength of the line of |x|^2, slip of the clock."""
    n = np.arange(x.shape[1])
    turned = np.abs(x) ** 2 * np.exp(-2j * np.pi * n / SPS)
    half = x.shape[1] // 2
    line = turned.mean(axis=1)
    early, late = turned[:, :half].mean(axis=1), turned[:, half:].mean(axis=1)
    slip = -np.angle(late * early.conj()) / 2 / np.pi * SPS / half * 1000
    return (-np.angle(line) / 2 / np.pi * SPS) % SPS, np.abs(line), slip


def _drift(x: np.ndarray, line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the carrier offset (cycles a sample) of frames on a line, and what it leaves."""
    n = np.arange(x.shape[1])
    square = x**2
    square = square * np.exp(-1j * np.angle(square.sum(axis=1, keepdims=True)))
    weight, phase = np.abs(square), np.angle(square) / 2
    weight = np.where(weight > 0.3, weight, 0)  # near zero crossings there is noise alone
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-30)
    time = n - (weight * n).sum(axis=1, keepdims=True) / total
    level = phase - (weight * phase).sum(axis=1, keepdims=True) / total
    moment = np.maximum((weight * time**2).sum(axis=1, keepdims=True), 1e-30)
    slope = (weight * time * level).sum(axis=1, keepdims=True) / moment
    left = np.sqrt((weight * (level - slope * time) ** 2).sum(axis=1) / total[:, 0])
    none = np.where(line, 0.0, np.nan)
    return slope[:, 0] / 2 / np.pi + none, np.rad2deg(left) + none


def _aligned(x: np.ndarray, delay: np.ndarray, order: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return matched-filtered frames cut at their symbols, each with a symbol on either side."""
    length = x.shape[1]
    n, frequency = np.arange(length), np.fft.fftfreq(length)
    still = x * np.exp(-2j * np.pi * np.nan_to_num(offset)[:, None] * n)
    ramp = np.exp(2j * np.pi * delay[:, None] * frequency)
    filtered = np.fft.ifft(np.fft.fft(still, axis=1) * _response(frequency, ROLL_OFF) * ramp)
    middles = np.arange(_EDGE, length // SPS - _EDGE) * SPS
    cut = filtered[:, middles[:, None] + np.arange(-SPS, SPS + 1)]
    symbols = cut[:, :, SPS]
    powers = np.where(order[:, None] == 2, symbols**2, -(symbols**4))
    phase = np.angle(powers.sum(axis=1)) / order
    level = np.abs(symbols).mean(axis=1)
    return cut * (np.exp(-1j * phase) / np.maximum(level, 1e-30))[:, None, None]
