"""The file format of RadioML 2018.01A, read by what it says rather than by where things should be.

`X` float32 (N, 1024, 2) holds the frames (I, Q), `Y` (N, 24) one-hot classes, `Z` (N, 1) the SNR in
dB. DeepSig's file is ordered by class, then SNR, with 4096 frames a cell; nothing here relies on
that, since files of other providers are shuffled or thinned out.

A board reads the same files: numpy and h5py only.
"""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np

from deploy.board.errors import BadInput

FRAME = 1024
"""Complex samples in a frame."""

CLASSES = (
    *("OOK", "4ASK", "8ASK", "BPSK", "QPSK", "8PSK", "16PSK", "32PSK"),
    *("16APSK", "32APSK", "64APSK", "128APSK", "16QAM", "32QAM", "64QAM", "128QAM", "256QAM"),
    *("AM-SSB-WC", "AM-SSB-SC", "AM-DSB-WC", "AM-DSB-SC", "FM", "GMSK", "OQPSK"),
)
"""Class names in the order of Y's columns. `classes.txt` beside the data set has a wrong one; this
is the order of `classes-fixed.txt` and of the ITU challenge's notebook."""

SNRS = tuple(range(-20, 31, 2))
"""Nominal signal-to-noise ratios in dB."""

FULL_FRAMES_PER_CELL = 4096
"""Frames of each (class, SNR) cell in DeepSig's file."""

REAL = "RadioML 2018.01A (as given)"
"""Label of a file that by its facts is DeepSig's (`_like_deepsigs`)."""

PICKLES = (".pkl", ".dat")
"""How the names of RadioML 2016.10a's file end."""

CHECKSUMS, LABELS_CHECKSUM = "crc32", "labels_crc32"
"""Data set and attribute of the files that we synthesise: `checksums` and `labels_checksum`."""

_SNRs = TypeVar("_SNRs", int, np.ndarray)


@dataclass(frozen=True)
class Layout:
    """The sizes of a file: those of RadioML 2018.01A's, unless said otherwise.

    Attributes:
        samples: of a frame.
        channels: of a frame.
        classes: columns of Y.
        names: of the classes, where the file says them and they are not RadioML 2018.01A's.
    """

    samples: int = FRAME
    channels: int = 2
    classes: int = len(CLASSES)
    names: tuple[str, ...] = field(default=(), compare=False)

    @property
    def frame(self) -> tuple[int, int]:
        """Samples and channels, as X has them."""
        return self.samples, self.channels

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the indices."""
        if self == Layout():
            return CLASSES
        return self.names or tuple(f"class {i}" for i in range(self.classes))

    def __str__(self) -> str:
        return f"{self.channels} x {self.samples} samples and {self.classes} classes"


_ROWS = 1 << 17  # Y of the real file is half a gigabyte: never held whole


@dataclass(frozen=True)
class Index:
    """What a file holds, without its frames.

    Attributes:
        path: the file.
        labels: int64 (N,), class of each frame.
        snrs: int64 (N,), SNR of each frame in dB.
        label: where the frames come from, to be shown beside every result (`data_label`).
        in_order: the frames lie by class, then SNR, as in DeepSig's file.
        layout: the sizes of the file.
    """

    path: Path
    labels: np.ndarray = field(repr=False)
    snrs: np.ndarray = field(repr=False)
    label: str
    in_order: bool
    layout: Layout = Layout()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def synthetic(self) -> bool:
        """Whether the frames were synthesised."""
        return self.label.startswith("synthetic")

    @property
    def cells(self) -> np.ndarray:
        """int64 (classes, 26): frames in each (class, SNR) cell."""
        cell = self.labels * len(SNRS) + snr_index(self.snrs)
        counts = np.bincount(cell, minlength=self.layout.classes * len(SNRS))
        return counts.reshape(self.layout.classes, len(SNRS))


def snr_index(snrs: _SNRs) -> _SNRs:
    """Return the position of each SNR (dB) in `SNRS`."""
    return (snrs - SNRS[0]) // (SNRS[1] - SNRS[0])


def class_index(name: str | int) -> int:
    """Return the index of a class given by name (any case) or index.

    Raises:
        BadInput: there is no such class.
    """
    if isinstance(name, int | np.integer) and 0 <= name < len(CLASSES):
        return int(name)
    for index, known in enumerate(CLASSES):
        if str(name).upper() == known:
            return index
    raise BadInput(f"no modulation is called {name!r}; known: {', '.join(CLASSES)}")


@contextmanager
def open_file(
    path: str | Path, classes: int | None = len(CLASSES), frame: tuple[int, int] = (FRAME, 2)
) -> Iterator[h5py.File]:
    """Open a RadioML file for reading once X, Y and Z are there in the right shapes.

    Args:
        path: the file.
        classes: how many columns Y is to have; None looks at X alone.
        frame: samples and channels of a frame.

    Raises:
        BadInput: the file is missing, truncated, not HDF5, empty or of another layout.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"data file {path} {'is a folder' if path.is_dir() else 'does not exist'}")
    if not os.access(path, os.R_OK):
        raise BadInput(f"data file {path} is not readable; check its permissions")
    try:
        file = h5py.File(path, "r")
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreadable(path, error) from error
    with file:
        try:
            _check_layout(path, file, classes, frame)
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            raise _unreadable(path, error) from error
        yield file


