import h5py
import numpy as np
import pytest

from deploy.board.radioml import (
    CLASSES,
    SNRS,
    class_index,
    data_label,
    open_file,
    read_index,
    read_rows,
)
from models.errors import BadInput
from tests.training.radioml_files import grid, write
from training.cache import open_cache
from training.data_info import describe


@pytest.fixture
def good(tmp_path):
    return write(tmp_path / "good.h5", *grid(1, (0, 30)))


def change(path, key, value):
    with h5py.File(path, "a") as file:
        del file[key]
        if value is not None:
            file[key] = value


def complaint(path, action=read_index) -> str:
    with pytest.raises(BadInput) as caught:
        action(path)
    text = str(caught.value)
    assert "\n" not in text
    assert path.name in text
    return text


def test_classes_are_in_the_order_of_the_challenge():
    assert len(CLASSES) == 24
    assert len(SNRS) == 26
    assert (CLASSES[0], CLASSES[17], CLASSES[21], CLASSES[23]) == (
        "OOK",
        "AM-SSB-WC",
        "FM",
        "OQPSK",
    )
    assert class_index("qpsk") == class_index(4) == 4
    with pytest.raises(BadInput, match="known: OOK"):
        class_index("5ASK")


def test_an_ordered_file(good):
    index = read_index(good)
    labels, snrs = grid(1, (0, 30))
    assert np.array_equal(index.labels, labels)
    assert np.array_equal(index.snrs, snrs)
    assert index.in_order
    assert index.cells.sum() == 48
    assert index.cells[:, [10, 25]].all()


def test_order_and_shapes_of_other_providers_are_taken_from_y_and_z(tmp_path):
    labels, snrs = grid(2, (-20, 30))
    order = np.random.default_rng(1).permutation(len(labels))[:50]
    path = write(tmp_path / "other.h5", labels[order], snrs[order])
    change(path, "Z", snrs[order].astype(np.float32))  # no second axis
    change(path, "Y", np.eye(24, dtype=np.float32)[labels[order]])
    index = read_index(path)
    assert np.array_equal(index.labels, labels[order])
    assert np.array_equal(index.snrs, snrs[order])
    assert not index.in_order
    assert not describe(path)["in_order"]


def test_data_label(tmp_path, good):
    assert data_label(good) == "unlabelled file good.h5"
    facts = {"synthetic": True, "recipe_version": 1, "seed": 7}
    synthetic = write(tmp_path / "synthetic.h5", [0], [0], **facts)
    assert data_label(synthetic) == "synthetic (recipe 1, seed 7)"
    assert read_index(synthetic).synthetic
    assert not read_index(good).synthetic


