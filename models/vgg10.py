"""VGG10: the baseline that the challenge's score is measured against.

Architecture and module names are those of the organisers' notebook (Xilinx, brevitas-radioml
challenge, 2021), so that its checkpoint loads: a flat `nn.Sequential`.
"""

from brevitas.nn import QuantConv1d, QuantLinear, QuantReLU
from brevitas.quant import Int32Bias
from torch import nn

from models.config import FRAME_CHANNELS, NetConfig
from models.quantizers import Place, input_quantizer


class VGG10(nn.Sequential):
    """Frames (N, 2, L) -> class scores (N, classes): seven convolutions, three dense layers."""

    def __init__(self, config: NetConfig):
        at = Place(config)
        layers: list[nn.Module] = [input_quantizer(config.input_bits)]
        for inputs, outputs in zip((FRAME_CHANNELS, *config.filters), config.filters, strict=False):
            layers += [
                QuantConv1d(inputs, outputs, 3, padding=1, bias=False, **at.weights(len(layers))),
                nn.BatchNorm1d(outputs),
                QuantReLU(bit_width=at.relu(len(layers) + 2)),
                nn.MaxPool1d(2),
            ]
        positions = config.length >> len(config.filters)
        first = len(layers) + 1  # behind the flattening
        layers += [
            nn.Flatten(),
            QuantLinear(
                config.filters[-1] * positions, config.dense, bias=False, **at.weights(first)
            ),
            nn.BatchNorm1d(config.dense),
            QuantReLU(bit_width=at.relu(first + 2)),
            QuantLinear(config.dense, config.dense, bias=False, **at.weights(first + 3)),
            nn.BatchNorm1d(config.dense),
            QuantReLU(bit_width=at.relu(first + 5), return_quant_tensor=True),
            QuantLinear(
                config.dense,
                config.classes,
                bias=True,
                bias_quant=Int32Bias,
                **at.weights(first + 6, "tensor"),
            ),
        ]
        super().__init__(*layers)
        self.config = config
