"""Small random networks of the kinds of layers that are built, one a seed."""

from pathlib import Path

import brevitas.nn as qnn
import numpy as np
from torch import nn

from tests.build.foreign import (
    BIPOLAR,
    PER_CHANNEL,
    SCALED_BIAS,
    Frame,
    conv,
    export,
    identity,
    linear,
    quantized_input,
    relu,
)

MOST_CHANNELS, MOST_SAMPLES, MOST_LAYERS = 8, 64, 3


class Draw:
    """A network under construction: its layers, channels C and positions L so far."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        self.channels = int(self.rng.integers(1, 6))
        self.length = int(self.rng.integers(12, MOST_SAMPLES + 1))
        self.frame: Frame = (self.channels, self.length)
        self.layers: list[nn.Module] = [quantized_input()]
        if self.chance(0.2):
            self.layers += [nn.BatchNorm1d(self.channels), identity(5)]
        for _ in range(int(self.rng.integers(1, MOST_LAYERS + 1))):
            self.convolution()
            self.activation()
            if self.chance(0.5):
                self.pooling()
        self.ending(int(self.rng.integers(2, 9)))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def one_of(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def weights(self) -> dict:
        kind = self.one_of({}, {}, PER_CHANNEL, BIPOLAR)
        bits = {} if kind is BIPOLAR else {"weight_bit_width": int(self.rng.integers(2, 7))}
        return kind | bits | self.one_of({}, {"bias": True}, SCALED_BIAS)

    def convolution(self) -> None:
        kernel = int(self.rng.integers(1, min(6, self.length) + 1))
        dilation = int(self.rng.integers(1, 3)) if 2 * kernel < self.length else 1
        padding = int(self.rng.integers(0, kernel))
        reach = (kernel - 1) * dilation + 1
        if self.chance(0.2):
            self.layers.append(nn.ConstantPad1d((1, 2), 0.0))
            self.length += 3
        stride = int(self.rng.integers(1, 4)) if self.length > 8 else 1
        groups = self.one_of(1, 1, self.channels)
        outputs = groups * int(self.rng.integers(1, MOST_CHANNELS // groups + 1))
        form = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        self.layers.append(conv(self.channels, outputs, kernel, **form, **self.weights()))
        self.length = (self.length + 2 * padding - reach) // stride + 1
        self.channels = outputs

    def activation(self) -> None:
        if self.length > 3 and self.chance(0.15):
            self.layers.append(nn.MaxPool1d(2))
            self.length //= 2
        if self.chance(0.7):
            self.layers.append(nn.BatchNorm1d(self.channels))
        bits = int(self.rng.integers(2, 6))
        hard = {"min_val": -1.0, "max_val": 1.0}
        self.layers.append(
            self.one_of(
                relu(bits), relu(bits), identity(bits), qnn.QuantHardTanh(bit_width=bits, **hard)
            )
        )
        if self.chance(0.2):
            self.layers += [nn.BatchNorm1d(self.channels), identity(4)]

    def pooling(self) -> None:
        if self.length < 4:
            return
        kernel, stride = int(self.rng.integers(2, 4)), int(self.rng.integers(1, 4))
        self.length = (self.length - kernel) // stride + 1
        if self.chance(0.6):
            self.layers.append(nn.MaxPool1d(kernel, stride))
        else:
            self.layers += [nn.AvgPool1d(kernel, stride), identity(5)]

    def ending(self, classes: int) -> None:
        end = self.one_of("flat", "flat", "mean", "scores", "dense")
        if end == "mean":
            self.layers += [nn.AdaptiveAvgPool1d(1), nn.Flatten(), identity(6)]
            self.length = 1
        elif end == "scores":
            self.layers += [conv(self.channels, classes, 1, **self.weights())]
            self.layers += [nn.AdaptiveAvgPool1d(1), nn.Flatten()]
            return
        else:
            self.layers.append(nn.Flatten())
        inputs = self.channels * self.length
        if end == "dense":
            self.layers += [linear(inputs, 7, **self.weights()), nn.BatchNorm1d(7), relu()]
            inputs = 7
        self.layers.append(linear(inputs, classes, **self.weights()))
        if self.chance(0.2):
            self.layers.append(nn.BatchNorm1d(classes))


def export_random(seed: int, path: Path) -> Path:
    """Write the network of a seed."""
    return export(path, lambda: Draw(seed).layers, seed, frame=Draw(seed).frame)
