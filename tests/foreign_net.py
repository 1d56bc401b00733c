"""Networks of a user's own for tests of `aaronnet train --network`: a file that imports nothing.

They take frames (N, 2, 128) and tell eleven classes apart.
"""

import brevitas.nn as qnn
from brevitas.quant import Int8ActPerTensorFloat, Int8WeightPerChannelFloat
from torch import nn


def signed(bits: int) -> nn.Module:
    return qnn.QuantIdentity(bit_width=bits, act_quant=Int8ActPerTensorFloat)


def block(inputs: int, outputs: int, kernel: int, **options) -> list[nn.Module]:
    padding = kernel // 2
    options = {"padding": padding, "bias": False, "weight_bit_width": 4} | options
    return [qnn.QuantConv1d(inputs, outputs, kernel, **options), nn.BatchNorm1d(outputs)]


def relu() -> nn.Module:
    return qnn.QuantReLU(bit_width=4)


class Straight(nn.Module):
    """Like VGG: convolutions, pooling, dense layers."""

    def __init__(self, channels: int = 6):
        super().__init__()
        self.quantize = signed(6)
        self.features = nn.Sequential(
            *(*block(2, channels, 5), relu(), nn.MaxPool1d(4)),
            *(*block(channels, 8, 3, weight_quant=Int8WeightPerChannelFloat), relu()),
            nn.MaxPool1d(4),
        )
        self.head = qnn.QuantLinear(64, 11, bias=True, weight_bit_width=4)

    def forward(self, x):
        return self.head(self.features(self.quantize(x)).flatten(1))


class Residual(nn.Module):
    """A branch that is added to what it came from."""

    def __init__(self):
        super().__init__()
        self.quantize = signed(6)
        self.stem = nn.Sequential(*block(2, 6, 4, padding=0, stride=4), relu())
        self.branch = nn.Sequential(*block(6, 6, 3), relu())
        self.join = signed(5)
        self.pool = nn.MaxPool1d(4)
        self.head = qnn.QuantLinear(48, 11, bias=True, weight_bit_width=4)

    def forward(self, x):
        x = self.stem(self.quantize(x))
        return self.head(self.pool(self.join(x + self.branch(x))).flatten(1))


class Rows(nn.Module):
    """Two-dimensional convolutions over (N, 1, 2, 128), and a quantized tensor as scores."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            signed(6),
            qnn.QuantConv2d(1, 4, (2, 8), stride=(1, 8), bias=False, weight_bit_width=4),
            *(nn.BatchNorm2d(4), relu(), nn.Flatten()),
            qnn.QuantLinear(64, 11, bias=False, weight_bit_width=4),
            qnn.QuantIdentity(bit_width=8, return_quant_tensor=True),
        )

    def forward(self, x):
        return self.layers(x)
