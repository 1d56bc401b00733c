"""The official split of RadioML 2018.01A into training and test frames."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from deploy.board.errors import BadInput
from deploy.board.radioml import SNRS, Index, snr_index

SEED = 2018
TEST_SHARE = 0.1


@dataclass(frozen=True)
class Split:
    """Rows of a file.

    Attributes:
        train: int64, rows to train on, in the order drawn.
        test: int64, rows to test on, all SNRs.
    """

    train: np.ndarray = field(repr=False)
    test: np.ndarray = field(repr=False)


def official_split(index: Index, min_snr: int | None = None) -> Split:
    """Split a file per (class, SNR) cell as the organisers of the ITU challenge did.

    `np.random.seed(2018)`, then for every class and SNR the rows of the cell are shuffled and the
    first ceil(10 %) are for testing (410 of 4096). For DeepSig's file these are the indices of the
    organisers' notebook; elsewhere a cell's rows are taken in the order of the file.

    The published training code starts its pass at `min_snr` and so draws another stream: its
    training set overlaps the test set of the full split. Here both come from one pass over all
    SNRs, as in the notebook, and `min_snr` then leaves frames out of `train`.

    Args:
        index: of the file.
        min_snr: dB; frames below are not trained on. None trains on all.

    Raises:
        BadInput: nothing is left to train or test on.
    """
    train, test = [], []
    for cell, (trained, tested) in enumerate(_shuffled_cells(index)):
        test.append(tested)
        if min_snr is None or SNRS[cell % len(SNRS)] >= min_snr:
            train.append(trained)
    split = Split(_joined(train), _joined(test))
    if not len(split.train):
        kept = "" if min_snr is None else f" at {min_snr} dB and above"
        raise BadInput(
            f"{index.path} has nothing to train on{kept}: every one of its "
            f"{index.layout.classes} classes needs at least two frames at some SNR"
        )
    return split


def test_rows(index: Index) -> np.ndarray:
    """Return the official test rows of a file, int64 and ascending; it may hold no others."""
    return np.sort(_joined([tested for _, tested in _shuffled_cells(index)]))


def _shuffled_cells(index: Index) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows to train and to test on of every (class, SNR) cell in turn."""
    cells = index.labels * len(SNRS) + snr_index(index.snrs)
    order, counts = np.argsort(cells, kind="stable"), np.bincount(cells)
    # The same Mersenne twister as np.random.seed's, without touching the global one.
    random = np.random.RandomState(SEED)
    for rows in np.split(order, np.cumsum(counts)[:-1]):
        rows = rows.copy()
        random.shuffle(rows)
        tested = math.ceil(TEST_SHARE * len(rows))
        yield rows[tested:], rows[:tested]


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
