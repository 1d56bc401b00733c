"""The integer network as a straight line of layers, and its meaning in numpy.

Every tensor is int64 (frames, channels, positions). Layers are frozen: a pass makes a new network.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Linear:
    """A matrix of small integers, most of them zero, over a window of positions.

    A convolution (depthwise: one input an output), or a dense layer where there is one position.

    Attributes:
        name: unique, an identifier.
        weights: int64 (outputs, inputs, taps).
        bias: int64 (outputs,); zero where a quantizer follows, whose thresholds hold it.
        stride: positions from one window to the next.
        padding: zeros in front of the first position and behind the last.
        kept: which of the original layer's outputs these are.
    """

    name: str
    weights: np.ndarray
    bias: np.ndarray
    stride: int
    padding: int
    kept: tuple[int, ...]

    @property
    def taps(self) -> int:
        """Positions in a window."""
        return self.weights.shape[2]

    @property
    def matrix(self) -> np.ndarray:
        """The weights (outputs, taps x inputs), the column of an input at a tap tap-major."""
        return self.weights.transpose(0, 2, 1).reshape(len(self.weights), -1)

    def positions(self, before: int) -> int:
        """Return how many windows there are over `before` positions."""
        return (before + 2 * self.padding - self.taps) // self.stride + 1

    def columns(self, x: np.ndarray) -> np.ndarray:
        """Return the windows (N, positions, taps x inputs), in the order of the matrix' columns."""
        padded = np.pad(x, ((0, 0), (0, 0), (self.padding, self.padding)))
        view = np.lib.stride_tricks.sliding_window_view(padded, self.taps, axis=2)
        view = view[:, :, :: self.stride].transpose(0, 2, 3, 1)
        return view.reshape(*view.shape[:2], -1)

    def compute(self, x: np.ndarray) -> np.ndarray:
        """Return the accumulators (N, outputs, positions)."""
        # float64 is exact below 2^53, and fast.
        sums = self.columns(x).astype(np.float64) @ self.matrix.T
        return sums.astype(np.int64).transpose(0, 2, 1) + self.bias[:, None]

    def range(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the smallest and largest accumulator of each output, for inputs' of each."""
        if self.padding:
            low, high = np.minimum(low, 0), np.maximum(high, 0)
        ends = np.stack([self.weights * low[:, None], self.weights * high[:, None]])
        return (
            ends.min(axis=0).sum(axis=(1, 2)) + self.bias,
            ends.max(axis=0).sum(axis=(1, 2)) + self.bias,
        )


@dataclass(frozen=True)
class Requantize:
    """A staircase a channel: `values[i]` from `thresholds[i - 1]` on, `values[0]` below all.

    Any step is possible; there is one value more than thresholds.
    """

    name: str
    thresholds: tuple[np.ndarray, ...]
    values: tuple[np.ndarray, ...]

    def hands_on(self, channel: int) -> bool:
        """Whether a channel's accumulators leave as they are."""
        at, values = self.thresholds[channel], self.values[channel]
        return bool(np.array_equal(at, values[1:]) and (np.diff(values) == 1).all())

    def compute(self, x: np.ndarray) -> np.ndarray:
        """Return the values (N, channels, positions) of accumulators."""
        result = np.empty_like(x)
        for channel, (at, values) in enumerate(zip(self.thresholds, self.values, strict=True)):
            result[:, channel] = values[np.searchsorted(at, x[:, channel], side="right")]
        return result

    def range(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the smallest and largest value of each channel."""
        seen = [
            values[slice(*(np.searchsorted(at, [first, last], side="right") + [0, 1]))]
            for at, values, first, last in zip(self.thresholds, self.values, low, high, strict=True)
        ]
        return np.array([v.min() for v in seen]), np.array([v.max() for v in seen])


@dataclass(frozen=True)
class MaxPool:
    """The largest of every `size` positions; what is left over at the end is dropped."""

    name: str
    size: int

    def compute(self, x: np.ndarray) -> np.ndarray:
        """Return (N, channels, positions // size)."""
        whole = x.shape[2] // self.size
        return x[:, :, : whole * self.size].reshape(*x.shape[:2], whole, self.size).max(axis=3)

    def range(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the range unchanged."""
        return low, high


@dataclass(frozen=True)
class ArgMax:
    """The index of the largest, the first among equals."""

    name: str

    def compute(self, x: np.ndarray) -> np.ndarray:
        """Return (N, 1, positions)."""
        return x.argmax(axis=1)[:, None]

    def range(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the range of the index."""
        return np.array([0]), np.array([len(low) - 1])


Layer = Linear | Requantize | MaxPool | ArgMax


@dataclass(frozen=True)
class Tensor:
    """What is known of the values between two layers.

    Attributes:
        low: int64 (channels,), smallest value of each.
        high: int64 (channels,), largest.
        positions: a frame's.
    """

    low: np.ndarray
    high: np.ndarray
    positions: int

    @property
    def channels(self) -> int:
        """How many."""
        return len(self.low)

    @property
    def signed(self) -> bool:
        """Whether any value is negative."""
        return bool(self.low.min() < 0)

    @property
    def bits(self) -> int:
        """Least width that holds every channel."""
        return max(bits_of(int(self.low.min()), int(self.high.max())), 1)


def bits_of(low: int, high: int) -> int:
    """Return the bits of the integers from low to high, two's complement if any is negative."""
    if low >= 0:
        return high.bit_length()
    return max((-low - 1).bit_length(), high.bit_length()) + 1


@dataclass(frozen=True)
class Network:
    """Layers in order, and the integers that go in.

    Attributes:
        low: smallest input.
        high: largest.
        channels: of the input.
        length: positions of the input.
        step: what one of the input's integers stands for.
        layers: in order.
    """

    low: int
    high: int
    channels: int
    length: int
    step: float
    layers: tuple[Layer, ...]

    def quantize(self, frames: np.ndarray) -> np.ndarray:
        """Return the integers (N, channels, length) of float frames of the same shape."""
        scaled = np.rint(np.asarray(frames, np.float64) / self.step)
        return np.clip(scaled, self.low, self.high).astype(np.int64)

    def trace(self, x: np.ndarray) -> Iterator[tuple[Layer, np.ndarray]]:
        """Yield every layer with its result for integers (N, channels, length)."""
        for layer in self.layers:
            x = layer.compute(x)
            yield layer, x

    def classes(self, x: np.ndarray) -> np.ndarray:
        """Return the class (N,) of integers (N, channels, length)."""
        *_, (_, last) = self.trace(x)
        return last[:, 0, 0]

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """The input, then every layer's result: range analysis."""
        full = np.ones(self.channels, np.int64)
        tensor = Tensor(full * self.low, full * self.high, self.length)
        found = [tensor]
        for layer in self.layers:
            positions = tensor.positions
            if isinstance(layer, Linear):
                positions = layer.positions(positions)
            elif isinstance(layer, MaxPool):
                positions //= layer.size
            tensor = Tensor(*layer.range(tensor.low, tensor.high), positions)
            found.append(tensor)
        return tuple(found)
