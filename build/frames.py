"""Frames that a build is verified with, and samples that go into its package."""

from pathlib import Path

import numpy as np

PER_SNR = 4
SEED = 2018


def synthetic_frames() -> np.ndarray:
    """Return float32 (104, 2, 1024): synthetic frames, four an SNR, their classes in turn."""
    return drawn_frames(synthetic_cells(), SEED)


def synthetic_cells() -> list[tuple[int, int]]:
    """Return the class and the SNR (dB) of each of `synthetic_frames`."""
    from deploy.board.radioml import CLASSES, SNRS

    return [
        ((PER_SNR * index + turn) % len(CLASSES), snr)
        for index, snr in enumerate(SNRS)
        for turn in range(PER_SNR)
    ]


def drawn_frames(cells: list[tuple[int, int]], seed: int) -> np.ndarray:
    """Return float32 (N, 2, 1024): a synthetic frame of each class and SNR (dB)."""
    from training.synthesis import synthesise

    rng = np.random.default_rng(seed)
    drawn = [synthesise(modulation, snr, 1, rng) for modulation, snr in cells]
    return np.ascontiguousarray(np.concatenate(drawn).transpose(0, 2, 1))


def verification_frames(path: str | Path) -> np.ndarray:
    """Return float32 (N, 2, 1024): up to four frames an SNR of a file in RadioML's layout.

    Raises:
        BadInput: the file is unusable.
    """
    from deploy.board.radioml import open_file, read_index, read_rows

    index = read_index(path)
    rng = np.random.default_rng(SEED)
    rows = []
    for snr in np.unique(index.snrs):
        there = np.flatnonzero(index.snrs == snr)
        rows.append(rng.choice(there, min(PER_SNR, len(there)), replace=False))
    with open_file(path) as file:
        parts = [frames for _, frames in read_rows(file["X"], np.sort(np.concatenate(rows)))]
    return np.ascontiguousarray(np.concatenate(parts).transpose(0, 2, 1))


def sample_frames() -> tuple[dict[str, np.ndarray], str]:
    """Return a synthetic frame of every class at every SNR, and what to call them.

    The arrays are those of RadioML's file: X (624, 1024, 2), Y (624, 24), Z (624, 1).
    """
    from deploy.board.radioml import CLASSES, SNRS
    from training.synthesis import RECIPE_VERSION, synthesise

    rng = np.random.default_rng(SEED + 1)
    cells = [(modulation, snr) for modulation in range(len(CLASSES)) for snr in SNRS]
    samples = {
        "X": np.concatenate([synthesise(modulation, snr, 1, rng) for modulation, snr in cells]),
        "Y": np.eye(len(CLASSES), dtype=np.int64)[[modulation for modulation, _ in cells]],
        "Z": np.array([[snr] for _, snr in cells], np.int64),
    }
    return samples, f"synthetic (recipe {RECIPE_VERSION}, seed {SEED + 1})"
