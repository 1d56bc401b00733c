"""Frames that a build is verified and simulated with, and samples that go into its package.

For RadioML 2018.01A's task they are synthesised. What other frames look like, nobody told us: they
are drawn at random, and their classes are unknown.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.config import FRAME_CHANNELS, FRAME_LENGTH, NUM_CLASSES
from models.errors import BadInput
from models.files import existing_file

PER_SNR = 4
SEED = 2018
VERIFIED = 104  # frames a step: four an SNR
SAMPLES = 624  # in a package: one a class and SNR


@dataclass(frozen=True)
class Task:
    """What a network classifies: frames of C channels and L samples, and into how many classes.

    Attributes:
        low, high: the range of its input's quantizer.
        names: of the classes, if they are known and not RadioML 2018.01A's.
    """

    channels: int
    length: int
    classes: int
    low: float
    high: float
    names: tuple[str, ...] = ()

    @property
    def radioml(self) -> bool:
        """Whether its frames and classes are those of RadioML 2018.01A."""
        return (self.channels, self.length, self.classes) == (
            FRAME_CHANNELS,
            FRAME_LENGTH,
            NUM_CLASSES,
        )

    @property
    def class_names(self) -> list[str]:
        """The names of its classes, in the order of the indices."""
        from deploy.board.radioml import Layout

        return list(Layout(self.length, self.channels, self.classes, self.names).class_names)


def frames_to_verify(given: np.ndarray | str | Path | None, task: Task) -> np.ndarray:
    """Return float32 (N, C, L) to verify a build with: an array, those of a file, or our own.

    Raises:
        BadInput: the array or the file holds other frames than the task's.
    """
    if given is None:
        return usual_frames(task)
    if isinstance(given, str | Path):
        return verification_frames(given, task)
    shape = np.shape(given)
    if len(shape) != 3 or shape[1:] != (task.channels, task.length) or not shape[0]:
        wanted = f"(N, {task.channels}, {task.length})"
        raise BadInput(f"frames must have shape {wanted}, not {tuple(shape)}")
    return given


def usual_frames(task: Task) -> np.ndarray:
    """Return float32 (104, C, L): synthetic frames, or random ones for a task that we do not know.

    They are the same every time.
    """
    return synthetic_frames() if task.radioml else random_frames(task, VERIFIED, SEED)


def random_frames(task: Task, count: int, seed: int) -> np.ndarray:
    """Return float32 (count, C, L) that reach over the whole range of the input's quantizer.

    Every fourth is noise over the range; the others are tones of any pitch and loudness in some
    noise, which differ after many layers too.
    """
    rng = np.random.default_rng(seed)
    shape = (count, task.channels, task.length)
    noise = rng.uniform(-1, 1, shape)
    pitch, phase = rng.uniform(0, np.pi, (2, count, task.channels, 1))
    loud, share = rng.uniform(0.05, 1, (2, count, 1, 1))
    tones = loud * ((1 - share) * np.sin(pitch * np.arange(task.length) + phase) + share * noise)
    tones[::4] = noise[::4]
    middle, reach = (task.high + task.low) / 2, (task.high - task.low) / 2
    return (middle + reach * tones).astype(np.float32)


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


def verification_frames(path: str | Path, task: Task) -> np.ndarray:
    """Return float32 (N, C, L): up to four frames an SNR of a file in RadioML's layout.

    Raises:
        BadInput: the file is unusable.
    """
    from deploy.board.radioml import open_file, read_index, read_rows

    frame = (task.length, task.channels)
    index = read_index(path, task.classes, frame)
    rng = np.random.default_rng(SEED)
    rows = []
    for snr in np.unique(index.snrs):
        there = np.flatnonzero(index.snrs == snr)
        rows.append(rng.choice(there, min(PER_SNR, len(there)), replace=False))
    with open_file(path, task.classes, frame) as file:
        parts = [frames for _, frames in read_rows(file["X"], np.sort(np.concatenate(rows)))]
    return np.ascontiguousarray(np.concatenate(parts).transpose(0, 2, 1))


def sample_frames(task: Task) -> tuple[dict[str, np.ndarray], str]:
    """Return a synthetic frame of every class at every SNR, and what to call them.

    The arrays are those of RadioML's file: X (624, 1024, 2), Y (624, 24), Z (624, 1). Of a task
    that we do not know there is X (624, L, C) alone, drawn at random.
    """
    if not task.radioml:
        x = random_frames(task, SAMPLES, SEED + 1).transpose(0, 2, 1)
        return {"X": np.ascontiguousarray(x)}, random_label(SEED + 1)
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


def random_label(seed: int) -> str:
    """Return what to call `random_frames`."""
    return f"random (seed {seed}), classes unknown"


@dataclass(frozen=True)
class Stimuli:
    """Float32 frames (N, C, L), their true classes (N,) if known, and where they come from."""

    x: np.ndarray
    classes: np.ndarray | None
    label: str


def choose_frames(wanted: str, data: str | Path | None, task: Task) -> Stimuli:
    """Return frames over all SNRs.

    Args:
        wanted: how many; without `data` also a file to take up to 2000 from.
        data: file in RadioML's layout to take them from, evenly spread; without it they are
            synthesised, or random.
        task: of the network.

    Raises:
        BadInput: the number or the file is unusable.
    """
    if data is None and not wanted.isdigit():
        return _frames_of(wanted, 2000, task)
    if not wanted.isdigit() or not 1 <= int(wanted) <= 100_000:
        raise BadInput(f"simulate between 1 and 100000 frames, not {wanted}")
    if data is not None:
        return _frames_of(data, int(wanted), task)
    if task.radioml:
        return _synthesised(int(wanted))
    return Stimuli(random_frames(task, int(wanted), SEED), None, random_label(SEED))


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


def _frames_of(file: str | Path, most: int, task: Task) -> Stimuli:
    """Return all frames of a file, or `most` evenly spread ones."""
    from deploy.board.radioml import open_file, read_index, read_rows

    path = existing_file(file, "data file")
    frame = (task.length, task.channels)
    index = read_index(path, task.classes, frame)
    total = len(index.snrs)
    rows = np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(int))
    with open_file(path, task.classes, frame) as opened:
        parts = [frames for _, frames in read_rows(opened["X"], rows)]
    x = np.ascontiguousarray(np.concatenate(parts).transpose(0, 2, 1))
    return Stimuli(x, index.labels[rows], index.label)
