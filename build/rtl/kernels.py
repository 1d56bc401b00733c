"""The kernels: typed parameters, cycles, resources and numpy references.

Word orders are those of FINN's streams (finn-plus 1.6.1): a depthwise sliding window generator
emits, per output position, channel folds outermost, then kernel taps, then the PE channel lanes.
Resource estimates are rough LUT counts in the manner of FINN's own (6-input LUTs, a DSP a
multiplier); `aaronnet synth` measures.
"""

import dataclasses
import math
from typing import ClassVar

import numpy as np

from build.rtl.kernel import Kernel, Resources, Stream


@dataclasses.dataclass(frozen=True)
class DepthwiseVVU(Kernel):
    """Depthwise convolution without activation: a dot product over the taps for each channel."""

    module: ClassVar[str] = "depthwise_vvu"

    channels: int
    taps: int
    positions: int
    pe: int
    input_bits: int
    input_signed: bool
    weight_bits: int
    weight_signed: bool
    output_bits: int
    output_signed: bool
    simd: int = 1
    ram_style: str = "auto"

    def __post_init__(self) -> None:
        assert self.channels % self.pe == 0, "PE must divide the channels"
        assert self.taps % self.simd == 0, "SIMD must divide the kernel size"

    @property
    def folds(self) -> int:
        """Channel folds: words a position would take with all taps in parallel."""
        return self.channels // self.pe

    @property
    def input(self) -> Stream:
        """SIMD taps of PE channels, channels innermost."""
        return Stream(self.simd * self.pe, self.input_bits, self.input_signed)

    @property
    def output(self) -> Stream:
        """PE dot products."""
        return Stream(self.pe, self.output_bits, self.output_signed)

    @property
    def words(self) -> tuple[int, int]:
        """One word a step in, one a channel fold out."""
        output = self.positions * self.folds
        return output * (self.taps // self.simd), output

    @property
    def memory(self) -> Stream:
        """PE x SIMD weights, SIMD innermost: FINN's memblock.dat for a VVAU_rtl."""
        return Stream(self.pe * self.simd, self.weight_bits, self.weight_signed)

    @property
    def memory_depth(self) -> int:
        """One word a step of a position."""
        return self.folds * (self.taps // self.simd)

    def parameters(self) -> dict[str, int | str]:
        """Parameters of depthwise_vvu.sv."""
        return {
            "FOLDS": self.folds,
            "TAPS": self.taps,
            "PE": self.pe,
            "SIMD": self.simd,
            "A_BITS": self.input_bits,
            "W_BITS": self.weight_bits,
            "P_BITS": self.output_bits,
            "A_SIGNED": self.input_signed,
            "W_SIGNED": self.weight_signed,
            "RAM_STYLE": self.ram_style,
        }

    def reference(self, words: np.ndarray, memory: np.ndarray | None = None) -> np.ndarray:
        """Sum activation times weight over the taps of each position and channel fold."""
        assert memory is not None
        steps = self.taps // self.simd
        a = words.reshape(-1, self.folds, steps, self.simd, self.pe)
        w = memory.reshape(self.folds, steps, self.pe, self.simd)
        return np.einsum("nfkse,fkes->nfe", a, w).reshape(-1, self.pe)

    def resources(self) -> Resources:
        """One DSP a multiplier; LUTs for control and for adding SIMD products."""
        adders = self.pe * (self.simd - 1) * self.output_bits
        memory_bits = self.memory_depth * self.memory.used_bits
        in_block = self.memory_depth > 128
        return Resources(
            lut=40 + adders + (0 if in_block else math.ceil(memory_bits / 64)),
            dsp=self.pe * self.simd,
            bram18=math.ceil(self.memory.used_bits / 36) * math.ceil(self.memory_depth / 512)
            if in_block
            else 0,
        )


@dataclasses.dataclass(frozen=True)
class WindowMax(Kernel):
    """Maximum over windows: max pooling behind a depthwise sliding window generator."""

    module: ClassVar[str] = "position_max"

    channels: int
    window: int
    positions: int
    pe: int
    bits: int
    signed: bool

    def __post_init__(self) -> None:
        assert self.channels % self.pe == 0, "PE must divide the channels"

    @property
    def input(self) -> Stream:
        """PE channels of one tap."""
        return Stream(self.pe, self.bits, self.signed)

    @property
    def output(self) -> Stream:
        """PE maxima."""
        return Stream(self.pe, self.bits, self.signed)

    @property
    def words(self) -> tuple[int, int]:
        """WINDOW words in for each word out."""
        output = self.positions * self.channels // self.pe
        return output * self.window, output

    def parameters(self) -> dict[str, int | str]:
        """Parameters of position_max.sv: to it a window's words are positions of one word."""
        return {
            "WINDOW": self.window,
            "WINDOWS": 1,
            "SURPLUS": 0,
            "FOLDS": 1,
            "PE": self.pe,
            "BITS": self.bits,
            "SIGNED": self.signed,
        }

    def reference(self, words: np.ndarray, memory: np.ndarray | None = None) -> np.ndarray:
        """Take each lane's maximum over consecutive groups of WINDOW words."""
        return words.reshape(-1, self.window, self.pe).max(axis=1)

    def resources(self) -> Resources:
        """Compare and select for every lane."""
        return Resources(lut=10 + math.ceil(1.5 * self.pe * self.bits))


@dataclasses.dataclass(frozen=True)
class Argmax(Kernel):
    """Index of the largest of `labels` values, the first of equal ones (label select, K = 1)."""

    module: ClassVar[str] = "argmax"

    labels: int
    pe: int
    bits: int
    signed: bool
    index_bits: int
    vectors: int = 1

    def __post_init__(self) -> None:
        assert self.labels % self.pe == 0, "PE must divide the labels"
        assert self.labels <= 1 << self.index_bits, "the index type is too narrow"

    @property
    def input(self) -> Stream:
        """PE values."""
        return Stream(self.pe, self.bits, self.signed)

    @property
    def output(self) -> Stream:
        """One index."""
        return Stream(1, self.index_bits, False)

    @property
    def words(self) -> tuple[int, int]:
        """All labels in, one index out."""
        return self.vectors * self.labels // self.pe, self.vectors

    def parameters(self) -> dict[str, int | str]:
        """Parameters of argmax.sv."""
        return {
            "FOLDS": self.labels // self.pe,
            "PE": self.pe,
            "BITS": self.bits,
            "SIGNED": self.signed,
            "INDEX_BITS": self.index_bits,
        }

    def reference(self, words: np.ndarray, memory: np.ndarray | None = None) -> np.ndarray:
        """Return numpy's argmax of each vector, shape (vectors, 1)."""
        return words.reshape(-1, self.labels).argmax(axis=1)[:, None]

    def resources(self) -> Resources:
        """A comparator and a selector for each tree node and for the running best."""
        return Resources(lut=15 + math.ceil(self.pe * (1.5 * self.bits + self.index_bits)))


@dataclasses.dataclass(frozen=True)
class WidthConverter(Kernel):
    """Regroup a stream of elements from `lanes_in` to `lanes_out` a word."""

    module: ClassVar[str] = "width_converter"

    elements: int
    bits: int
    signed: bool
    lanes_in: int
    lanes_out: int

    def __post_init__(self) -> None:
        assert self.elements % self.lanes_in == 0 and self.elements % self.lanes_out == 0, (
            "a frame must be a whole number of words on both sides"
        )

    @property
    def input(self) -> Stream:
        """`lanes_in` elements."""
        return Stream(self.lanes_in, self.bits, self.signed)

    @property
    def output(self) -> Stream:
        """`lanes_out` elements."""
        return Stream(self.lanes_out, self.bits, self.signed)

    @property
    def words(self) -> tuple[int, int]:
        """All elements on both sides."""
        return self.elements // self.lanes_in, self.elements // self.lanes_out

    @property
    def chunk(self) -> int:
        """Elements that always move together."""
        return math.gcd(self.lanes_in, self.lanes_out)

    def parameters(self) -> dict[str, int | str]:
        """Parameters of width_converter.sv."""
        return {
            "CHUNK_BITS": self.chunk * self.bits,
            "IN": self.lanes_in // self.chunk,
            "OUT": self.lanes_out // self.chunk,
        }

    def reference(self, words: np.ndarray, memory: np.ndarray | None = None) -> np.ndarray:
        """Reshape."""
        return words.reshape(-1, self.lanes_out)

    def resources(self) -> Resources:
        """Count the sources of every buffer position: each pair of further ones takes a LUT."""
        taken, given = self.lanes_in // self.chunk, self.lanes_out // self.chunk
        size = taken + given - 1
        sources = sum(
            min(p + 1, taken, given, size - p) + (p + given < size) + 1 for p in range(size)
        )
        return Resources(lut=10 + math.ceil(sources / 2) * self.chunk * self.bits)


@dataclasses.dataclass(frozen=True)
class ChannelAdd(Kernel):
    """Add an integer constant to every channel (the bias of a last dense layer)."""

    module: ClassVar[str] = "channel_add"

    channels: int
    positions: int
    pe: int
    input_bits: int
    input_signed: bool
    constant_bits: int
    constant_signed: bool
    output_bits: int
    output_signed: bool
    ram_style: str = "auto"

    def __post_init__(self) -> None:
        assert self.channels % self.pe == 0, "PE must divide the channels"

    @property
    def folds(self) -> int:
        """Words a position."""
        return self.channels // self.pe

    @property
    def input(self) -> Stream:
        """PE channels."""
        return Stream(self.pe, self.input_bits, self.input_signed)

    @property
    def output(self) -> Stream:
        """PE sums."""
        return Stream(self.pe, self.output_bits, self.output_signed)

    @property
    def words(self) -> tuple[int, int]:
        """As many words out as in."""
        return self.positions * self.folds, self.positions * self.folds

    @property
    def memory(self) -> Stream:
        """PE constants."""
        return Stream(self.pe, self.constant_bits, self.constant_signed)

    @property
    def memory_depth(self) -> int:
        """One word a channel fold."""
        return self.folds

    def parameters(self) -> dict[str, int | str]:
        """Parameters of channel_add.sv."""
        return {
            "FOLDS": self.folds,
            "PE": self.pe,
            "A_BITS": self.input_bits,
            "C_BITS": self.constant_bits,
            "S_BITS": self.output_bits,
            "A_SIGNED": self.input_signed,
            "C_SIGNED": self.constant_signed,
            "RAM_STYLE": self.ram_style,
        }

    def reference(self, words: np.ndarray, memory: np.ndarray | None = None) -> np.ndarray:
        """Add the constants of each fold."""
        assert memory is not None
        sums = words.reshape(-1, self.folds, self.pe) + memory.reshape(self.folds, self.pe)
        return sums.reshape(-1, self.pe)

    def resources(self) -> Resources:
        """An adder for every lane and the constants in LUTs."""
        memory_bits = self.memory_depth * self.memory.used_bits
        return Resources(lut=10 + self.pe * self.output_bits + math.ceil(memory_bits / 64))


@dataclasses.dataclass(frozen=True)
class ChannelMul(ChannelAdd):
    """Multiply every channel by an integer constant."""

    def parameters(self) -> dict[str, int | str]:
        """Parameters of channel_add.sv, which multiplies too."""
        return super().parameters() | {"MULTIPLY": 1}

    def reference(self, words: np.ndarray, memory: np.ndarray | None = None) -> np.ndarray:
        """Multiply by the constants of each fold."""
        assert memory is not None
        products = words.reshape(-1, self.folds, self.pe) * memory.reshape(self.folds, self.pe)
        return products.reshape(-1, self.pe)

    def resources(self) -> Resources:
        """Partial products in LUTs for every lane, and the constants."""
        multiplier = self.input_bits * self.constant_bits
        memory_bits = self.memory_depth * self.memory.used_bits
        return Resources(lut=10 + self.pe * multiplier + math.ceil(memory_bits / 64))
