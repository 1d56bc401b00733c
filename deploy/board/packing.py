"""Tensors as the bytes that FINN's input DMA sends and its output DMA delivers.

The innermost axis of a folded tensor is one stream word: element 0 in the lowest bits, padded with
zeros to whole bytes, lowest byte first. It is what `finnpy_to_packed_bytearray` of FINN's driver
gives with `reverse_inner` and `reverse_endian`; here whole tensors are shifted together instead of
single bits. Runs on a board: numpy only.
"""

import re
from dataclasses import dataclass

import numpy as np

from deploy.board.errors import BadInput

_SPECIAL = {"BINARY": (1, False), "BIPOLAR": (1, False), "TERNARY": (2, True)}
_BLOCK = 1 << 18  # values worked on at a time: what the caches of a small processor hold


@dataclass(frozen=True)
class DataType:
    """A FINN data type of 1 to 64 bits by its name: INT6, UINT5, BIPOLAR, FIXED<8,4>, FLOAT32...

    Attributes:
        name: FINN's name.
        bits: of one element.
        signed: stored as two's complement.
        step: value of the lowest bit; 1 for all but fixed point.
    """

    name: str
    bits: int
    signed: bool
    step: float = 1.0

    @classmethod
    def parse(cls, name: str) -> "DataType":
        """Return the type called `name`.

        Raises:
            BadInput: there is no such type.
        """
        if name in _SPECIAL:
            return cls(name, *_SPECIAL[name])
        if match := re.fullmatch(r"(U?)INT([1-9]\d?)", name):
            bits, signed, step = int(match[2]), not match[1], 1.0
        elif match := re.fullmatch(r"FIXED<([1-9]\d?),([1-9]\d?)>", name):
            bits, signed, step = int(match[1]), True, 2.0 ** (int(match[2]) - int(match[1]))
        elif name in ("FLOAT16", "FLOAT32"):
            bits, signed, step = int(name[5:]), True, 1.0
        else:
            raise BadInput(f"there is no FINN data type {name!r}")
        if bits > 64 or (name.startswith("FIXED") and step >= 1.0):
            raise BadInput(f"there is no FINN data type {name!r} of 1 to 64 bits")
        return cls(name, bits, signed, step)

    @property
    def is_float(self) -> bool:
        """Whether elements are IEEE 754 numbers."""
        return self.name.startswith("FLOAT")

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest stored integer; not for floats."""
        if self.name == "TERNARY":
            return -1, 1
        if self.signed:
            return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        return 0, (1 << self.bits) - 1

    @property
    def container(self) -> np.dtype:
        """The smallest numpy type that holds an unpacked element."""
        if self.is_float:
            return np.dtype(f"<f{self.bits // 8}")
        if self.step != 1.0:
            return np.dtype("<f8" if self.bits > 24 else "<f4")
        size = _container_bytes(self.bits)
        return np.dtype(f"{'<i' if self.signed or self.name == 'BIPOLAR' else '<u'}{size}")


def word_bytes(datatype: DataType, lanes: int) -> int:
    """Return the bytes of a stream word of `lanes` elements."""
    return -(-datatype.bits * lanes // 8)


def pack(values: np.ndarray, datatype: DataType) -> np.ndarray:
    """Pack the innermost axis into bytes.

    Args:
        values: (..., lanes), numbers that the type can hold.
        datatype: of one element.

    Returns:
        uint8 (..., word_bytes(datatype, lanes)).

    Raises:
        BadInput: a value is none of the type's.
    """
    values = np.asarray(values)
    lanes = values.shape[-1]
    packed = np.empty((values.size // lanes, word_bytes(datatype, lanes)), np.uint8)
    rows, size = values.reshape(-1, lanes), max(1, _BLOCK // lanes)
    for start in range(0, len(rows), size):
        codes = _codes(rows[start : start + size], datatype)
        _shift_together(codes, datatype.bits, packed[start : start + size])
    return packed.reshape(*values.shape[:-1], -1)


def unpack(packed: np.ndarray, datatype: DataType, lanes: int) -> np.ndarray:
    """Undo `pack`: uint8 (..., bytes) to numbers (..., lanes) in the type's `container`.

    Raises:
        ValueError: the innermost axis is not a word of that many elements.
    """
    packed = np.ascontiguousarray(packed, np.uint8)
    if packed.shape[-1] != word_bytes(datatype, lanes):
        raise ValueError(f"{packed.shape[-1]} bytes are no word of {lanes} {datatype.name}")
    rows = packed.reshape(-1, packed.shape[-1])
    values = np.empty((len(rows), lanes), datatype.container)
    size = max(1, _BLOCK // lanes)
    for start in range(0, len(rows), size):
        codes = _split(rows[start : start + size], datatype.bits, lanes)
        values[start : start + size] = _values(codes, datatype)
    return values.reshape(*packed.shape[:-1], lanes)


def _container_bytes(bits: int) -> int:
    return next(size for size in (1, 2, 4, 8) if bits <= 8 * size)


def _codes(values: np.ndarray, datatype: DataType) -> np.ndarray:
    """Return each element's bits as an unsigned integer of the smallest size."""
    size = _container_bytes(datatype.bits)
    if datatype.is_float:
        return np.ascontiguousarray(values, f"<f{size}").view(f"<u{size}")
    if datatype.step != 1.0:
        values = values / datatype.step
    if datatype.name == "BIPOLAR":
        if not np.isin(values, (-1, 1)).all():
            raise BadInput("a value is neither -1 nor 1: BIPOLAR holds no other")
        return (values > 0).astype(np.uint8)
    low, high = datatype.range
    if values.dtype.kind == "f" and (values != np.rint(values)).any():
        raise BadInput(f"a value is no whole multiple of {datatype.name}'s step")
    # Where the values' own type holds nothing else, there is nothing to check.
    if values.dtype.kind not in "iu" or not (
        low <= np.iinfo(values.dtype).min and np.iinfo(values.dtype).max <= high
    ):
        # Python's numbers compare exactly, for 64 bits and infinities too.
        smallest, largest = values.min(initial=0).item(), values.max(initial=0).item()
        if smallest < low or largest > high:
            worst = smallest if smallest < low else largest
            raise BadInput(f"value {worst} does not fit {datatype.name} ({low}..{high})")
    if values.dtype.kind == "f":
        values = values.astype(np.uint64 if datatype.bits == 64 and low == 0 else np.int64)
    codes = values.astype(f"<u{size}")
    if datatype.bits < 8 * size and low < 0:
        codes &= codes.dtype.type((1 << datatype.bits) - 1)
    return codes


