"""Frames to run on a board, from files in RadioML 2018.01A's layout.

A file may carry `predicted` (N,), the class that the network gives each frame: the samples of a
package do, and what `aaronnet board expect` writes. All of such a file's frames are for testing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from deploy.board.errors import BadInput
from deploy.board.radioml import (
    FRAME,
    SNRS,
    Index,
    label_of,
    open_file,
    read,
    read_index,
    read_rows,
    snr_index,
)
from deploy.board.split import SEED, test_rows


@dataclass(frozen=True)
class Frames:
    """What a file holds, without its frames, and what the network says of them.

    Attributes:
        path: of the file.
        label: where its frames come from.
        count: how many there are.
        classes: how many classes there are.
        frame: samples and channels of a frame.
        index: class and SNR of each frame; None where they are unknown.
        predicted: int64 (N,) classes by the network, or None.
    """

    path: Path
    label: str
    count: int
    classes: int
    frame: tuple[int, int]
    index: Index | None = field(repr=False)
    predicted: np.ndarray | None = field(repr=False)

    def __len__(self) -> int:
        return self.count

    def read(self, rows: np.ndarray, block: int = 1024) -> Iterator[np.ndarray]:
        """Yield float32 (up to `block`, samples, channels) of ascending rows.

        Raises:
            BadInput: the file is damaged, or a sample is no number.
        """
        with open_file(self.path, None, self.frame) as file:
            for _, frames in read_rows(file["X"], rows, block):
                yield frames


def open_frames(path: str | Path, classes: int, frame: tuple[int, int] = (FRAME, 2)) -> Frames:
    """Read what a file holds.

    Args:
        path: HDF5 with X (N, samples, channels), Y (N, classes) one-hot, Z (N, 1) SNR in dB. A file
            with `predicted` may have neither Y nor Z.
        classes: how many the network has.
        frame: samples and channels of a frame.

    Raises:
        BadInput: it is missing, truncated or of another layout, or names a class that is none.
    """
    predicted = index = None
    with open_file(path, None, frame) as file:
        label, count = label_of(file), len(file["X"])
        labelled = "Y" in file or "Z" in file or "predicted" not in file
        if "predicted" in file:
            data = file["predicted"]
            if not isinstance(data, h5py.Dataset) or data.shape != (count,):
                raise BadInput(f"{path}: predicted is no data set of shape {(count,)}")
            predicted = read(data, slice(None))
            if predicted.dtype.kind not in "fiu" or not np.isin(predicted, range(classes)).all():
                raise BadInput(f"{path}: predicted holds what is no class of 0..{classes - 1}")
            predicted = predicted.astype(np.int64)
    if labelled:
        index = read_index(path, classes, frame)
    return Frames(Path(path), label, count, classes, frame, index, predicted)


def rows_to_test(frames: Frames, count: int | None = None) -> np.ndarray:
    """Return ascending rows to test on: the official test split, or all of a validation file.

    Args:
        frames: of a file.
        count: take about that many, evenly over classes and SNRs where they are known; None takes
            all.

    Raises:
        BadInput: a count below one.
    """
    index = frames.index
    if index is None or frames.predicted is not None:
        rows = np.arange(len(frames))
    else:
        rows = test_rows(index)
    if count is None or count >= len(rows):
        return rows
    if count < 1:
        raise BadInput(f"{count} frames are none to test on")
    if index is None:
        return rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]
    # The i-th frame of every cell before the (i+1)-th of any: even at every count. Cells within a
    # turn are mixed, so that a few frames are not all of one class.
    cells = index.labels * len(SNRS) + snr_index(index.snrs)
    order = rows[np.argsort(cells[rows], kind="stable")]
    sorted_cells = cells[order]
    first = np.searchsorted(sorted_cells, sorted_cells)
    turn = np.arange(len(order)) - first
    mixed = np.random.RandomState(SEED).permutation(frames.classes * len(SNRS))[sorted_cells]
    return np.sort(order[np.lexsort((mixed, turn))[:count]])
