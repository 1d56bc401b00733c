"""Frames like those of RadioML 2016.10a: 11 modulations, 2 x 128 samples, -20..18 dB.

Its generator is public: T. O'Shea, N. West, "Radio Machine Learning Dataset Generation with GNU
Radio", GNU Radio Conference 2016, and the scripts beside it (github.com/radioML/dataset). What
follows is written from their parameters, each beside its source: [T] is transmitters.py, [S]
source_alphabet.py, [G] generate_RML2016.10a.py, [C] the dynamic channel model of GNU Radio's
`gr-channels`. What we do otherwise:

- The text of [S] becomes independent symbols, as the paper wants them (it whitens the text); the
  radio play of [S], which is not ours to use, becomes Gaussian noise of about speech's bandwidth,
  with pauses. How far WBFM and AM-DSB can be told apart is a matter of that.
- Every frame has a channel of its own. [G] takes several frames of one, with the same seed always.

AM-SSB is noise and nothing else, as by [T]: audio times the sine of 0 Hz, which is 0.
"""

import numpy as np

from training.synthesis.modulations import (
    SPS,
    gmsk,
    noise_like_audio,
    on_circle,
    psk,
    pulse_train,
    qam,
    random_delays,
    symbols_of,
    window_of,
)

RECIPE, LABEL = "2016.10a", "2016.10a-1"
"""The recipe's name, and how it is labelled: the 1 goes up when the samples change."""

CLASSES = (
    *("8PSK", "AM-DSB", "AM-SSB", "BPSK", "CPFSK", "GFSK"),
    *("PAM4", "QAM16", "QAM64", "QPSK", "WBFM"),
)
"""By the alphabet, as everybody orders the keys of the published file."""

SNRS = tuple(range(-20, 20, 2))
"""dB, `snr_vals` of [G]."""

FRAME = 128
"""Samples, `vec_length` of [G]."""

FRAMES_PER_CELL = 1000
"""Of each (class, SNR): `nvecs_per_key` of [G]."""

ROLL_OFF = 0.35  # `ebw` of [T], of a root-raised-cosine at `sps` 8; also GFSK's bt
GFSK_INDEX = 0.1 * SPS / np.pi  # [T]: gfsk_mod(sensitivity=0.1 rad a sample)
CPFSK_INDEX = 0.5  # [T]: cpfsk_bc(0.5, 1.0, sps)
RATE = 200e3  # samples a second, first argument of [G]'s channel model
DEVIATION = 75e3 / 220.5e3  # [T]: wfm_tx's deviation over its quad_rate, cycles a sample
AUDIO_BANDWIDTH = 500 / RATE  # ours: speech is strongest below 500 Hz
AUDIO_LEVEL, AUDIO_SPREAD = 0.06, 1.0  # ours: median of the audio's rms, log-normal from frame to
AUDIO_PAUSES = 0.2  # frame, and the share of frames in a pause
CLOCK_STEP, CLOCK_MOST = 0.01, 50.0  # Hz a sample, Hz: [G], a random walk of the sample rate [C]
CARRIER_STEP, CARRIER_MOST = 0.01, 500.0  # Hz a sample, Hz: [G], the same of the carrier [C]
LONGEST = 80_000  # samples after which a walk is looked at, at most: tx_len of [G] at BPSK's rate
SINUSOIDS, RICE = 8, 4.0  # [G]: of a path's fading; the first path's line of sight over the rest
PATHS = ((0.0, 1.0), (0.9, 0.8), (1.7, 0.3))  # delay in samples and magnitude, [G]
TAPS = 8  # `ntaps` of [G]


def block_2016(seed: int, modulation: int, snr: int, index: int, count: int) -> np.ndarray:
    """Draw the `index`-th block of a cell: the same frames, whoever asks and in what order.

    Args:
        seed: of the whole data set.
        modulation: index into `CLASSES`.
        snr: nominal SNR in dB.
        index: which block of the cell.
        count: frames of a block.

    Returns:
        float32 (count, 128, 2).
    """
    entropy = np.random.SeedSequence((2016, seed, modulation, 1000 + snr, index))
    return synthesise_2016(modulation, snr, count, np.random.Generator(np.random.SFC64(entropy)))


