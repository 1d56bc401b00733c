"""The 24 modulations of RadioML 2018.01A, a block of frames at a time, before channel and noise.

The generator of the data set was never published; every number here was found by calibration
against networks trained on the real file (recipe 1, see the package); from recipe to recipe differ
the pulse's roll-off and the bandwidth of the AM-SSB classes' audio. Only NumPy's element-wise
operations and FFTs are used: no BLAS, whose results depend on its threads.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Protocol

import numpy as np

from deploy.board.radioml import CLASSES, FRAME

SPS = 8  # samples a symbol
_MARGIN = 8  # symbols on each side of the frame, so that no pulse is cut off or wraps into it

ROLL_OFF = 0.48
PULSE_POWER = 1.5  # of the raised cosine's amplitude response: a root-raised-cosine, cubed
GMSK_BT, GMSK_INDEX = 0.35, 0.6
AUDIO_BANDWIDTH = 0.0002  # cycles/sample; nearly constant in a frame
FM_BANDWIDTH, FM_DEVIATION = 0.002, 0.0008  # cycles/sample
CARRIER = 1 / 32  # cycles/sample
DSB_DEPTH, SSB_DEPTH = 0.02, 0.3


@dataclass(frozen=True)
class Signal:
    """A block of noiseless frames.

    Attributes:
        samples: complex64 (B, length).
        power: mean |x|^2, DC included; of the class's ensemble (scalar) or per frame (B, 1).
        variance: the same without DC, power - |mean|^2.
    """

    samples: np.ndarray
    power: float | np.ndarray
    variance: float | np.ndarray


def ask(order: int) -> np.ndarray:
    """Unipolar amplitudes 0..order-1; with two of them this is on-off keying."""
    return np.arange(order, dtype=np.complex64)


def psk(order: int) -> np.ndarray:
    """`order` points on the unit circle, the first at phase 0."""
    return np.exp(2j * np.pi * np.arange(order) / order).astype(np.complex64)


def qam(side: int, corner: int = 0) -> np.ndarray:
    """Odd grid of side x side points, without corner x corner points in each corner (a cross)."""
    axis = np.arange(1 - side, side, 2)
    grid = (axis[:, None] + 1j * axis).astype(np.complex64)
    outer = np.abs(axis) > side - 1 - 2 * corner
    return grid[~(outer[:, None] & outer)]


def apsk(*rings: tuple[int, float]) -> np.ndarray:
    """Rings of (points, radius), each starting at phase 0."""
    return np.concatenate([radius * psk(points) for points, radius in rings]).astype(np.complex64)


def linear(
    points: np.ndarray,
    rng: np.random.Generator,
    count: int,
    length: int = FRAME,
    roll_off: float = ROLL_OFF,
) -> Signal:
    """I.i.d. uniform symbols through the pulse, with a fractional delay per frame."""
    samples = _linear_samples(points, rng, count, length, roll_off)
    moments = _linear_moments(points, roll_off)
    return Signal(np.ascontiguousarray(samples[:, window_of(length)]), *moments)


def offset_qpsk(
    rng: np.random.Generator, count: int, length: int = FRAME, roll_off: float = ROLL_OFF
) -> Signal:
    """QPSK on the axes whose Q rail comes half a symbol later."""
    points = psk(4)
    samples = _linear_samples(points, rng, count, length, roll_off)
    window = window_of(length)
    late = slice(window.start - SPS // 2, window.stop - SPS // 2)
    staggered = np.empty((count, length), np.complex64)
    staggered.real = samples.real[:, window]
    staggered.imag = samples.imag[:, late]
    return Signal(staggered, *_linear_moments(points, roll_off))


def gmsk(
    rng: np.random.Generator, count: int, length: int = FRAME, index: float = GMSK_INDEX
) -> Signal:
    """Rectangular +-1 symbols through a Gaussian filter into the phase, `index` half turns each."""
    number = symbols_of(length)
    symbols = 2 * rng.integers(0, 2, (count, number), np.uint8).astype(np.float32) - 1
    pulses = pulse_train(symbols, _gmsk_response(number), random_delays(rng, count))
    frequency = pulses.real[:, window_of(length)]
    phase = np.cumsum(frequency, axis=1, dtype=np.float32)
    phase *= np.float32(np.pi * index / SPS)
    return Signal(on_circle(phase), 1.0, 1.0)


def fm(rng: np.random.Generator, count: int, length: int = FRAME) -> Signal:
    """Audio into the phase of a carrier."""
    audio = noise_like_audio(rng, count, FM_BANDWIDTH, length)
    phase = np.cumsum(audio, axis=1, dtype=np.float32)
    phase *= np.float32(2 * np.pi * FM_DEVIATION)
    phase += _carrier_phase(rng, count, length)
    return Signal(on_circle(phase), 1.0, 1.0)


def am_dsb_wc(rng: np.random.Generator, count: int, length: int = FRAME) -> Signal:
    """A real carrier, audio on its amplitude."""
    envelope = 1 + np.float32(DSB_DEPTH) * noise_like_audio(rng, count, AUDIO_BANDWIDTH, length)
    return _per_frame(envelope * np.cos(_carrier_phase(rng, count, length)))


def am_dsb_sc(rng: np.random.Generator, count: int, length: int = FRAME) -> Signal:
    """Audio times a real carrier."""
    audio = noise_like_audio(rng, count, AUDIO_BANDWIDTH, length)
    return _per_frame(audio * np.cos(_carrier_phase(rng, count, length)))


def am_ssb(
    rng: np.random.Generator, count: int, length: int = FRAME, bandwidth: float = AUDIO_BANDWIDTH
) -> Signal:
    """Audio on a constant; with or without carrier cannot be told apart in the real data either."""
    return _per_frame(1 + np.float32(SSB_DEPTH) * noise_like_audio(rng, count, bandwidth, length))


class Modulator(Protocol):
    """Draws frames of one modulation."""

    def __call__(self, rng: np.random.Generator, count: int, length: int = FRAME) -> Signal:
        """Return `count` frames of `length` samples, a multiple of `SPS`."""


@lru_cache(maxsize=3)
def modulators(roll_off: float, ssb_bandwidth: float = AUDIO_BANDWIDTH) -> dict[str, Modulator]:
    """Return the 24 modulations.

    Args:
        roll_off: of the linear ones' pulse.
        ssb_bandwidth: of the AM-SSB classes' audio, cycles a sample.
    """
    ssb = partial(am_ssb, bandwidth=ssb_bandwidth)

    def draw(points: np.ndarray) -> Modulator:
        return partial(linear, points, roll_off=roll_off)

    return {
        "OOK": draw(ask(2)),
        "4ASK": draw(ask(4)),
        "8ASK": draw(ask(8)),
        "BPSK": draw(psk(2)),
        "QPSK": draw(psk(4)),
        "8PSK": draw(psk(8)),
        "16PSK": draw(psk(16)),
        "32PSK": draw(psk(32)),
        "16APSK": draw(apsk((4, 1), (12, 2.607))),
        "32APSK": draw(apsk((4, 1), (12, 2.84), (16, 5.27))),
        "64APSK": draw(apsk((4, 1), (12, 2.73), (20, 4.52), (28, 6.31))),
        "128APSK": draw(
            apsk((10, 0.33), (18, 0.52), (24, 0.73), (34, 0.98), (42, 1.35))
        ),  # a fit, no standard behind it
        "16QAM": draw(qam(4)),
        "32QAM": draw(qam(6, corner=1)),
        "64QAM": draw(qam(8)),
        "128QAM": draw(qam(12, corner=2)),
        "256QAM": draw(qam(16)),
        "AM-SSB-WC": ssb,
        "AM-SSB-SC": ssb,
        "AM-DSB-WC": am_dsb_wc,
        "AM-DSB-SC": am_dsb_sc,
        "FM": fm,
        "GMSK": gmsk,
        "OQPSK": partial(offset_qpsk, roll_off=roll_off),
    }


MODULATIONS = modulators(ROLL_OFF)
assert tuple(MODULATIONS) == CLASSES


def symbols_of(length: int) -> int:
    """Return how many symbols stand for frames of `length` samples, margins included."""
    return length // SPS + 2 * _MARGIN


def window_of(length: int) -> slice:
    """Return where the frame lies between its margins."""
    return slice(_MARGIN * SPS, _MARGIN * SPS + length)


def _linear_samples(
    points: np.ndarray, rng: np.random.Generator, count: int, length: int, roll_off: float
) -> np.ndarray:
    number = symbols_of(length)
    symbols = points[rng.integers(0, len(points), (count, number), np.uint8)]
    return pulse_train(symbols, _pulse_response(number, roll_off), random_delays(rng, count))


def _linear_moments(points: np.ndarray, roll_off: float = ROLL_OFF) -> tuple[float, float]:
    """Return power and variance of the ensemble, the pulse having unit energy a symbol."""
    mean = complex(points.mean(dtype=complex))
    variance = float((np.abs(points.astype(complex) - mean) ** 2).mean())
    response = _pulse_response(symbols_of(FRAME), roll_off)
    gain = float(response[len(response) // 2].real) / SPS
    return variance + abs(mean * gain) ** 2, variance


def random_delays(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return float32 (count, 1), uniform over a symbol, in samples."""
    return rng.random((count, 1), np.float32) * np.float32(SPS)


