import json
import re
import shutil
from collections import Counter

import numpy as np
import pytest

from deploy.board.radioml import CLASSES, read_index
from models.errors import BadInput, CheckFailed
from tests.training.radioml_files import grid, write
from training.cache import open_cache
from training.data_info import check_odd, describe, draw, sample_rows
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
    by_snr = {row["snr"]: row for row in facts["snrs"]}
    assert by_snr[-20]["clipped"] is None and by_snr[0]["clipped"] == 0
    assert np.isclose(by_snr[30]["clipped"], 1 / 24)
    assert np.isclose(by_snr[30]["clipped_scaled"], 1 / 22)
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


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "1 of 96 frames looked at hold nothing but zeros, first in row 7"),
        (1e30, "1 of 96 frames looked at have samples beyond +-10000, first in row 7"),
        (-3e38, "1 of 96 frames looked at have samples beyond +-10000, first in row 7"),
    ],
)
def test_frames_without_a_signal_are_complained_of(tmp_path, value, said):
    labels, snrs = grid(2, (0, 30))
    frames = np.ones((len(labels), 1024, 2), np.float32)
    frames[7] = value
    path = write(tmp_path / "a.h5", labels, snrs, frames)
    facts = describe(path)
    assert sorted(facts["odd_frames"].values()) == [[], [7]]
    with pytest.raises(CheckFailed, match=re.escape(said)):
        check_odd(facts)
    json.dumps(facts, allow_nan=False)


def test_a_complaint_is_an_exit_code_and_the_picture_is_drawn_nevertheless(tmp_path, cli):
    labels, snrs = grid(1, (0,))
    frames = np.zeros((len(labels), 1024, 2), np.float32)
    frames[1] = 1e30
    path = write(tmp_path / "a.h5", labels, snrs, frames)
    done = cli("data", "info", path, "--json", tmp_path / "info.json", check=None)
    assert done.returncode == 1
    assert "23 of 24 frames looked at hold nothing but zeros" in " ".join(done.stderr.split())
    assert json.loads((tmp_path / "info.json").read_text())["odd_frames"]["huge"] == [1]
    draw(path, tmp_path / "a.png", snr=0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_file_with_nan_is_refused(tmp_path, refused, value):
    labels, snrs = grid(1, (0,))
    frames = np.ones((len(labels), 1024, 2), np.float32)
    frames[7, 100, 1] = value
    path = write(tmp_path / "a.h5", labels, snrs, frames)
    assert "X holds NaN or infinity in frame 7" in refused("data", "info", path)
    assert refused("data", "cache", path)
    assert beside(path) == {"a.h5", ".a.h5.cache.lock"}


def beside(path):
    return {left.name for left in path.parent.iterdir()}


def outcome(path, frames):
    """What reading all of a file comes to; `frames` is what is in it."""
    try:
        facts = describe(path, None)
        cache = open_cache(path)
        check_odd(facts)
    except BadInput as error:
        assert "\n" not in str(error)
        return "refused"
    except CheckFailed:
        return "reported"
    facts.pop("path")
    found = facts, cache.index.labels.tolist(), cache.frames(np.arange(len(cache))).tobytes()
    return "same" if found == frames else "changed"


@pytest.mark.parametrize("ours", [True, False])
def test_flipped_bits(tmp_path, synthetic, ours):
    """A file of ours never gives another result; DeepSig's layout has no checksums."""
    path, damaged = tmp_path / "whole.h5", tmp_path / "damaged.h5"
    if ours:
        write_dataset(path, 1, seed=2, snrs=(0,))
    else:
        labels, snrs = grid(1, (0,))
        write(path, labels, snrs, np.random.default_rng(0).normal(size=(24, 1024, 2)))
    whole = path.read_bytes()
    facts, cache = describe(path, None), open_cache(path)
    facts.pop("path")
    if not ours:
        facts["data_label"] = "unlabelled file damaged.h5"
    known = facts, cache.index.labels.tolist(), cache.frames(np.arange(24)).tobytes()
    random = np.random.default_rng(1)
    size = len(whole)
    # All over the file, and as many again among labels and structures, which are few bytes.
    places = [*random.integers(0, size, 40), *random.integers(0, 4000, 20)]
    places += [size - 1 - place for place in random.integers(0, 6000, 20)]
    counts = Counter()
    for place in places:
        data = bytearray(whole)
        data[place] ^= 1 << int(random.integers(0, 8))
        damaged.write_bytes(data)
        shutil.rmtree(tmp_path / "damaged.h5.cache", ignore_errors=True)
        counts[outcome(damaged, known)] += 1
    print(f"{'ours' if ours else 'foreign'}: {len(places)} flips, {dict(counts)}")
    if ours:
        assert not counts["changed"], counts
    assert counts["refused"] > 5