def _values(codes: np.ndarray, datatype: DataType) -> np.ndarray:
    """Undo `_codes`."""
    if datatype.is_float:
        return codes.view(datatype.container)
    if datatype.name == "BIPOLAR":
        return codes.astype(np.int8) * 2 - 1
    if datatype.signed:
        spare = 8 * codes.dtype.itemsize - datatype.bits
        codes = np.left_shift(codes, codes.dtype.type(spare)).view(f"<i{codes.dtype.itemsize}")
        codes = np.right_shift(codes, codes.dtype.type(spare))
    return codes if datatype.step == 1.0 else codes * datatype.step


def _group(bits: int, lanes: int) -> tuple[int, int]:
    """Return how many lanes to shift into one integer, and how many bytes those fill exactly."""
    if bits * lanes <= 64:
        return lanes, -(-bits * lanes // 8)
    group = 8 // np.gcd(bits, 8)
    return int(group), int(group) * bits // 8


def _shift_together(codes: np.ndarray, bits: int, packed: np.ndarray) -> None:
    """Write rows of codes as little-endian words of bytes into `packed`."""
    size = codes.dtype.itemsize
    rows, lanes = codes.shape
    if bits == 8 * size:
        packed[:] = codes.view(np.uint8).reshape(rows, -1)
        return
    group, group_bytes = _group(bits, lanes)
    if group_bytes > 8:
        expanded = np.unpackbits(
            codes.view(np.uint8).reshape(rows, lanes, size), axis=-1, bitorder="little"
        )[..., :bits]
        packed[:] = np.packbits(expanded.reshape(rows, -1), axis=-1, bitorder="little")
        return
    kind = np.dtype(f"<u{_container_bytes(8 * group_bytes)}")
    for index, start in enumerate(range(0, lanes, group)):
        part = codes[:, start : start + group]
        word = part[:, 0].astype(kind)
        for lane in range(1, part.shape[1]):
            word |= np.left_shift(part[:, lane], kind.type(bits * lane), dtype=kind)
        target = packed[:, index * group_bytes : (index + 1) * group_bytes]
        target[:] = word.view(np.uint8).reshape(rows, -1)[:, : target.shape[1]]


def _split(packed: np.ndarray, bits: int, lanes: int) -> np.ndarray:
    """Undo `_shift_together`."""
    rows, size = len(packed), _container_bytes(bits)
    kind = np.dtype(f"<u{size}")
    if bits == 8 * size:
        return packed.view(kind)
    codes = np.empty((rows, lanes), kind)
    group, group_bytes = _group(bits, lanes)
    if group_bytes > 8:
        expanded = np.unpackbits(packed, axis=-1, bitorder="little")[:, : bits * lanes]
        padded = np.zeros((rows, lanes, 8 * size), np.uint8)
        padded[..., :bits] = expanded.reshape(rows, lanes, bits)
        return np.packbits(padded, axis=-1, bitorder="little").view(kind).reshape(rows, lanes)
    word_size = _container_bytes(8 * group_bytes)
    mask = (1 << bits) - 1
    for index, start in enumerate(range(0, lanes, group)):
        source = packed[:, index * group_bytes : (index + 1) * group_bytes]
        words = np.zeros((rows, word_size), np.uint8)
        words[:, : source.shape[1]] = source
        word = words.view(f"<u{word_size}")[:, 0]
        for lane in range(start, min(start + group, lanes)):
            shifted = np.right_shift(word, word.dtype.type(bits * (lane - start)))
            codes[:, lane] = shifted & word.dtype.type(mask)
    return codes
