"""Small networks with branches, as other people write them."""

import brevitas.nn as qnn
import torch
from torch import nn

from tests.build.foreign import dense, stem


def act(bits: int = 4) -> nn.Module:
    return qnn.QuantIdentity(bit_width=bits)


def relu(bits: int = 4) -> nn.Module:
    return qnn.QuantReLU(bit_width=bits)


def conv(inputs: int, outputs: int, kernel: int = 3, **options) -> nn.Module:
    options = {"bias": False, "weight_bit_width": 4, "padding": kernel // 2} | options
    return qnn.QuantConv1d(inputs, outputs, kernel, **options)


class Residual(nn.Module):
    """x + f(x); both quantized alike, or each by its own quantizer."""

    def __init__(self, channels: int, shared: bool, kernel: int = 3):
        super().__init__()
        self.branch = nn.Sequential(
            *(conv(channels, channels, kernel), nn.BatchNorm1d(channels), relu()),
            *(conv(channels, channels, kernel), nn.BatchNorm1d(channels)),
        )
        self.left = act()
        self.right = self.left if shared else act()
        self.after = relu()

    def forward(self, x):
        x = self.left(x)
        return self.after(x + self.right(self.branch(x)))


class Concat(nn.Module):
    """Two branches of different kernels, their channels side by side, quantized behind or before.

    Odd and coprime numbers of channels.
    """

    def __init__(self, channels: int, quantized_behind: bool):
        super().__init__()
        self.short = nn.Sequential(conv(channels, 5, 1), nn.BatchNorm1d(5))
        self.long = nn.Sequential(conv(channels, 8, 7), nn.BatchNorm1d(8))
        self.behind = relu() if quantized_behind else nn.Identity()
        self.before = nn.Identity() if quantized_behind else relu()

    def forward(self, x):
        parts = [self.before(branch(x)) for branch in (self.short, self.long)]
        return self.behind(torch.cat(parts, 1))


def ending(channels: int) -> list[nn.Module]:
    return [nn.MaxPool1d(8), nn.Flatten(), dense(8 * channels, 24)]


NETWORKS = {
    "shared": lambda: [*stem(), Residual(8, shared=True), *ending(8)],
    "unequal": lambda: [*stem(), Residual(8, shared=False), *ending(8)],
    "two_in_a_row": lambda: [
        *(*stem(), Residual(8, shared=True), Residual(8, shared=False, kernel=5)),
        *ending(8),
    ],
    "concat": lambda: [*stem(), Concat(8, quantized_behind=False), *ending(13)],
    "concat_quantized_behind": lambda: [*stem(), Concat(8, quantized_behind=True), *ending(13)],
}
