"""Small files in RadioML's layout for tests."""

from pathlib import Path

import h5py
import numpy as np

from deploy.board.radioml import CLASSES, FRAME, SNRS


def write(path: Path, labels, snrs, frames=None, **attributes) -> Path:
    """Write a file of given classes and SNRs; frame i holds i / 1000 unless `frames` are given."""
    count = len(labels)
    if frames is None:
        frames = np.empty((count, FRAME, 2), np.float32)
        frames[:] = np.arange(count)[:, None, None] / 1000
    with h5py.File(path, "w") as file:
        file["X"] = frames
        file["Y"] = np.eye(len(CLASSES), dtype=np.int64)[labels]
        file["Z"] = np.asarray(snrs, np.int64)[:, None]
        file.attrs.update(attributes)
    return path


def grid(per_cell: int, snrs=SNRS) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and SNRs ordered as in DeepSig's file."""
    labels = np.repeat(np.arange(len(CLASSES)), len(snrs) * per_cell)
    return labels, np.tile(np.repeat(snrs, per_cell), len(CLASSES))
