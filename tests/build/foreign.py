"""Small networks as other people write them, exported to QONNX in a second."""

import warnings
from collections.abc import Callable
from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import torch
from brevitas.export import export_qonnx
from brevitas.quant import Int8ActPerTensorFloat
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
