"""Small networks as other people write them, exported to QONNX in a second."""

import warnings
from collections.abc import Callable
from pathlib import Path

import brevitas.nn as qnn
import torch
from brevitas.export import export_qonnx
from brevitas.quant import Int8ActPerTensorFloat
from torch import nn

from tests.build.small_aaronnet import frames_for


class Mean(nn.Module):
    """A mean over positions that drops their axis."""

    def forward(self, x):
        return x.mean(2)


def export(path: Path, make: Callable[[], list[nn.Module]], seed: int = 0) -> Path:
    """Write the layers, their batch norms warmed up on frames, as a QONNX file."""
    torch.manual_seed(seed)
    network = nn.Sequential(*make()).train()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.momentum = 0.5
                module.weight.uniform_(0.5, 2).mul_(torch.randn_like(module.weight).sign())
        for batch in torch.from_numpy(frames_for(96, seed=1)).split(16):
            network(batch)
        export_qonnx(
            network.eval(), torch.zeros(1, 2, 1024), str(path), opset_version=18, dynamo=False
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