@pytest.fixture
def full(tmp_path):
    """A file like DeepSig's, in which nothing but labels takes room."""
    path, of_class = tmp_path / "GOLD.hdf5", 26 * 4096
    with h5py.File(path, "w") as file:
        file.create_dataset("X", (24 * of_class, 1024, 2), "<f4", chunks=(4096, 1024, 2))
        options = {"chunks": (4096, 24), "compression": 1}
        y = file.create_dataset("Y", (24 * of_class, 24), "<i8", **options)
        z = file.create_dataset("Z", (24 * of_class, 1), "<i8", chunks=(4096, 1), compression=1)
        for cell in range(24 * 26):
            y[cell * 4096, cell // 26] = 1
            z[cell * 4096] = SNRS[cell % 26]
    return path


def test_only_what_has_the_facts_of_the_real_file_is_called_so(full):
    assert data_label(full) == "RadioML 2018.01A (as given)"
    with h5py.File(full, "a") as file:
        file["Z"][4096] = 30
    assert data_label(full) == "unlabelled file GOLD.hdf5"


@pytest.mark.parametrize(
    ("facts", "label"),
    [
        (
            {"synthetic": np.array([1, 1]), "seed": "a\nb\x1b[31m"},
            "synthetic (recipe ?, seed a b[31m)",
        ),
        ({"synthetic": np.bool_(False)}, "unlabelled file odd.h5"),
        ({"label": b"mine\n\nand yours"}, "mine and yours"),
        ({"label": "x" * 1000}, "x" * 120),
    ],
)
def test_labels_are_one_line_whatever_the_attributes(facts, label, tmp_path):
    assert data_label(write(tmp_path / "odd.h5", [0], [0], **facts)) == label


def test_missing_files(tmp_path):
    assert "does not exist" in complaint(tmp_path / "nothing.h5")
    assert "is a folder" in complaint(tmp_path)


def test_not_hdf5(tmp_path):
    path = tmp_path / "text.h5"
    path.write_text("X Y Z")
    assert "not an HDF5 file" in complaint(path)
    path.write_bytes(b"")
    assert "not an HDF5 file" in complaint(path)


def test_truncated(good):
    data = good.read_bytes()
    good.write_bytes(data[: len(data) // 2])
    assert "truncated" in complaint(good)


@pytest.mark.parametrize("key", "XYZ")
def test_missing_data_set(good, key):
    change(good, key, None)
    assert f"no data set {key}" in complaint(good)


def test_empty(good):
    for key, shape in (("X", (0, 1024, 2)), ("Y", (0, 24)), ("Z", (0, 1))):
        change(good, key, np.zeros(shape))
    assert "no frames" in complaint(good)


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("X", (48, 2, 1024)),
        ("X", (48, 128, 2)),
        ("X", (48, 2048)),
        ("Y", (48, 11)),
        ("Y", (47, 24)),
        ("Y", (48,)),
        ("Z", (47, 1)),
        ("Z", (48, 2)),
    ],
)
def test_wrong_shape(good, key, shape):
    change(good, key, np.zeros(shape))
    text = complaint(good)
    assert f"{key} has shape {shape}" in text
    assert "expected" in text


def test_wrong_type(good):
    change(good, "X", np.full((48, 1024, 2), b"a"))
    assert "expected numbers" in complaint(good)


@pytest.mark.parametrize("row", [np.zeros(24), np.eye(24)[3] + np.eye(24)[5], 0.5 * np.eye(24)[1]])
def test_labels_that_are_not_one_hot(good, row):
    y = np.eye(24)[grid(1, (0, 30))[0]]
    y[7] = row
    change(good, "Y", y)
    assert "not one-hot in 1 rows, first in row 7" in complaint(good)


@pytest.mark.parametrize("snr", [32, 1, -100, np.nan, 0.5])
def test_snrs_off_the_grid(good, snr):
    z = np.zeros((48, 1))
    z[5] = snr
    change(good, "Z", z)
    assert "in row 5" in complaint(good)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("action", [lambda path: describe(path, None), open_cache])
def test_frames_that_are_not_finite(good, bad, action):
    with h5py.File(good, "a") as file:
        file["X"][31, 1000, 1] = bad
    assert "NaN or infinity in frame 31" in complaint(good, action)


def test_damaged_chunks(tmp_path):
    path = tmp_path / "damaged.h5"
    labels, snrs = grid(1, (0, 30))
    frames = np.random.default_rng(0).normal(size=(48, 1024, 2)).astype(np.float32)
    write(path, labels, snrs, frames)
    change(path, "X", None)
    with h5py.File(path, "a") as file:
        x = file.create_dataset("X", data=frames, chunks=(8, 1024, 2), compression=1)
        place = x.id.get_chunk_info(3).byte_offset
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 4096)
    read_index(path)  # the labels are whole
    for action in (lambda path: describe(path, None), open_cache):
        assert "may be damaged" in complaint(path, action)
    assert {left.name for left in tmp_path.iterdir()} == {"damaged.h5", ".damaged.h5.cache.lock"}


def test_rows_are_read_in_runs(good):
    rows = np.array([0, 1, 2, 7, 9, 10, 47])
    with open_file(good) as file:
        parts = list(read_rows(file["X"], rows, 4))
    assert [len(part) for part, _ in parts] == [4, 3]
    found = np.concatenate([frames for _, frames in parts])
    assert np.allclose(found, (rows / 1000)[:, None, None])


def test_errors_of_the_caller_are_not_taken_for_damage(good):
    with pytest.raises(OSError, match="mine"), open_file(good):
        raise OSError("mine")