def pulse_train(symbols: np.ndarray, response: np.ndarray, delays: np.ndarray) -> np.ndarray:
    """Filter an impulse every `SPS` samples by `response`, delayed by `delays` samples.

    The spectrum of the impulses is that of the symbols, repeated; only the bins of `response`,
    which is centred on DC and short, are ever computed, and the delay is a phase ramp over them.

    Args:
        symbols: complex64 or float32 (B, S).
        response: complex64 (2 K + 1,), bins -K..K of S * SPS.
        delays: float32 (B, 1).

    Returns:
        complex64 (B, S * SPS), circular.
    """
    number = symbols.shape[1]
    half = len(response) // 2
    bins = np.arange(-half, half + 1)
    ramp = delays * (np.float32(-2 * np.pi / (number * SPS)) * bins.astype(np.float32))
    band = np.fft.fft(symbols, axis=1)[:, bins % number]
    band *= response
    band *= on_circle(ramp)
    spectrum = np.zeros((len(symbols), number * SPS), np.complex64)
    spectrum[:, : half + 1] = band[:, half:]
    spectrum[:, -half:] = band[:, :half]
    return np.fft.ifft(spectrum, axis=1, out=spectrum)


@lru_cache(maxsize=4)
def _pulse_response(symbols: int, roll_off: float = ROLL_OFF) -> np.ndarray:
    """RC(f)^1.5 with the energy that gives white symbols of unit variance unit power."""
    length = symbols * SPS
    half = int(length * (1 + roll_off) / 2 / SPS)
    frequency = np.abs(np.arange(-half, half + 1)) / length
    excess = np.clip(SPS * frequency - (1 - roll_off) / 2, 0, roll_off)
    response = (0.5 * (1 + np.cos(np.pi / roll_off * excess))) ** PULSE_POWER
    energy = (response**2).sum() / length / SPS
    return (response / np.sqrt(energy)).astype(np.complex64)


