"""Frames that a build is verified and simulated with, and samples that go into its package."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.errors import BadInput
from models.files import existing_file

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


@dataclass(frozen=True)
class Stimuli:
    """Float32 frames (N, 2, 1024), their true classes (N,), and where they come from."""

    x: np.ndarray
    classes: np.ndarray
    label: str


def choose_frames(wanted: str, data: str | Path | None = None) -> Stimuli:
    """Return frames over all SNRs.

    Args:
        wanted: how many; without `data` also a file to take up to 2000 from.
        data: file in RadioML's layout to take them from, evenly spread; without it they are
            synthesised.

    Raises:
        BadInput: the number or the file is unusable.
    """
    if data is None and not wanted.isdigit():
        return _frames_of(wanted, 2000)
    if not wanted.isdigit() or not 1 <= int(wanted) <= 100_000:
        raise BadInput(f"simulate between 1 and 100000 frames, not {wanted}")
    return _synthesised(int(wanted)) if data is None else _frames_of(data, int(wanted))


def _synthesised(count: int) -> Stimuli:
    from deploy.board.radioml import CLASSES, SNRS
    from training.synthesis import RECIPE_VERSION

    if count <= 104:
        step = np.linspace(0, 103, count).round().astype(int)
        cells, x = synthetic_cells(), synthetic_frames()[step]
        cells = [cells[index] for index in step]
    else:
        cells = [(i % len(CLASSES), SNRS[i % len(SNRS)]) for i in range(count)]
        x = drawn_frames(cells, seed=count)
    classes = np.array([modulation for modulation, _ in cells])
    return Stimuli(np.ascontiguousarray(x), classes, f"synthetic (recipe {RECIPE_VERSION})")


def _frames_of(file: str | Path, most: int) -> Stimuli:
    """Return all frames of a file, or `most` evenly spread ones."""
    from deploy.board.radioml import data_label, open_file, read_index, read_rows

    path = existing_file(file, "data file")
    index = read_index(path)
    total = len(index.snrs)
    rows = np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(int))
    with open_file(path) as opened:
        parts = [frames for _, frames in read_rows(opened["X"], rows)]
    x = np.ascontiguousarray(np.concatenate(parts).transpose(0, 2, 1))
    return Stimuli(x, index.labels[rows], data_label(path))