def layout_of(path: str | Path) -> Layout:
    """Return the sizes of a file in RadioML's layout, whatever they are.

    Raises:
        BadInput: it is none.
    """
    try:
        with h5py.File(path, "r") as file:
            x, y = file.get("X"), file.get("Y")
            sized = isinstance(x, h5py.Dataset) and isinstance(y, h5py.Dataset)
            if sized and len(x.shape) == 3 and len(y.shape) == 2 and all(x.shape + y.shape):
                return Layout(x.shape[1], x.shape[2], y.shape[1], _names(file, y.shape[1]))
    except (OSError, RuntimeError, ValueError):
        pass
    with open_file(path):  # says what is wrong with it
        return Layout()


def _names(file: h5py.File, classes: int) -> tuple[str, ...]:
    """Return the classes' names, where an open file has the attribute `classes` for them."""
    given = file.attrs.get("classes")
    if not isinstance(given, np.ndarray) or given.shape != (classes,):
        return ()
    names = tuple(_one_line(name) for name in given)
    return names if all(names) and len(set(names)) == classes else ()


def read(data: h5py.Dataset, rows: slice | int) -> np.ndarray:
    """Return some rows of a data set of an open file.

    Raises:
        BadInput: they cannot be read, the file is damaged.
    """
    try:
        return data[rows]
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreadable(Path(data.file.filename), error) from error


