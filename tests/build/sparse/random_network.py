"""Random sparse networks in the integer form: no training, no graph, any shape."""

from dataclasses import replace

import numpy as np

from build.sparse.network import ArgMax, Layer, Linear, MaxPool, Network, Requantize


def staircase(rng, low, high, bits, signed):
    """A random monotone staircase: rising or falling, with jumps, or constant."""
    return stairs_at(rng, np.arange(low, high) + 1, bits, signed)


def stairs_at(rng, places, bits, signed):
    """The same with thresholds among these."""
    lowest = -(2 ** (bits - 1)) if signed else 0
    levels = 2**bits
    count = int(rng.integers(0, min(levels - 1, len(places)) + 1)) if rng.random() < 0.9 else 0
    at = np.sort(rng.choice(places, count, replace=False))
    values = np.sort(rng.choice(np.arange(lowest, lowest + levels), count + 1, replace=False))
    return at, values if rng.random() < 0.7 else values[::-1]


def random_network(
    seed, filters=(5, 4, 6), length=256, density=0.4, input_bits=4, classes=5, tap_density=0.7
):
    """A first convolution, a block a filter count (depthwise, pointwise, pooling), two dense."""
    rng = np.random.default_rng(seed)
    stride = 4
    low, high = -(2 ** (input_bits - 1)), 2 ** (input_bits - 1) - 1
    network = Network(low, high, 2, length, 0.25, ())
    layers: list[Layer] = []

    tensors = [random_frames(network, 16, seed)]

    def tensor():
        return Network(low, high, 2, length, 0.25, tuple(layers)).tensors[-1]

    def add(layer):
        layers.append(layer)
        tensors.append(layer.compute(tensors[-1]))

    def linear(outputs, taps=1, stride=1, padding=0, depthwise=False):
        inputs = tensor().channels
        weights = rng.integers(-15, 16, (outputs, inputs, taps))
        weights *= rng.random(weights.shape) < (tap_density if depthwise else density)
        if depthwise:
            weights *= np.eye(inputs, dtype=np.int64)[..., None]
        bias = np.zeros(outputs, np.int64)
        name = f"layer{len(layers)}"
        add(Linear(name, weights, bias, stride, padding, tuple(range(outputs))))

    def quantize(bits, signed):
        # Thresholds among values that occur: elsewhere most channels would be constant.
        seen = tensors[-1].transpose(1, 0, 2).reshape(tensor().channels, -1)
        stairs = [stairs_at(rng, np.unique(row), bits, signed) for row in seen]
        thresholds, values = zip(*stairs, strict=True)
        add(Requantize(f"layer{len(layers)}", thresholds, values))

    def pool(size):
        add(MaxPool(f"layer{len(layers)}", size))

    linear(filters[0], 8, stride, 4)
    quantize(3, False)
    linear(filters[0])
    quantize(5, True)
    for number, outputs in enumerate(filters):
        linear(tensor().channels, 3, 1, 1, depthwise=True)
        quantize(3, False)
        linear(outputs)
        quantize(5, True)
        pool(tensor().positions if number == len(filters) - 1 else 2)
    linear(7)
    quantize(4, False)
    linear(classes)
    # No class wins by its bias.
    bias = -np.median(tensors[-1], axis=(0, 2)).astype(np.int64)
    layers[-1] = replace(layers[-1], bias=bias)
    layers.append(ArgMax("classes"))
    return replace(network, layers=tuple(layers))


def random_frames(network, count, seed=0):
    """Integers (count, channels, length), the extremes often."""
    rng = np.random.default_rng(seed)
    shape = (count, network.channels, network.length)
    frames = rng.integers(network.low, network.high + 1, shape)
    extreme = np.where(rng.random(shape) < 0.5, network.low, network.high)
    frames = np.where(rng.random((count, 1, 1)) < 0.3, extreme, frames)
    # Quiet ones too: a pooling over the frame takes all loud ones to the same ends.
    return frames >> rng.integers(0, 4, (count, 1, 1))
