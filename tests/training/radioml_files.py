"""Small files in RadioML's layout for tests."""

from pathlib import Path

import h5py
import numpy as np

from deploy.board.radioml import CLASSES, FRAME, SNRS


def write(path: Path, labels, snrs, frames=None, classes: int = len(CLASSES), **attributes) -> Path:
    """Write a file of given classes and SNRs; frame i holds i / 1000 unless `frames` are given."""
    count = len(labels)
    if frames is None:
        frames = np.empty((count, FRAME, 2), np.float32)
        frames[:] = np.arange(count)[:, None, None] / 1000
    with h5py.File(path, "w") as file:
        file["X"] = frames
        file["Y"] = np.eye(classes, dtype=np.int64)[labels]
        file["Z"] = np.asarray(snrs, np.int64)[:, None]
        file.attrs.update(attributes)
    return path


def grid(per_cell: int, snrs=SNRS) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and SNRs ordered as in DeepSig's file."""
    labels = np.repeat(np.arange(len(CLASSES)), len(snrs) * per_cell)
    return labels, np.tile(np.repeat(snrs, per_cell), len(CLASSES))


def tones(path: Path, per_cell: int = 2, classes: int = 11, seed: int = 0) -> Path:
    """Write frames of 2 x 128 as RadioML 2016.10a has them: faint tones, a pitch for each class."""
    rng, snrs = np.random.default_rng(seed), range(-20, 20, 2)
    labels = np.repeat(np.arange(classes), len(snrs) * per_cell)
    turn = (0.1 + 0.25 * labels)[:, None] * np.arange(128) + rng.uniform(0, 6, (len(labels), 1))
    frames = 0.02 * np.stack([np.cos(turn), np.sin(turn)], 2)
    frames += rng.normal(0, 0.003, frames.shape)
    cells = np.tile(np.repeat(snrs, per_cell), classes)
    return write(path, labels, cells, frames.astype(np.float32), classes)
