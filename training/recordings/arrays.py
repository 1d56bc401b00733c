"""Samples in arrays: numpy's files, WAV, RadioML's two data sets.

An array is complex (N,) or, with I and Q as numbers, (N, 2); separate frames are complex (N, L),
(N, L, 2) or (N, 2, L). A pickle (RadioML 2016.10a) is read by an unpickler that knows nothing but
dictionaries and numpy's arrays.
"""

import io
import pickle
import warnings
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from deploy.board.radioml import layout_of, open_file
from models.errors import BadInput
from training.recordings.raw import RawFile, SampleType, check_finite, sample_type
from training.recordings.recording import InMemory, Recording

NAMES = ("iq", "samples", "x", "data")
"""Of the array that is taken of an .npz file with several."""

_LARGEST_IN_MEMORY = 4 << 30


def open_npy(path: Path, rate: float | None) -> Recording:
    """Open a .npy file; it is read piece by piece.

    Raises:
        BadInput: it is damaged, or no array of samples.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, fortran, dtype = read(file)
            offset = file.tell()
    except (ValueError, KeyError, EOFError, SyntaxError) as error:
        raise BadInput(f"recording {path} is no .npy file, or damaged") from error
    type_, samples, row, planar = _layout(shape, dtype, path)
    if fortran and len([n for n in shape if n > 1]) > 1:
        raise BadInput(
            f"recording {path} is in Fortran's order; save numpy.ascontiguousarray of it"
        )
    if path.stat().st_size - offset != samples * type_.size:
        raise BadInput(f"recording {path} is truncated or damaged: its size is not its header's")
    source = RawFile(path, type_, samples, rate or 1.0, offset, row if planar else None)
    return Recording(source, f"npy {type_.name}", None, rate is not None, row)


def open_npz(path: Path, rate: float | None) -> Recording:
    """Open an .npz file, which is held in memory.

    Raises:
        BadInput: it is damaged, or it is not clear which array is meant.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _LARGEST_IN_MEMORY:
            raise BadInput(f"recording {path} has {size:,} bytes unpacked; save it as .npy")
        with np.load(path, allow_pickle=False) as arrays:
            names = [name for name in arrays.files if name.lower() in NAMES]
            names = names if len(arrays.files) > 1 else arrays.files
            if len(names) != 1:
                raise BadInput(
                    f"recording {path} has the arrays {', '.join(arrays.files) or '(none)'}; "
                    f"call the one to read {NAMES[0]}"
                )
            values = arrays[names[0]]
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, MemoryError) as error:
        raise BadInput(f"recording {path} is no .npz file, or damaged: {error}") from error
    return _in_memory(values, path, rate, "npz")


def open_wav(path: Path, rate: float | None) -> Recording:
    """Open a WAV file with I left and Q right; it is read piece by piece.

    Raises:
        BadInput: it is damaged, or has another number of channels.
    """
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks it does not know
            own, values = wavfile.read(path, mmap=True)
    except (ValueError, EOFError, OSError, KeyError, AttributeError, IndexError) as error:
        raise BadInput(f"recording {path} is no WAV file that is read here: {error}") from error
    except Exception as error:  # struct.error and others of a damaged header
        raise BadInput(f"recording {path} is damaged: {error}") from error
    if values.ndim != 2 or values.shape[1] != 2:
        channels = 1 if values.ndim == 1 else values.shape[1]
        raise BadInput(f"recording {path} has {channels} channels, not two (I left, Q right)")
    if rate is not None and rate != own:
        raise BadInput(f"{path} has {own} samples/s, not {rate:g}; leave --rate out")
    if not own:
        raise BadInput(f"{path} says 0 samples/s; repair its header")
    type_, samples, _, _ = _layout(values.shape, values.dtype, path)
    source = RawFile(path, type_, samples, float(own), values.offset)
    return Recording(source, f"wav {type_.name}")


@dataclass(frozen=True)
class _Frames:
    """The frames of a file in RadioML 2018.01A's layout, one after the other."""

    path: Path
    samples: int
    rate: float
    row: int

    def read(self, start: int, count: int) -> np.ndarray:
        first, last = start // self.row, -(-(start + count) // self.row)
        with h5py.File(self.path, "r") as file:
            rows = file["X"][first:last].astype(np.float32).reshape(-1, 2)
        values = np.ascontiguousarray(rows[start - first * self.row :][:count]).view(np.complex64)
        check_finite(values, start, self.path)
        return values[:, 0]


