"""Small networks as other people write them, exported to QONNX in a second.

`KINDS` has one of each kind of layer that is built, with frames of three channels and 32 samples.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import torch
from brevitas.export import export_qonnx
from brevitas.quant import (
    Int8ActPerTensorFloat,
    Int8BiasPerTensorFloatInternalScaling,
    Int8WeightPerChannelFloat,
    SignedBinaryActPerTensorConst,
    SignedBinaryWeightPerTensorConst,
)
from torch import nn

from build.stimuli import Task, random_frames
from tests.build.small_aaronnet import frames_for

Frame = tuple[int, int]


class Mean(nn.Module):
    """A mean over positions that drops their axis."""

    def forward(self, x):
        return x.mean(2)


def some_frames(count: int, frame: Frame, seed: int = 0) -> np.ndarray:
    """Return float32 (count, C, L), RadioML's where they have its shape."""
    if frame == (2, 1024):
        return frames_for(count, seed)
    return random_frames(Task(*frame, classes=0, low=-2, high=2), count, seed)


def export(
    path: Path,
    make: Callable[[], list[nn.Module]],
    seed: int = 0,
    frame: Frame = (2, 1024),
    spelling: Frame | tuple[int, int, int] | None = None,
) -> Path:
    """Write the layers, their batch norms warmed up on frames, as a QONNX file.

    Args:
        path: of the file.
        make: gives the layers.
        seed: of the weights.
        frame: channels and samples.
        spelling: the shape in which the network takes a frame; by default (C, L).
    """
    shape = spelling or frame
    torch.manual_seed(seed)
    network = nn.Sequential(*make()).train()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.momentum = 0.5
                module.weight.uniform_(0.5, 2).mul_(torch.randn_like(module.weight).sign())
        for batch in torch.from_numpy(some_frames(96, frame, seed=1)).split(16):
            network(batch.reshape(-1, *shape))
        export_qonnx(
            network.eval(), torch.zeros(1, *shape), str(path), opset_version=18, dynamo=False
        )
    return path


def quantized_input() -> nn.Module:
    return qnn.QuantIdentity(bit_width=6, act_quant=Int8ActPerTensorFloat)


def stem(channels: int = 8, bits: int = 4) -> list[nn.Module]:
    """An input quantizer and a convolution to 64 positions."""
    return [
        quantized_input(),
        qnn.QuantConv1d(2, channels, 16, stride=16, bias=False, weight_bit_width=4),
        nn.BatchNorm1d(channels),
        qnn.QuantReLU(bit_width=bits),
    ]


def dense(inputs: int, outputs: int, bias: bool = False) -> nn.Module:
    layer = qnn.QuantLinear(inputs, outputs, bias=bias, weight_bit_width=4)
    if bias:
        with torch.no_grad():
            layer.bias.normal_(0, 0.3)
    return layer


SMALL = (3, 32)
ROWS, CHANNELS = (1, 3, 32), (3, 1, 32)
"""The two 2-D spellings of such a frame."""

PER_CHANNEL = {"weight_quant": Int8WeightPerChannelFloat}
BIPOLAR = {"weight_quant": SignedBinaryWeightPerTensorConst, "weight_bit_width": 1}
SCALED_BIAS = {"bias": True, "bias_quant": Int8BiasPerTensorFloatInternalScaling}


def conv(inputs: int, outputs: int, kernel: int | tuple[int, int], **options) -> nn.Module:
    kind = qnn.QuantConv1d if isinstance(kernel, int) else qnn.QuantConv2d
    return biased(kind(inputs, outputs, kernel, **{"bias": False, "weight_bit_width": 4} | options))


def linear(inputs: int, outputs: int, **options) -> nn.Module:
    return biased(
        qnn.QuantLinear(inputs, outputs, **{"bias": False, "weight_bit_width": 4} | options)
    )


def biased(layer: nn.Module) -> nn.Module:
    if layer.bias is not None:
        with torch.no_grad():
            layer.bias.normal_(0, 0.3)
    return layer


def relu(bits: int = 3, **options) -> nn.Module:
    return qnn.QuantReLU(bit_width=bits, **options)


def identity(bits: int = 4, **options) -> nn.Module:
    return qnn.QuantIdentity(bit_width=bits, **options)


