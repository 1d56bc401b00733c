"""The kernels that double, add and concatenate streams: where branches of a network part and meet.

Resource estimates are rough LUT counts, as in `build/rtl/kernels.py`.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from build.rtl.kernel import Junction, Resources, Stream


@dataclasses.dataclass(frozen=True)
class StreamFork(Junction):
    """Give each word to several streams."""

    module: ClassVar[str] = "stream_fork"

    stream: Stream
    frame_words: int
    copies: int

    @property
    def inputs(self) -> tuple[Stream, ...]:
        """The stream."""
        return (self.stream,)

    @property
    def outputs(self) -> tuple[Stream, ...]:
        """Its copies."""
        return (self.stream,) * self.copies

    @property
    def loads(self) -> tuple[int, ...]:
        """All words."""
        return (self.frame_words,)

    @property
    def yields(self) -> tuple[int, ...]:
        """All words, each time."""
        return (self.frame_words,) * self.copies

    def parameters(self) -> dict[str, int | str | Sequence[int]]:
        """Parameters of stream_fork.sv."""
        return {"BITS": self.stream.used_bits, "COPIES": self.copies}

    def compute(
        self, streams: Sequence[np.ndarray], memory: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """Repeat the words."""
        return [streams[0]] * self.copies

    def resources(self) -> Resources:
        """Handshakes; the word's register takes no LUT."""
        return Resources(lut=2 + 2 * self.copies)


@dataclasses.dataclass(frozen=True)
class StreamAdd(Junction):
    """Add two streams, element by element."""

    module: ClassVar[str] = "stream_add"

    left: Stream
    right: Stream
    frame_words: int
    output_bits: int
    output_signed: bool

    def __post_init__(self) -> None:
        assert self.left.lanes == self.right.lanes, "both streams must have as many lanes"

    @property
    def inputs(self) -> tuple[Stream, ...]:
        """Both terms."""
        return self.left, self.right

    @property
    def outputs(self) -> tuple[Stream, ...]:
        """The sum."""
        return (Stream(self.left.lanes, self.output_bits, self.output_signed),)

    @property
    def loads(self) -> tuple[int, ...]:
        """As many words of both."""
        return self.frame_words, self.frame_words

    @property
    def yields(self) -> tuple[int, ...]:
        """As many."""
        return (self.frame_words,)

    def parameters(self) -> dict[str, int | str | Sequence[int]]:
        """Parameters of stream_add.sv."""
        return {
            "PE": self.left.lanes,
            "A_BITS": self.left.bits,
            "B_BITS": self.right.bits,
            "S_BITS": self.output_bits,
            "A_SIGNED": self.left.signed,
            "B_SIGNED": self.right.signed,
        }

    def compute(
        self, streams: Sequence[np.ndarray], memory: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """Add the words."""
        return [streams[0] + streams[1]]

    def resources(self) -> Resources:
        """An adder a lane."""
        return Resources(lut=4 + self.left.lanes * self.output_bits)


@dataclasses.dataclass(frozen=True)
class StreamConcat(Junction):
    """Put the channels of several streams one behind the other, position by position."""

    module: ClassVar[str] = "stream_concat"

    streams: tuple[Stream, ...]
    channels: tuple[int, ...]
    positions: int
    output_bits: int
    output_signed: bool

    def __post_init__(self) -> None:
        assert len({stream.lanes for stream in self.streams}) == 1, "all words must be as wide"
        assert not any(count % self.lanes for count in self.channels), "SIMD must divide channels"

    @property
    def lanes(self) -> int:
        """Elements a word, in all streams."""
        return self.streams[0].lanes

    @property
    def folds(self) -> tuple[int, ...]:
        """Words a position of each stream."""
        return tuple(count // self.lanes for count in self.channels)

    @property
    def inputs(self) -> tuple[Stream, ...]:
        """The streams in the order of their channels."""
        return self.streams

    @property
    def outputs(self) -> tuple[Stream, ...]:
        """All channels."""
        return (Stream(self.lanes, self.output_bits, self.output_signed),)

    @property
    def loads(self) -> tuple[int, ...]:
        """The words of each."""
        return tuple(self.positions * folds for folds in self.folds)

    @property
    def yields(self) -> tuple[int, ...]:
        """The words of all."""
        return (sum(self.loads),)

    def parameters(self) -> dict[str, int | str | Sequence[int]]:
        """Parameters of stream_concat.sv."""
        widths = [stream.used_bits for stream in self.streams]
        return {
            "N": len(self.streams),
            "LANES": self.lanes,
            "IN_BITS": sum(widths),
            "OUT_BITS": self.output_bits,
            "MOST_FOLDS": max(self.folds),
            "FOLDS": self.folds,
            "BITS": [stream.bits for stream in self.streams],
            "OFFSETS": [sum(widths[:index]) for index in range(len(widths))],
            "SIGNED": [int(stream.signed) for stream in self.streams],
        }

    def compute(
        self, streams: Sequence[np.ndarray], memory: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """Concatenate the words of each position."""
        parts = [
            words.reshape(-1, folds, self.lanes)
            for words, folds in zip(streams, self.folds, strict=True)
        ]
        return [np.concatenate(parts, axis=1).reshape(-1, self.lanes)]

    def resources(self) -> Resources:
        """A multiplexer for every output bit."""
        inputs_a_lut = 4
        selects = math.ceil(len(self.streams) / inputs_a_lut)
        return Resources(lut=12 + selects * self.lanes * self.output_bits)
