"""BacalhauNet: depthwise-separable layers of wide windows, two of them residual.

After the other finalist of ITU-ML5G-PS-007 (2021): kernels 27, 21, 15, 9, 9, strides 2, 1, 2, 1, 2,
channels 24, 24, 48, 48, 48, global average pooling, one dense layer. What is ours is that residuals
are quantized: both terms of a sum by one quantizer, and the sum again, so that every layer takes
integers.
"""

from collections import OrderedDict

import torch
from brevitas.nn import QuantConv1d, QuantLinear, QuantReLU
from brevitas.quant import Int32Bias
from torch import nn

from models.config import FRAME_CHANNELS, NetConfig
from models.quantizers import Place, input_quantizer

KERNELS = (27, 21, 15, 9, 9)
STRIDES = (2, 1, 2, 1, 2)


def separable(inputs: int, outputs: int, kernel: int, stride: int, at: Place) -> nn.Module:
    """Return a depthwise and a 1x1 convolution: (N, inputs, L) -> (N, outputs, L / stride)."""
    return nn.Sequential(
        QuantConv1d(
            inputs,
            inputs,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=inputs,
            bias=False,
            **at.weights(0),
        ),
        nn.BatchNorm1d(inputs),
        QuantReLU(bit_width=at.relu(2)),
        QuantConv1d(inputs, outputs, 1, bias=False, **at.weights(3)),
        nn.BatchNorm1d(outputs),
    )


class Residual(nn.Module):
    """x + f(x) of (N, C, L): both terms quantized by one quantizer, the sum by another."""

    def __init__(self, channels: int, kernel: int, at: Place):
        super().__init__()
        self.quantize = QuantReLU(bit_width=at.relu("quantize"))
        self.branch = separable(channels, channels, kernel, 1, at.inside("branch"))
        self.after = QuantReLU(bit_width=at.relu("after"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the branch to its own input."""
        x = self.quantize(x)
        return self.after(x + self.quantize(self.branch(x)))


class Mean(nn.Module):
    """Average over all positions: (N, C, L) -> (N, C)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Average."""
        return x.mean(2)


class BacalhauNet(nn.Sequential):
    """Frames (N, 2, L) -> class scores (N, classes), every activation quantized."""

    def __init__(self, config: NetConfig):
        at = Place(config)
        feats = nn.Sequential()
        inputs = FRAME_CHANNELS
        layers = zip(config.filters, KERNELS, STRIDES, strict=True)
        for index, (outputs, kernel, stride) in enumerate(layers):
            here = at.inside("feats").inside(index)
            if stride == 1 and inputs == outputs:
                feats.append(Residual(outputs, kernel, here))
            else:
                feats.append(separable(inputs, outputs, kernel, stride, here))
            inputs = outputs
        super().__init__(
            OrderedDict(
                quantize=input_quantizer(config.input_bits),
                feats=feats,
                last=QuantReLU(bit_width=at.relu("last")),
                pool=Mean(),
                pooled=QuantReLU(bit_width=at.relu("pooled"), return_quant_tensor=True),
                classifier=QuantLinear(
                    inputs,
                    config.classes,
                    bias=True,
                    bias_quant=Int32Bias,
                    **at.weights("classifier", "tensor"),
                ),
            )
        )
        self.config = config