def open_hdf5(path: Path, rate: float | None) -> Recording:
    """Open a file in RadioML 2018.01A's layout; its frames are read piece by piece.

    Raises:
        BadInput: it is damaged or of another layout.
    """
    layout = layout_of(path)
    if layout.channels != 2:
        raise BadInput(f"recording {path} has {layout.channels} channels, not I and Q")
    with open_file(path, layout.classes, layout.frame) as file:
        count, row = file["X"].shape[:2]
    frames = _Frames(path, count * row, rate or 1.0, row)
    kind = "RadioML's layout"
    return Recording(frames, kind, None, rate is not None, row, scaled=True)


class _ArraysOnly(pickle.Unpickler):
    """Reads dictionaries, tuples, text, numbers and numpy's arrays; whatever else is refused."""

    ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy.core.multiarray", "scalar"),
            ("numpy._core.multiarray", "scalar"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def read_radioml_2016(path: Path) -> dict[tuple[str, int], np.ndarray]:
    """Read RadioML 2016.10a: (modulation, SNR in dB) -> float32 (N, 2, 128).

    IQSource: O'Shea, West: Radio Machine Learning Dataset Generation with GNU Radio, 2016.

    Raises:
        BadInput: it is damaged, asks for code, or is no such dictionary.
    """
    if path.stat().st_size > _LARGEST_IN_MEMORY:
        raise BadInput(f"recording {path} is larger than a RadioML 2016.10a file")
    try:
        content = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise BadInput(f"{path} is no RadioML 2016.10a file: {error}"[:300]) from error
    except Exception as error:  # what a damaged pickle makes of it knows no bounds
        raise BadInput(f"{path} is a damaged pickle; copy it again") from error
    if not isinstance(content, dict) or not content:
        raise BadInput(f"{path} is no RadioML 2016.10a file: it holds no dictionary")
    for key, frames in content.items():
        if not (
            isinstance(key, tuple)
            and len(key) == 2
            and isinstance(key[0], str)
            and isinstance(key[1], int)
            and isinstance(frames, np.ndarray)
            and frames.dtype.kind == "f"
            and frames.ndim == 3
            and frames.shape[1] == 2
        ):
            raise BadInput(
                f"{path} is no RadioML 2016.10a file: {str(key)[:40]!r} is no (modulation, SNR) "
                "with frames of (N, 2, L)"
            )
    return content


def open_radioml_2016(path: Path, rate: float | None) -> Recording:
    """Open RadioML 2016.10a, which is held in memory; frames in the order of its keys.

    They are L times as large as in the file, as `training.conversion` makes them.

    Raises:
        BadInput: as `read_radioml_2016`, or its frames have several lengths.
    """
    content = read_radioml_2016(path)
    lengths = {frames.shape[2] for frames in content.values()}
    if len(lengths) != 1:
        raise BadInput(f"{path} has frames of several lengths: {sorted(lengths)}")
    frames = np.concatenate([content[key] for key in sorted(content)])
    frames = frames * frames.dtype.type(frames.shape[2])
    return replace(_in_memory(frames, path, rate, "RadioML 2016.10a"), scaled=True)


def _in_memory(values: np.ndarray, path: Path, rate: float | None, kind: str) -> Recording:
    type_, _, row, planar = _layout(values.shape, values.dtype, path)
    if planar:
        values = values.swapaxes(1, 2)
    numbers = np.ascontiguousarray(values)
    if numbers.dtype.kind == "c":
        numbers = numbers.view(numbers.real.dtype)
    samples = type_.values(numbers.reshape(-1))
    check_finite(samples, 0, path)
    return Recording(
        InMemory(samples, rate or 1.0), f"{kind} {type_.name}", None, rate is not None, row
    )


def _layout(
    shape: tuple[int, ...], dtype: np.dtype, path: Path
) -> tuple[SampleType, int, int | None, bool]:
    """Return type, samples, samples of a row, and whether I and Q come one after the other."""
    if dtype.kind not in "cfiu" or dtype.itemsize > 16 or dtype in (np.float16, np.longdouble):
        raise BadInput(f"recording {path} holds {dtype}, not samples; save complex64")
    order = "be" if dtype.byteorder == ">" else "le"
    if dtype.kind == "c":
        type_ = sample_type(f"cf{4 * dtype.itemsize}_{order}")
        shape = (*shape, 2)
    else:
        type_ = sample_type(f"c{dtype.kind}{8 * dtype.itemsize}_{order}")
    planar = len(shape) == 3 and shape[1] == 2 and shape[2] != 2
    if planar:
        shape = (shape[0], shape[2], 2)
    if len(shape) not in (2, 3) or shape[-1] != 2 or 0 in shape:
        raise BadInput(
            f"recording {path} has shape {shape}; samples are complex (N,) or (N, L), or (N, 2), "
            "(N, L, 2) or (N, 2, L)"
        )
    row = shape[1] if len(shape) == 3 else None
    return type_, shape[0] * (row or 1), row, planar
