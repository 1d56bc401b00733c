"""Samples as plain bytes: interleaved I and Q of any of SigMF's types, in raw files and in others.

Types are named as SigMF names its `core:datatype`: c or r (complex, real), f, i or u (floating
point, signed, unsigned), bits, and _le or _be. Integers are scaled to full scale 1, unsigned ones
after their middle, 2^(bits - 1), is taken off (SigMF specification 1.2, "datatype").
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.errors import BadInput

TYPES = ("cf32", "cf64", "ci32", "ci16", "ci8", "cu32", "cu16", "cu8")
"""What `--type` takes; with _be where the most significant byte comes first."""

_TYPE = re.compile(r"(?P<kind>[cr])(?P<number>[fiu])(?P<bits>8|16|32|64)(_(?P<order>le|be))?")


@dataclass(frozen=True)
class SampleType:
    """How a sample is stored.

    Attributes:
        name: in SigMF's words, with byte order.
        real: there is no Q.
        number: numpy's type of I.
    """

    name: str
    real: bool
    number: np.dtype

    @property
    def size(self) -> int:
        """Bytes of a sample."""
        return self.number.itemsize * (1 if self.real else 2)

    def values(self, numbers: np.ndarray) -> np.ndarray:
        """Return complex64 (N,) of the numbers of N samples, at full scale 1."""
        if self.number.kind == "f":
            scaled = numbers.astype(np.float32)
        else:
            half = 2.0 ** (8 * self.number.itemsize - 1)
            middle = half if self.number.kind == "u" else 0.0
            scaled = ((numbers.astype(np.float64) - middle) / half).astype(np.float32)
        return scaled.astype(np.complex64) if self.real else scaled.view(np.complex64)


def sample_type(name: str) -> SampleType:
    """Return the type of that name.

    Raises:
        BadInput: there is no such type.
    """
    match = _TYPE.fullmatch(name)
    if match is None or (match["number"], match["bits"]) in {("f", "8"), ("f", "16")}:
        raise BadInput(f"unknown sample type {name!r}; use one of {', '.join(TYPES)}")
    order = ">" if match["order"] == "be" else "<"
    number = np.dtype(f"{order}{match['number']}{int(match['bits']) // 8}")
    one_byte = number.itemsize == 1
    suffix = "" if one_byte else f"_{match['order'] or 'le'}"
    plain = f"{match['kind']}{match['number']}{match['bits']}{suffix}"
    return SampleType(plain, match["kind"] == "r", number)


@dataclass(frozen=True)
class RawFile:
    """Samples in a file, read from the disk piece by piece.

    Attributes:
        path: the file.
        type: of the samples.
        samples: how many.
        rate: samples a second.
        offset: bytes before the first.
        row: where I and Q are not interleaved: that many I, then as many Q, and again.
    """

    path: Path
    type: SampleType
    samples: int
    rate: float
    offset: int = 0
    row: int | None = None

    def read(self, start: int, count: int) -> np.ndarray:
        """Return complex64 (count,).

        Raises:
            BadInput: a sample is infinite or not a number, or the file became shorter.
        """
        if self.row is None:
            numbers = self._numbers(start, count)
        else:
            first, last = start // self.row, -(-(start + count) // self.row)
            planar = self._numbers(first * self.row, (last - first) * self.row)
            paired = planar.reshape(-1, 2, self.row).swapaxes(1, 2).reshape(-1, 2)
            skip = start - first * self.row
            numbers = np.ascontiguousarray(paired[skip : skip + count]).reshape(-1)
        values = self.type.values(numbers)
        check_finite(values, start, self.path)
        return values

    def _numbers(self, start: int, count: int) -> np.ndarray:
        many = count * (1 if self.type.real else 2)
        at = self.offset + start * self.type.size
        numbers = np.fromfile(self.path, self.type.number, many, offset=at)
        if len(numbers) != many:
            raise BadInput(f"recording {self.path} became shorter while it was read")
        return numbers


def check_finite(values: np.ndarray, start: int, path: Path) -> None:
    """Refuse samples that are infinite or not a number; `start` is the number of the first.

    Raises:
        BadInput: there is one.
    """
    if not np.isfinite(values).all():
        at = start + int(np.flatnonzero(~np.isfinite(values))[0])
        raise BadInput(
            f"recording {path}: sample {at} is not finite; check --type, or repair the file"
        )


def whole_samples(path: Path, size: int, type_: SampleType, what: str) -> int:
    """Return how many samples `size` bytes are.

    Raises:
        BadInput: none, or part of one is left over.
    """
    if size <= 0:
        raise BadInput(f"{what} {path} holds no samples")
    if size % type_.size:
        raise BadInput(
            f"{what} {path} is truncated or of another type: {size} bytes are no whole number of "
            f"{type_.name} samples ({type_.size} bytes each)"
        )
    return size // type_.size
