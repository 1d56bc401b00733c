"""AaronNet: multi-scale strided first layer, depthwise-separable blocks, three dense layers.

The published network ("Aaronica", ITU-ML5G-PS-007, 2021), module names included, so that its
checkpoints load. See `models/hardware.py` for the equivalent form that dataflow hardware runs.
"""

import torch
from brevitas.nn import QuantConv1d, QuantLinear, QuantReLU
from brevitas.quant import Int32Bias
from torch import nn

from models.config import FRAME_CHANNELS, NetConfig
from models.quantizers import Place, input_quantizer

KERNELS = (32, 26, 18)  # samples; all three are centred on the same instants
STRIDE = 4


def positions(length: int) -> int:
    """Return what stride 4 and five poolings by 2 leave of a frame: 1024 -> 257 -> 128 ... -> 8."""
    return (length // STRIDE + 1) >> 5


class Branch(nn.Sequential):
    """One scale of the MSC: strided convolution, then a 1x1: (N, 2, L) -> (N, F/3, L/4 + 1)."""

    def __init__(self, filters: int, kernel: int, at: Place):
        super().__init__(
            QuantConv1d(
                FRAME_CHANNELS,
                filters,
                kernel,
                stride=STRIDE,
                padding=kernel // 2,
                **at.weights(0),
            ),
            nn.BatchNorm1d(filters),
            QuantReLU(bit_width=at.relu(2)),
            QuantConv1d(filters, filters, 1, **at.weights(3)),
            nn.BatchNorm1d(filters),
        )


class MultiScaleConv(nn.Module):
    """MSC: three branches that look at the same instants through windows of 32, 26 and 18."""

    def __init__(self, at: Place):
        super().__init__()
        filters = at.config.filters[0] // len(KERNELS)
        self.branch1 = Branch(filters, KERNELS[0], at.inside("branch1"))
        self.branch2 = Branch(filters, KERNELS[1], at.inside("branch2"))
        self.branch3 = Branch(filters, KERNELS[2], at.inside("branch3"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, 2, L) to (N, F, L/4 + 1)."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x)], dim=1)


def separable(inputs: int, outputs: int, at: Place) -> list[nn.Module]:
    """Return a depthwise 3-tap and a 1x1 convolution: (N, inputs, L) -> (N, outputs, L)."""
    return [
        QuantConv1d(inputs, inputs, 3, padding=1, groups=inputs, **at.weights(0)),
        nn.BatchNorm1d(inputs),
        QuantReLU(bit_width=at.relu(2)),
        QuantConv1d(inputs, outputs, 1, **at.weights(3)),
        nn.BatchNorm1d(outputs),
    ]


class SeparableBlock(nn.Module):
    """Depthwise 3-tap convolution, 1x1 convolution, pooling by 2.

    No activation follows the 1x1, so the next depthwise layer sees floating point.
    """

    def __init__(self, inputs: int, outputs: int, at: Place):
        super().__init__()
        layers = separable(inputs, outputs, at.inside("block"))
        self.block = nn.Sequential(*layers, nn.MaxPool1d(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, inputs, L) to (N, outputs, L // 2)."""
        return self.block(x)


def classifier(inputs: int, at: Place) -> nn.Sequential:
    """Return the three dense layers, (N, inputs) -> (N, classes)."""
    dense = at.config.dense
    return nn.Sequential(
        QuantLinear(inputs, dense, bias=True, **at.weights(0)),
        nn.BatchNorm1d(dense),
        QuantReLU(bit_width=at.relu(2)),
        QuantLinear(dense, dense, bias=True, **at.weights(3)),
        nn.BatchNorm1d(dense),
        # The last layer's bias is an integer in units of (activation step x weight step), so it
        # has to know the activation's step. Classes are compared: they have one weight step.
        QuantReLU(bit_width=at.relu(5), return_quant_tensor=True),
        QuantLinear(
            *(dense, at.config.classes), bias=True, bias_quant=Int32Bias, **at.weights(6, "tensor")
        ),
    )


class AaronNet(nn.Module):
    """Frames (N, 2, L) in units of the recipe's scale -> class scores (N, classes)."""

    def __init__(self, config: NetConfig):
        super().__init__()
        self.config = config
        self.quantize = input_quantizer(config.input_bits)
        at = Place(config)
        self.expand = MultiScaleConv(at.inside("expand"))
        widths = enumerate(zip(config.filters, config.filters[1:], strict=False))
        self.feats = nn.Sequential(
            *(SeparableBlock(*width, at.inside("feats").inside(index)) for index, width in widths)
        )
        # The same as a global max pool for our frames; the adaptive one has no ONNX translation.
        self.pool = nn.Sequential(nn.MaxPool1d(positions(config.length)), nn.Flatten())
        self.classifier = classifier(config.filters[-1], at.inside("classifier"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the class scores (N, classes) of frames (N, 2, L)."""
        return self.classifier(self.pool(self.feats(self.expand(self.quantize(x)))))