def read_rows(
    x: h5py.Dataset, rows: np.ndarray, at_once: int = 4096
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (rows, frames) of the open file's X, some rows at a time.

    Args:
        x: the data set.
        rows: int64, ascending.
        at_once: how many rows to yield together.

    Returns:
        Pairs of int64 (B,) and finite float32 (B, 1024, 2).

    Raises:
        BadInput: as `check_frames`, or a frame cannot be read.
    """
    for start in range(0, len(rows), at_once):
        part = rows[start : start + at_once]
        frames = _read_runs(x, part)
        with np.errstate(over="ignore"):  # beyond float32 is infinity, which is refused
            frames = frames.astype(np.float32, copy=False)
        check_frames(x, frames, part)
        yield part, frames


def _read_runs(data: h5py.Dataset, rows: np.ndarray) -> np.ndarray:
    # One read a run of rows: HDF5's own selection of points is many times slower.
    runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
    return np.concatenate([read(data, slice(run[0], run[-1] + 1)) for run in runs])


def _unreadable(path: Path, error: Exception) -> BadInput:
    reason = str(error)
    if "truncated" in reason:
        problem = "is truncated; copy or download it again"
    elif "signature" in reason and path.suffix in PICKLES:
        problem = "is no HDF5 file; `aaronnet data convert` makes one of RadioML 2016.10a"
    elif "signature" in reason:
        problem = "is not an HDF5 file; expected RadioML 2018.01A's GOLD_XYZ_OSC.0001_1024.hdf5"
    else:
        problem = f"cannot be read, it may be damaged ({' '.join(reason.split())})"
    return BadInput(f"{path} {problem}")


def _check_layout(path: Path, file: h5py.File, classes: int | None, frame: tuple[int, int]) -> None:
    wanted = f"(N, {frame[0]}, {frame[1]})"
    missing = [
        key
        for key in ("X" if classes is None else "XYZ")
        if not isinstance(file.get(key), h5py.Dataset)
    ]
    if missing:
        raise BadInput(
            f"{path} has no data set {', '.join(missing)}; expected RadioML 2018.01A's layout: "
            f"X {wanted}, Y (N, {classes}), Z (N, 1)"
        )
    x = file["X"]
    for data in (file[key] for key in ("X" if classes is None else "XYZ")):
        if data.dtype.kind not in "fiub":
            raise BadInput(f"{path}: {data.name[1:]} holds {data.dtype}, expected numbers")
    if x.shape[1:] != frame:
        raise BadInput(f"{path}: X has shape {x.shape}, expected {wanted}")
    frames = len(x)
    if frames == 0:
        raise BadInput(f"{path} holds no frames")
    if classes is None:
        return
    y, z = file["Y"], file["Z"]
    if y.shape != (frames, classes):
        raise BadInput(f"{path}: Y has shape {y.shape}, expected {(frames, classes)}, one-hot")
    if z.shape not in ((frames, 1), (frames,)):
        raise BadInput(f"{path}: Z has shape {z.shape}, expected {(frames, 1)}")


def read_index(
    path: str | Path, classes: int = len(CLASSES), frame: tuple[int, int] = (FRAME, 2)
) -> Index:
    """Read which class and SNR every frame of a file has, in whatever order they lie.

    Args:
        path: the file.
        classes: how many there are.
        frame: samples and channels of a frame.

    Raises:
        BadInput: as `open_file`, or Y is not one-hot, or Z holds an SNR outside `SNRS`,
            or the file's checksum says otherwise.
    """
    with open_file(path, classes, frame) as file:
        frames = len(file["X"])
        labels = np.empty(frames, np.int64)
        snrs = np.empty(frames, np.int64)
        for start in range(0, frames, _ROWS):
            rows = slice(start, min(start + _ROWS, frames))
            labels[rows] = _classes_of(path, read(file["Y"], rows), start)
            snrs[rows] = _snrs_of(path, read(file["Z"], rows).reshape(-1), start)
        label, names = label_of(file), _names(file, classes)
        kept = file.attrs.get(LABELS_CHECKSUM)
    if kept is not None and kept != labels_checksum(label, labels, snrs):
        raise BadInput(f"{path}: classes or SNRs are not what was written; the file is damaged")
    order = labels * len(SNRS) + snr_index(snrs)
    in_order = bool((np.diff(order) >= 0).all())
    return Index(Path(path), labels, snrs, label, in_order, Layout(*frame, classes, names))


def _classes_of(path: str | Path, y: np.ndarray, start: int) -> np.ndarray:
    classes = y.argmax(axis=1)
    # Exactly one 1 and nothing else: the ones count to one, and so does everything nonzero.
    wrong = ((y != 0).sum(axis=1) != 1) | (y[np.arange(len(y)), classes] != 1)
    if wrong.any():
        row = int(wrong.argmax())
        found = [f"{value:g}" for value in y[row][y[row] != 0][:4].tolist()]
        raise BadInput(
            f"{path}: Y is not one-hot in {int(wrong.sum())} rows, first in row {start + row} "
            f"(nonzero: {', '.join(found) or 'none'}); the labels are damaged"
        )
    return classes


def _snrs_of(path: str | Path, z: np.ndarray, start: int) -> np.ndarray:
    wrong = ~np.isin(z, SNRS)
    if wrong.any():
        row = int(wrong.argmax())
        raise BadInput(
            f"{path}: Z holds an SNR of {z[row]} dB in row {start + row} ({int(wrong.sum())} such "
            f"rows), expected {SNRS[0]}..{SNRS[-1]} dB in steps of {SNRS[1] - SNRS[0]}"
        )
    return z.astype(np.int64)


def label_of(file: h5py.File) -> str:
    """Return what to call the frames of an open file wherever a result made from them is shown."""
    try:
        told = dict(file.attrs)
    except (OSError, RuntimeError, TypeError, ValueError, KeyError) as error:
        raise _unreadable(Path(file.filename), error) from error
    if "label" in told:
        # A choice of another file's frames: it carries on what they were called there.
        return _one_line(told["label"])
    if np.any(told.get("synthetic", False)):
        recipe, seed = (_one_line(told.get(key, "?")) for key in ("recipe_version", "seed"))
        return f"synthetic (recipe {recipe}, seed {seed})"
    if _like_deepsigs(file):
        return REAL
    return f"unlabelled file {Path(file.filename).name}"


def _one_line(value: object) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return "".join(c for c in " ".join(text.split()) if c.isprintable())[:120]


def _like_deepsigs(file: h5py.File) -> bool:
    """Whether size, types and order of the labels are those of DeepSig's file.

    Nobody has published a digest of it; a thinned or shuffled copy cannot be told from any other.
    """
    if "Y" not in file or "Z" not in file:
        return False
    x, y, z = (file[key] for key in "XYZ")
    if len(x) != len(CLASSES) * len(SNRS) * FULL_FRAMES_PER_CELL or y.shape[1] != len(CLASSES):
        return False
    if [data.dtype.str for data in (x, y, z)] != ["<f4", "<i8", "<i8"]:
        return False
    first = slice(None, None, FULL_FRAMES_PER_CELL)  # of each cell
    classes, snrs = read(y, first).argmax(axis=1), read(z, first).reshape(-1)
    cells = np.arange(len(CLASSES) * len(SNRS))
    return np.array_equal(classes, cells // len(SNRS)) and np.array_equal(
        snrs, np.array(SNRS)[cells % len(SNRS)]
    )


def data_label(path: str | Path) -> str:
    """Return what to call the frames of a file wherever a result made from them is shown.

    Raises:
        BadInput: as `open_file`.
    """
    with open_file(path) as file:
        return label_of(file)


def check_frames(x: h5py.Dataset, frames: np.ndarray, rows: np.ndarray) -> None:
    """Refuse damaged frames (B, 1024, 2), which lie in rows (B,) of the open file's X.

    Raises:
        BadInput: a sample is not finite, or a frame is not the one whose checksum the file holds
            (`CHECKSUMS`; DeepSig's file and others hold none).
    """
    file = x.file
    # One reduction is enough to know, several times faster than isfinite: NaN and inf survive sums.
    if not np.isfinite(np.abs(frames).max(initial=0)):
        bad = ~np.isfinite(frames).all(axis=(1, 2))
        raise BadInput(
            f"{file.filename}: X holds NaN or infinity in frame {int(rows[bad.argmax()])} "
            f"({int(bad.sum())} of the {len(frames)} frames read with it); the file is damaged"
        )
    kept = file.get(CHECKSUMS)
    if not isinstance(kept, h5py.Dataset) or kept.shape != (len(x),):
        return
    bad = checksums(frames) != _read_runs(kept, rows)
    if bad.any():
        raise BadInput(
            f"{file.filename}: frame {int(rows[bad.argmax()])} is not what was written "
            f"({int(bad.sum())} of the {len(frames)} frames read with it); the file is damaged"
        )


def checksums(frames: np.ndarray) -> np.ndarray:
    """Return uint32 (B,), the CRC-32 of each of float32 frames (B, 1024, 2)."""
    frames = np.ascontiguousarray(frames, "<f4")
    return np.array([zlib.crc32(frame.data) for frame in frames], np.uint32)


def labels_checksum(label: str, labels: np.ndarray, snrs: np.ndarray) -> int:
    """Return the CRC-32 of what a file says of its frames: label, classes (N,) and SNRs (N,)."""
    said = label.encode(), labels.astype("<i8").tobytes(), snrs.astype("<i8").tobytes()
    return zlib.crc32(b"".join(said))
