import math

import numpy as np
import pytest

from deploy.board.radioml import SNRS, Index
from deploy.board.split import official_split
from models.errors import BadInput
from tests.training.radioml_files import grid


def index_of(labels, snrs) -> Index:
    return Index("file.h5", labels, snrs, "test", True)


def organisers(first_snr=0):
    """The procedure of the challenge's notebook, for the full file, as it was written."""
    np.random.seed(2018)
    train, test = [], []
    for mod in range(24):
        for snr_idx in range(26):
            start = 26 * 4096 * mod + 4096 * snr_idx
            indices_subclass = list(range(start, start + 4096))
            split = int(np.ceil(0.1 * 4096))
            np.random.shuffle(indices_subclass)
            if snr_idx >= first_snr:
                train.extend(indices_subclass[split:])
            test.extend(indices_subclass[:split])
    return train, test


def test_full_file_is_split_as_by_the_organisers():
    train, test = organisers()
    state = np.random.get_state()[1].copy()
    split = official_split(index_of(*grid(4096)))
    assert np.array_equal(split.train, train)
    assert np.array_equal(split.test, test)
    assert len(test) == 24 * 26 * 410
    assert np.array_equal(np.random.get_state()[1], state)  # nobody else's numbers are touched


def test_training_from_an_snr_on_keeps_the_test_frames():
    labels, snrs = grid(50)
    index = index_of(labels, snrs)
    full, high = official_split(index), official_split(index, min_snr=-14)
    assert np.array_equal(high.test, full.test)
    assert np.array_equal(high.train, full.train[snrs[full.train] >= -14])
    assert snrs[high.train].min() == -14
    assert not np.intersect1d(high.train, high.test).size


@pytest.mark.parametrize("per_cell", [2, 9, 10, 11, 40])
def test_other_numbers_of_frames(per_cell):
    labels, snrs = grid(per_cell)
    split = official_split(index_of(labels, snrs))
    assert np.array_equal(np.sort(np.r_[split.train, split.test]), np.arange(len(labels)))
    cells = np.bincount(labels[split.test] * 26 + (snrs[split.test] + 20) // 2, minlength=24 * 26)
    assert (cells == math.ceil(0.1 * per_cell)).all()


def test_shuffled_files_are_split_within_their_cells():
    labels, snrs = grid(20)
    order = np.random.default_rng(0).permutation(len(labels))
    plain = official_split(index_of(labels, snrs))
    mixed = official_split(index_of(labels[order], snrs[order]))
    # The i-th frame of a cell goes the same way, wherever in the file it lies.
    rank = np.empty(len(labels), int)
    rank[np.argsort(labels[order] * 26 + (snrs[order] + 20) // 2, kind="stable")] = np.arange(
        len(labels)
    )
    assert np.array_equal(rank[mixed.test], plain.test)
    assert np.array_equal(rank[mixed.train], plain.train)


def test_cells_may_be_missing_or_differ():
    labels = np.array([0] * 30 + [5] * 3)
    snrs = np.array([0] * 30 + [30] * 3)
    split = official_split(index_of(labels, snrs))
    assert (labels[split.test] == 0).sum() == 3
    assert (labels[split.test] == 5).sum() == 1


def test_nothing_left_to_train_on():
    with pytest.raises(BadInput, match="nothing to train on"):
        official_split(index_of(*grid(1)))
    with pytest.raises(BadInput, match="at 30 dB and above"):
        official_split(index_of(*grid(10, SNRS[:5])), min_snr=30)
