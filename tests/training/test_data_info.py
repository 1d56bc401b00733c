import json

import numpy as np
import pytest

from deploy.board.radioml import CLASSES, read_index
from models.errors import BadInput
from tests.training.radioml_files import grid, write
from training.data_info import describe, draw, sample_rows
from training.synthesis import write_dataset


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    path = tmp_path_factory.mktemp("inspect") / "synthetic.h5"
    write_dataset(path, 3, seed=1, snrs=(0, 30))
    return path


def test_description(tmp_path):
    labels, snrs = grid(2, (0, 30))
    frames = np.ones((len(labels), 1024, 2), np.float32)
    frames[(labels == 3) & (snrs == 30)] = 2.5
    facts = describe(write(tmp_path / "a.h5", labels, snrs, frames))
    assert facts["data_label"] == "unlabelled file a.h5"
    assert facts["frames"] == facts["frames_looked_at"] == 96
    assert facts["in_order"]
    assert not facts["balanced"]  # most SNRs are missing
    assert not facts["complete"]
    assert facts["cells"] == {"frames_min": 0, "frames_max": 2, "missing": 24 * 24}
    rows = {row["name"]: row for row in facts["classes"]}
    assert rows["OOK"] == {
        "name": "OOK",
        "frames": 4,
        "power": 2.0,
        "clipped": 0.0,
        "clipped_top": 0.0,
    }
    assert rows["BPSK"]["power"] == (2 + 2 * 2.5**2) / 2
    assert rows["BPSK"]["clipped"] == 0.5
    assert rows["BPSK"]["clipped_top"] == 1
    assert np.isclose(facts["clipped"], 0.5 / 22)
    json.dumps(facts, allow_nan=False)


def test_missing_classes_have_no_power(tmp_path):
    facts = describe(write(tmp_path / "a.h5", [0, 0], [0, 0]))
    assert facts["classes"][1]["power"] is None
    assert facts["clipped_top"] is None


def test_sampled_rows_are_spread_over_each_cell(tmp_path):
    labels, snrs = grid(9, (0,))
    order = np.random.default_rng(0).permutation(len(labels))
    index = read_index(write(tmp_path / "a.h5", labels[order], snrs[order]))
    rows = sample_rows(index, 3)
    assert (np.diff(rows) > 0).all()
    assert (np.bincount(index.labels[rows]) == 3).all()
    first = np.flatnonzero(index.labels == 0)
    assert np.array_equal(rows[index.labels[rows] == 0], first[[0, 4, 8]])
    rows = sample_rows(index, 3, spread=False)
    assert np.array_equal(rows[index.labels[rows] == 0], first[:3])
    assert np.array_equal(sample_rows(index, 100), np.arange(len(index)))
    with pytest.raises(BadInput, match="at least one"):
        sample_rows(index, 0)


def test_picture(synthetic, tmp_path):
    picture = tmp_path / "a.svg"
    facts = draw(synthetic, picture, snr=0)
    # The picture itself says what it shows.
    assert "synthetic" in picture.read_text()
    assert facts["data_label"] == "synthetic (recipe 1, seed 1)"
    assert list(facts["rows"]) == list(CLASSES)
    index = read_index(synthetic)
    for name, row in facts["rows"].items():
        assert CLASSES[index.labels[row]] == name
        assert index.snrs[row] == 0


def test_pictures_that_cannot_be(synthetic, tmp_path):
    with pytest.raises(BadInput, match="no frames at 2 dB; it has 0, 30"):
        draw(synthetic, tmp_path / "a.png", snr=2)
    with pytest.raises(BadInput, match="no picture format"):
        draw(synthetic, tmp_path / "a.doc")
    assert not list(tmp_path.iterdir())