def front(channels: int = 6, kernel: int = 3, **options) -> list[nn.Module]:
    """An input quantizer, a convolution, a batch norm."""
    return [quantized_input(), conv(3, channels, kernel, **options), nn.BatchNorm1d(channels)]


def block(inputs: int, outputs: int, kernel: int = 3, **options) -> list[nn.Module]:
    return [conv(inputs, outputs, kernel, **options), nn.BatchNorm1d(outputs), relu()]


def end(inputs: int, **options) -> list[nn.Module]:
    return [nn.Flatten(), linear(inputs, 5, **options)]


def mean() -> list[nn.Module]:
    return [nn.AdaptiveAvgPool1d(1), nn.Flatten()]


def front_2d(channels: int, outputs: int, kernel: tuple[int, int], **options) -> list[nn.Module]:
    norm = nn.BatchNorm2d(outputs)
    return [quantized_input(), conv(channels, outputs, kernel, **options), norm, relu()]


def truncated(pool: nn.Module) -> list[nn.Module]:
    """Brevitas' pooling, which drops the last bits of its sums."""
    layers = front_2d(3, 6, (1, 3), padding=(0, 1))
    layers[-1] = relu(4, return_quant_tensor=True)
    return [*layers, pool]


KINDS: dict[str, Callable[[], list[nn.Module]]] = {
    "per_channel": lambda: [*front(**PER_CHANNEL), relu(), *end(180)],
    "per_channel_scores": lambda: [*front(), relu(), *end(180, **PER_CHANNEL)],
    "per_channel_scores_bias": lambda: [*front(), relu(), *end(180, bias=True, **PER_CHANNEL)],
    "float_bias": lambda: [quantized_input(), conv(3, 6, 3, bias=True), relu(), *end(180)],
    "scaled_bias": lambda: [
        *(quantized_input(), conv(3, 6, 3, **SCALED_BIAS), relu()), *end(180, **SCALED_BIAS)
    ],
    "groups": lambda: [*front(groups=3), relu(), *block(6, 9, groups=3), *end(252)],
    "depth_multiplier": lambda: [*front(), relu(), *block(6, 12, groups=6), *end(336)],
    "depthwise": lambda: [
        *(*front(), relu(), *block(6, 6, groups=6, padding=1, dilation=2), *end(168))
    ],
    "dilation": lambda: [
        *(*front(dilation=2), relu(), *block(6, 6, dilation=3, padding=3), *end(168))
    ],
    "stride_and_dilation": lambda: [*front(dilation=2, stride=3, padding=1), relu(), *end(60)],
    "stride_beyond_kernel": lambda: [*front(kernel=2, stride=3), relu(), *end(66)],
    "kernel_7": lambda: [*front(kernel=7, padding=3), relu(), *end(192)],
    "pointwise": lambda: [*front(kernel=1), relu(), *end(192)],
    "pads_in_front": lambda: [
        *(quantized_input(), nn.ConstantPad1d((1, 2), 0.0), conv(3, 6, 4), relu()),
        *(nn.ConstantPad1d((2, 0), 0.0), *block(6, 6), *end(192)),
    ],
    "norm_in_front": lambda: [nn.BatchNorm1d(3), *front(), relu(), *end(180)],
    "norm_in_front_of_rows": lambda: [
        *(nn.BatchNorm2d(1), *front_2d(1, 6, (3, 3), padding=(0, 1)), *end(192))
    ],
    "norm_of_the_input": lambda: [
        *(quantized_input(), nn.BatchNorm1d(3), identity(5)), *block(3, 6), *end(180)
    ],
    "norm_behind_relu": lambda: [
        *(quantized_input(), conv(3, 6, 3), relu(), nn.BatchNorm1d(6), identity()),
        *(*block(6, 4), *end(112)),
    ],
    "norm_behind_pooling": lambda: [
        *(quantized_input(), conv(3, 6, 3), nn.MaxPool1d(2), nn.BatchNorm1d(6), relu()), *end(90)
    ],
    "norm_of_scores": lambda: [*front(), relu(), *end(180), nn.BatchNorm1d(5)],
    "dense_layers": lambda: [
        *(*front(), relu(), nn.Flatten(), linear(180, 8), nn.BatchNorm1d(8), relu()),
        *(linear(8, 7, bias=True), relu(), linear(7, 5)),
    ],
    "dense_first": lambda: [
        *(quantized_input(), nn.Flatten(), linear(96, 8, bias=True), relu(), linear(8, 5))
    ],
    "one_layer": lambda: [quantized_input(), conv(3, 5, 32, bias=True), nn.Flatten()],
    "hard_tanh": lambda: [
        *front(), qnn.QuantHardTanh(bit_width=3, min_val=-1.0, max_val=1.0), *end(180)
    ],
    "narrow": lambda: [
        *front(), identity(3, act_quant=Int8ActPerTensorFloat, narrow_range=True), *end(180)
    ],
    "two_bits": lambda: [*front(weight_bit_width=2), identity(2), *end(180, weight_bit_width=2)],
    "eight_bits": lambda: [*front(weight_bit_width=8), relu(8), *end(180, weight_bit_width=8)],
    "bipolar_weights": lambda: [*front(**BIPOLAR), relu(), *end(180, **BIPOLAR)],
    "bipolar_activations": lambda: [
        *(*front(), identity(1, act_quant=SignedBinaryActPerTensorConst)),
        *(*block(6, 4, padding=1), *end(120)),
    ],
    "two_quantizers": lambda: [*front(), relu(5), identity(3), *end(180)],
    "float_relu": lambda: [*front(), nn.ReLU(), identity(), *end(180)],
    "means_of_three": lambda: [*front(), relu(), nn.AvgPool1d(3), identity(5), *end(60)],
    "overlapping_means": lambda: [
        *(*front(), relu(), nn.AvgPool1d(5, stride=3), identity(5), *end(54))
    ],
    "mean_of_33": lambda: [*front(7, 4, padding=2), relu(), *mean(), identity(6), linear(7, 5)],
    "mean_of_scores": lambda: [
        *front(7), relu(), conv(7, 5, 3, bias=True, **PER_CHANNEL), nn.BatchNorm1d(5), *mean()
    ],
    "coprime": lambda: [*front(7, 5), relu(), *block(7, 11, stride=2), *end(143)],
    "overlapping_pools": lambda: [*front(7, 5), relu(), nn.MaxPool1d(3, stride=2), *end(91)],
    "pools_with_gaps": lambda: [*front(7, 5), relu(), nn.MaxPool1d(2, stride=3), *end(63)],
    "pooled_input": lambda: [quantized_input(), nn.MaxPool1d(2), *block(3, 7, 5), *end(84)],
    "convolved_scores": lambda: [*front(), relu(), conv(6, 5, 30), nn.Flatten()],
    "quantized_scores": lambda: [*front(), relu(), *end(180, bias=True), identity(8)],
    "rows": lambda: [
        *(*front_2d(1, 6, (3, 3), padding=(0, 1)), nn.MaxPool2d((1, 2))),
        *(conv(6, 4, (1, 3)), nn.BatchNorm2d(4), relu(), *end(56)),
    ],
    "rows_kept": lambda: [
        *(*front_2d(1, 4, (1, 3), padding=(0, 1)), conv(4, 6, (3, 3), bias=True)),
        *(nn.BatchNorm2d(6), relu(), nn.MaxPool2d((1, 2)), *end(90)),
    ],
    "rows_strided": lambda: [
        *front_2d(1, 4, (2, 3), padding=(1, 1), stride=(2, 2), **PER_CHANNEL),
        *(conv(4, 4, (1, 3), groups=4, bias=True), relu(), *end(112)),
    ],
    "one_row": lambda: [
        *front_2d(3, 6, (1, 5), stride=(1, 2)),
        *(conv(6, 6, (3, 3), padding=(1, 1), groups=6), nn.BatchNorm2d(6), relu()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), identity(6), linear(6, 5)),
    ],
    "truncated_means": lambda: [*truncated(qnn.TruncAvgPool2d((1, 2), bit_width=4)), *end(96)],
    "truncated_mean": lambda: [
        *truncated(qnn.TruncAdaptiveAvgPool2d((1, 1), bit_width=4)), *end(6)
    ],
}  # fmt: skip

SPELLINGS = {
    **dict.fromkeys(("rows", "rows_kept", "rows_strided", "norm_in_front_of_rows"), ROWS),
    **dict.fromkeys(("one_row", "truncated_means", "truncated_mean"), CHANNELS),
}


def export_kind(name: str, path: Path) -> Path:
    """Write the network of one of `KINDS`."""
    return export(path, KINDS[name], frame=SMALL, spelling=SPELLINGS.get(name))
