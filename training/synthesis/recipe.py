"""From a modulation and an SNR to frames as RadioML stores them."""

from dataclasses import dataclass

import numpy as np

from deploy.board.radioml import CLASSES, FRAME, class_index
from models.errors import BadInput
from training.synthesis.modulations import AUDIO_BANDWIDTH, ROLL_OFF, modulators


@dataclass(frozen=True)
class Recipe:
    """What differs from recipe to recipe.

    Attributes:
        version: its number, in the label of all that is made by it. The same number and seed
            always give the same samples.
        roll_off: of the linear modulations' pulse.
        offset: standard deviation of a frame's carrier offset, cycles a sample.
        ssb_bandwidth: of the AM-SSB classes' audio, cycles a sample.
    """

    version: int
    roll_off: float
    offset: float
    ssb_bandwidth: float = AUDIO_BANDWIDTH


RECIPES = {
    # Calibrated on networks trained on the real file.
    1: Recipe(1, roll_off=ROLL_OFF, offset=0.0),
    # Measured on real BPSK and QPSK frames at 30 dB (docs/data.md, "Recipe 2").
    2: Recipe(2, roll_off=0.41, offset=3.3e-5),
    # As many samples of AM-SSB beyond +-2 at 30 dB as was published of the real file.
    3: Recipe(3, roll_off=0.41, offset=3.3e-5, ssb_bandwidth=0.00036),
}

RECIPE_VERSION = 1
"""The recipe where none is asked for."""


def recipe_of(version: int) -> Recipe:
    """Return a recipe by its number.

    Raises:
        BadInput: there is none of that number.
    """
    if version not in RECIPES:
        raise BadInput(f"there is no recipe {version}; known: {', '.join(map(str, RECIPES))}")
    return RECIPES[version]


BLOCK = 64
"""Frames that share a random stream: small enough that all arrays of a block stay in the cache."""


def synthesise(
    modulation: str | int,
    snr: float | np.ndarray,
    count: int,
    rng: np.random.Generator,
    version: int = RECIPE_VERSION,
) -> np.ndarray:
    """Draw frames of one modulation.

    Args:
        modulation: class name or index into `radioml.CLASSES`.
        snr: nominal SNR in dB, one for all or one a frame (count,).
        count: frames to draw.
        rng: source of everything random.
        version: number of the recipe.

    Returns:
        float32 (count, 1024, 2), I and Q.

    Raises:
        BadInput: there is no such modulation or recipe.
    """
    recipe = recipe_of(version)
    drawn_by = modulators(recipe.roll_off, recipe.ssb_bandwidth)
    signal = drawn_by[CLASSES[class_index(modulation)]](rng, count)
    snr = np.asarray(snr, np.float64).reshape(-1, 1)
    # Twice the label, and 1.5 dB: what networks trained on the real data make of the labels.
    noise = signal.power * 10 ** (-(2 * snr + 1.5) / 10)
    scale = 1 / np.sqrt(signal.variance + noise)
    rotation = np.exp(2j * np.pi * rng.random((count, 1)))
    samples = signal.samples
    samples *= (rotation * scale).astype(np.complex64)
    if recipe.offset:  # recipe 1 draws nothing here: its samples stay what they were
        turns = recipe.offset * rng.standard_normal((count, 1)) * np.arange(FRAME)
        samples *= np.exp(2j * np.pi * turns).astype(np.complex64)
    frames = rng.standard_normal((count, FRAME, 2), np.float32)
    white = frames.view(np.complex64)[..., 0]
    white *= (scale * np.sqrt(noise / 2)).astype(np.float32)
    white += samples
    return frames


def block(
    seed: int, modulation: int, snr: int, index: int, version: int = RECIPE_VERSION
) -> np.ndarray:
    """Draw the `index`-th `BLOCK` frames of a cell: the same ones, whoever asks and in what order.

    Args:
        seed: of the whole data set.
        modulation: index into `radioml.CLASSES`.
        snr: nominal SNR in dB.
        index: which block of the cell.
        version: number of the recipe.

    Returns:
        float32 (BLOCK, 1024, 2).
    """
    # SeedSequence takes no negative numbers; 1000 keeps any SNR apart from the others.
    entropy = np.random.SeedSequence((version, seed, modulation, 1000 + snr, index))
    rng = np.random.Generator(np.random.SFC64(entropy))
    return synthesise(modulation, snr, BLOCK, rng, version)