def synthesise_2016(
    modulation: int, snr: float, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw frames of one modulation.

    [G] divides each frame by the sum of its magnitudes. These are 128 times as large: their mean
    magnitude is 1, which is what the networks' inputs are made for.

    Args:
        modulation: index into `CLASSES`.
        snr: nominal SNR in dB.
        count: frames to draw.
        rng: source of everything random.

    Returns:
        float32 (count, 128, 2), I and Q.
    """
    sent = _sent(CLASSES[modulation], rng, count)
    x = _faded(_drifted(sent, rng), rng)
    # [G] gives the noise an amplitude of 10^(-SNR / 10): its dB count twice, as those of 2018.01A.
    noise = rng.standard_normal((count, FRAME, 2), np.float32).view(np.complex64)[..., 0]
    x = x + noise * np.float32(10 ** (-snr / 10) / np.sqrt(2))
    x /= np.abs(x).mean(axis=1, keepdims=True)
    return np.ascontiguousarray(x.astype(np.complex64)).view(np.float32).reshape(count, FRAME, 2)


def _sent(name: str, rng: np.random.Generator, count: int) -> np.ndarray:
    """Return complex (count, FRAME + 2 TAPS) as transmitted, of about unit power."""
    length = FRAME + 2 * TAPS
    points = {
        "8PSK": psk(8),
        "BPSK": psk(2),
        "QPSK": psk(4),
        "PAM4": np.array([-3, -1, 1, 3], np.complex64),
        "QAM16": qam(4),
        "QAM64": qam(8),
    }
    if name in points:
        return _linear(points[name], rng, count, length)
    if name == "GFSK":
        return gmsk(rng, count, length, GFSK_INDEX).samples
    if name == "CPFSK":
        return _cpfsk(rng, count, length)
    if name == "AM-SSB":
        return np.zeros((count, length), np.complex64)
    level = AUDIO_LEVEL * np.exp(AUDIO_SPREAD * rng.standard_normal((count, 1)))
    level[rng.random((count, 1)) < AUDIO_PAUSES] = 0
    # 16-bit audio over 65535 [S] reaches half of what would be full scale.
    audio = np.clip(level * noise_like_audio(rng, count, AUDIO_BANDWIDTH, length), -0.5, 0.5)
    if name == "AM-DSB":
        return (1 + audio).astype(np.complex64)  # [T]: add_const 1, times a carrier of 0 Hz
    phase = 2 * np.pi * (DEVIATION * np.cumsum(audio, axis=1) + rng.random((count, 1)))
    return on_circle(phase.astype(np.float32))


def _linear(points: np.ndarray, rng: np.random.Generator, count: int, length: int) -> np.ndarray:
    points = points / np.sqrt((np.abs(points) ** 2).mean())
    number = symbols_of(length)
    symbols = points[rng.integers(0, len(points), (count, number), np.uint8)].astype(np.complex64)
    return pulse_train(symbols, _root_raised_cosine(number), random_delays(rng, count))[
        :, window_of(length)
    ]


def _root_raised_cosine(symbols: int) -> np.ndarray:
    """Return its bins -K..K of `symbols` * SPS, unit power for white symbols of unit variance."""
    length = symbols * SPS
    half = int(length * (1 + ROLL_OFF) / 2 / SPS)
    frequency = np.abs(np.arange(-half, half + 1)) / length
    excess = np.clip(SPS * frequency - (1 - ROLL_OFF) / 2, 0, ROLL_OFF)
    response = np.sqrt(0.5 * (1 + np.cos(np.pi / ROLL_OFF * excess)))
    energy = (response**2).sum() / length / SPS
    return (response / np.sqrt(energy)).astype(np.complex64)


def _cpfsk(rng: np.random.Generator, count: int, length: int) -> np.ndarray:
    """Binary, rectangular in frequency, cut at any sample of a symbol."""
    symbols = 2 * rng.integers(0, 2, (count, length // SPS + 2)) - 1
    begin = rng.integers(0, SPS, (count, 1))
    frequency = np.repeat(symbols, SPS, axis=1)
    frequency = np.take_along_axis(frequency, begin + np.arange(length), axis=1)
    phase = np.pi * (CPFSK_INDEX / SPS * np.cumsum(frequency, axis=1) + 2 * rng.random((count, 1)))
    return on_circle(phase.astype(np.float32))


def _drifted(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Let sample rate and carrier be off by what their random walks have come to."""
    count, length = x.shape
    spread = np.sqrt(LONGEST * rng.random((count, 1)))
    clock, carrier = (
        np.clip(step * spread * rng.standard_normal((count, 1)), -most, most) / RATE
        for step, most in ((CLOCK_STEP, CLOCK_MOST), (CARRIER_STEP, CARRIER_MOST))
    )
    # Off by some thousandths of a sample at the frame's ends: the first order is exact enough.
    late = clock * (np.arange(length) - length / 2)
    x = x + late * np.gradient(x, axis=1)
    return x * np.exp(2j * np.pi * carrier * np.arange(length))


def _faded(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Send (count, FRAME + 2 TAPS) over three Rician and Rayleigh paths [C]; (count, FRAME) arrive.

    A Doppler of 1 Hz [G] does not move a path within a frame of 0.64 ms.
    """
    count = len(x)
    taps = np.zeros((count, TAPS), complex)
    for number, (delay, magnitude) in enumerate(PATHS):
        psi, phi = 2 * np.pi * rng.random((2, count, SINUSOIDS))
        gain = (np.cos(psi) + 1j * np.sin(phi)).sum(axis=1) / np.sqrt(SINUSOIDS)
        if number == 0:
            sight = np.exp(2j * np.pi * rng.random(count))
            gain = (gain + np.sqrt(RICE) * sight) / np.sqrt(RICE + 1)
        taps += magnitude * gain[:, None] * np.sinc(np.arange(TAPS) - delay)
    arrived = [taps[:, k, None] * x[:, TAPS - k : TAPS - k + FRAME] for k in range(TAPS)]
    return np.sum(arrived, axis=0)
