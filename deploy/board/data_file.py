"""Frames from files in RadioML 2018.01A's layout, as the board reads them: numpy and h5py only.

The board has no `training/`; `official_split` draws the same rows as `training.split`, and a test
holds the two together. A file may carry `predicted` (N,), the class that the network gives each
frame: the samples of a package do, and what `aaronnet board expect` writes. All of such a file's
frames are for testing.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from deploy.board.errors import BadInput

FRAME = 1024
SNRS = tuple(range(-20, 31, 2))
SEED, TEST_SHARE = 2018, 0.1
_ROWS = 1 << 17


@dataclass(frozen=True)
class Frames:
    """A file's frames, without the samples.

    Attributes:
        path: the file.
        labels: int64 (N,) classes.
        snrs: int64 (N,) in dB.
        predicted: int64 (N,) classes by the network, or None.
        label: where the frames come from, to be shown with every result.
    """

    path: Path
    labels: np.ndarray = field(repr=False)
    snrs: np.ndarray = field(repr=False)
    predicted: np.ndarray | None = field(repr=False)
    label: str

    def read(self, rows: np.ndarray, block: int = 1024) -> Iterator[np.ndarray]:
        """Yield float32 (up to `block`, 1024, 2) of ascending rows.

        Raises:
            BadInput: the file is damaged, or a sample is no number.
        """
        with _opened(self.path) as file:
            data = file["X"]
            for start in range(0, len(rows), block):
                part = rows[start : start + block]
                # HDF5 reads a range much faster than a list of rows.
                whole = part[-1] - part[0] + 1 == len(part)
                chosen = slice(int(part[0]), int(part[-1]) + 1) if whole else part
                try:
                    frames = np.asarray(data[chosen], np.float32)
                except OSError as error:
                    raise _unreadable(self.path, error) from error
                if not np.isfinite(frames).all():
                    bad = part[~np.isfinite(frames).all(axis=(1, 2))]
                    raise BadInput(
                        f"{self.path}: frame {bad[0]} holds NaN or infinity; the file is damaged"
                    )
                yield frames


def open_frames(path: str | Path, classes: int) -> Frames:
    """Read what a file holds.

    Args:
        path: HDF5 with X (N, 1024, 2), Y (N, classes) one-hot, Z (N, 1) SNR in dB.
        classes: how many the network has.

    Raises:
        BadInput: it is missing, truncated or of another layout.
    """
    path = Path(path)
    with _opened(path) as file:
        missing = [key for key in "XYZ" if not isinstance(file.get(key), h5py.Dataset)]
        if missing:
            raise BadInput(
                f"{path} has no data set {', '.join(missing)}; expected RadioML 2018.01A's "
                f"layout: X (N, {FRAME}, 2), Y (N, {classes}), Z (N, 1)"
            )
        x, y, z = (file[key] for key in "XYZ")
        count = len(x)
        if not count or x.shape != (count, FRAME, 2) or y.shape != (count, classes):
            raise BadInput(f"{path}: X {x.shape} and Y {y.shape} are not (N, {FRAME}, 2) and "
                           f"(N, {classes})")  # fmt: skip
        if z.shape not in ((count, 1), (count,)):
            raise BadInput(f"{path}: Z has shape {z.shape}, expected {(count, 1)}")
        labels, snrs = np.empty(count, np.int64), np.empty(count, np.int64)
        try:
            for start in range(0, count, _ROWS):
                rows = slice(start, min(start + _ROWS, count))
                part = np.asarray(y[rows])
                labels[rows], snrs[rows] = part.argmax(axis=1), np.asarray(z[rows]).reshape(-1)
                one_hot = ((part != 0).sum(axis=1) == 1) & (part.max(axis=1) == 1)
                if not one_hot.all():
                    raise BadInput(f"{path}: row {start + one_hot.argmin()} of Y is not one-hot")
            predicted = None if "predicted" not in file else file["predicted"][:].astype(np.int64)
        except OSError as error:
            raise _unreadable(path, error) from error
        if not np.isin(snrs, SNRS).all():
            raise BadInput(f"{path}: Z holds SNRs other than -20..30 dB in steps of 2")
        if predicted is not None and (predicted.shape != (count,) or predicted.min() < 0):
            raise BadInput(f"{path}: predicted has shape {predicted.shape}, expected {(count,)}")
        return Frames(path, labels, snrs, predicted, _label(file))


def rows_to_test(frames: Frames, classes: int, count: int | None = None) -> np.ndarray:
    """Return ascending rows to test on: the official test split, or all of a validation file.

    Args:
        frames: of a file.
        classes: how many the network has.
        count: take about that many, evenly over classes and SNRs; None takes all.
    """
    cells = frames.labels * len(SNRS) + (frames.snrs - SNRS[0]) // 2
    if frames.predicted is None:
        rows = official_split(cells, classes * len(SNRS))
    else:
        rows = np.arange(len(cells))
    if count is None or count >= len(rows):
        return rows
    if count < 1:
        raise BadInput(f"{count} frames are none to test on")
    # The i-th frame of every cell before the (i+1)-th of any: even at every count. Cells within a
    # turn are mixed, so that a few frames are not all of one class.
    order = rows[np.argsort(cells[rows], kind="stable")]
    sorted_cells = cells[order]
    first = np.searchsorted(sorted_cells, sorted_cells)
    turn = np.arange(len(order)) - first
    mixed = np.random.RandomState(SEED).permutation(classes * len(SNRS))[sorted_cells]
    return np.sort(order[np.lexsort((mixed, turn))[:count]])


def official_split(cells: np.ndarray, count: int) -> np.ndarray:
    """Return the ascending test rows of the ITU challenge's notebook.

    `np.random.seed(2018)`; the rows of every (class, SNR) cell are shuffled in turn, the first
    ceil(10 %) are for testing.
    """
    order = np.argsort(cells, kind="stable")
    sizes = np.bincount(cells, minlength=count)
    random = np.random.RandomState(SEED)
    test = []
    for rows in np.split(order, np.cumsum(sizes)[:-1]):
        rows = rows.copy()
        random.shuffle(rows)
        test.append(rows[: math.ceil(TEST_SHARE * len(rows))])
    return np.sort(np.concatenate(test))


def _opened(path: Path) -> h5py.File:
    if not path.is_file():
        raise BadInput(f"data file {path} does not exist")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> BadInput:
    reason = " ".join(str(error).split())
    if "truncated" in reason:
        return BadInput(f"{path} is truncated; copy it again")
    if "signature" in reason:
        return BadInput(f"{path} is not an HDF5 file")
    return BadInput(f"{path} cannot be read, it may be damaged ({reason})")


def _label(file: h5py.File) -> str:
    if "label" in file.attrs:
        return str(file.attrs["label"])
    if not file.attrs.get("synthetic", False):
        return "RadioML 2018.01A (as given)"
    recipe, seed = file.attrs.get("recipe_version", "?"), file.attrs.get("seed", "?")
    return f"synthetic (recipe {recipe}, seed {seed})"