@lru_cache(maxsize=2)
def _gmsk_response(symbols: int) -> np.ndarray:
    """A rectangle of one symbol through the Gaussian filter; beyond K the filter is below 1e-8."""
    length = symbols * SPS
    half = int(length * GMSK_BT / SPS * np.sqrt(2 / np.log(2) * np.log(1e8)))
    frequency = np.arange(-half, half + 1) / length
    rectangle = np.exp(-2j * np.pi * frequency[:, None] * np.arange(SPS)).sum(axis=1)
    gauss = np.exp(-((SPS * frequency / GMSK_BT) ** 2) * np.log(2) / 2)
    return (rectangle * gauss).astype(np.complex64)


def noise_like_audio(
    rng: np.random.Generator, count: int, bandwidth: float, samples: int
) -> np.ndarray:
    """Return float32 (B, samples) of a Gaussian process of unit variance.

    Its amplitude spectrum is exp(-(f / bandwidth)^2 / 2). The period of the FFT is long enough for
    the autocorrelation exp(-(pi bandwidth t)^2) to vanish before the frame could feel the wrap.
    """
    length = 1 << int(np.ceil(np.log2(1.4 / bandwidth + samples)))
    bins = np.arange(int(6 * bandwidth * length) + 1)  # exp(-18) is the last one's share
    amplitude = np.exp(-((bins / (bandwidth * length)) ** 2) / 2)
    # Every bin but DC stands for two; a unit-variance process has sum |amplitude|^2 = 1.
    amplitude /= np.sqrt(amplitude[0] ** 2 + 2 * (amplitude[1:] ** 2).sum())
    white = rng.standard_normal((count, len(bins), 2), np.float32)
    white[:, 1:] *= np.float32(np.sqrt(0.5))
    white[:, 0, 1] = 0
    white *= (amplitude * length).astype(np.float32)[:, None]
    return np.fft.irfft(white.view(np.complex64)[..., 0], length, axis=1)[:, :samples]


def _carrier_phase(rng: np.random.Generator, count: int, length: int) -> np.ndarray:
    start = rng.random((count, 1), np.float32) * np.float32(2 * np.pi)
    # A frame is a whole number of the carrier's periods; without % a long phase would lose digits.
    return start + (2 * np.pi * CARRIER * (np.arange(length) % FRAME)).astype(np.float32)


def on_circle(phase: np.ndarray) -> np.ndarray:
    """exp(j phase) in complex64, by the vectorised float32 functions."""
    out = np.empty(phase.shape, np.complex64)
    np.cos(phase, out=out.real)
    np.sin(phase, out=out.imag)
    return out


def _per_frame(envelope: np.ndarray) -> Signal:
    """Return a real signal whose power and variance are each frame's own."""
    mean = envelope.mean(axis=1, keepdims=True, dtype=np.float32)
    centred = envelope - mean  # before squaring: the SSB classes are nearly all DC
    variance = np.square(centred).mean(axis=1, keepdims=True, dtype=np.float32)
    return Signal(envelope.astype(np.complex64), variance + mean**2, variance)
