"""From a modulation and an SNR to frames as RadioML stores them."""

import numpy as np

from deploy.board.radioml import CLASSES, FRAME, class_index
from training.synthesis.modulations import MODULATIONS

RECIPE_VERSION = 1
"""Goes up whenever the same seed gives other samples."""

BLOCK = 64
"""Frames that share a random stream: small enough that all arrays of a block stay in the cache."""


def synthesise(
    modulation: str | int, snr: float | np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw frames of one modulation.

    Args:
        modulation: class name or index into `radioml.CLASSES`.
        snr: nominal SNR in dB, one for all or one a frame (count,).
        count: frames to draw.
        rng: source of everything random.

    Returns:
        float32 (count, 1024, 2), I and Q.

    Raises:
        BadInput: there is no such modulation.
    """
    signal = MODULATIONS[CLASSES[class_index(modulation)]](rng, count)
    snr = np.asarray(snr, np.float64).reshape(-1, 1)
    # Twice the label, and 1.5 dB: what networks trained on the real data make of the labels.
    noise = signal.power * 10 ** (-(2 * snr + 1.5) / 10)
    scale = 1 / np.sqrt(signal.variance + noise)
    rotation = np.exp(2j * np.pi * rng.random((count, 1)))
    samples = signal.samples
    samples *= (rotation * scale).astype(np.complex64)
    frames = rng.standard_normal((count, FRAME, 2), np.float32)
    white = frames.view(np.complex64)[..., 0]
    white *= (scale * np.sqrt(noise / 2)).astype(np.float32)
    white += samples
    return frames


def block(seed: int, modulation: int, snr: int, index: int) -> np.ndarray:
    """Draw the `index`-th `BLOCK` frames of a cell: the same ones, whoever asks and in what order.

    Args:
        seed: of the whole data set.
        modulation: index into `radioml.CLASSES`.
        snr: nominal SNR in dB.
        index: which block of the cell.

    Returns:
        float32 (BLOCK, 1024, 2).
    """
    # SeedSequence takes no negative numbers; 1000 keeps any SNR apart from the others.
    entropy = np.random.SeedSequence((RECIPE_VERSION, seed, modulation, 1000 + snr, index))
    return synthesise(modulation, snr, BLOCK, np.random.Generator(np.random.SFC64(entropy)))
