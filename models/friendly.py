"""Scales that hardware multiplies by with an adder: sums of one or two signed powers of two.

A convolution, its batch norm and the quantizer behind them make of an accumulator

    level = round(scale * accumulator + offset)

with a scale a channel. Here each batch norm is changed until every scale has one or two signed
digits and every offset `FRACTION` bits behind the point. What that changes in front of a depthwise
layer is taken back exactly in the batch norm behind it, as in `models/calibrate.py`; elsewhere a
scale moves by at most a tenth, which fine-tuning has to make good.
"""

import itertools
from typing import Any

import torch
from brevitas.nn import QuantIdentity
from torch import Tensor, nn

from models.fuse import step_of_weights
from models.hardware import STEP, HardwareAaronNet, scaled_norm, statistics_of
from models.quantizers import bits_of

FRACTION = 2
"""Bits of an offset behind the point of a level."""

CLOSE = 2**-5
"""Relative distance from a scale within which one digit will do."""

DIGITS = 6
"""Places between the two digits of a scale, and one."""

MANTISSAS = sorted(
    {2**i + sign * 2**j for j, i in itertools.combinations(range(DIGITS), 2) for sign in (-1, 1)}
)


@torch.no_grad()
def make_friendly(network: HardwareAaronNet) -> None:
    """Change the batch norms of the convolutions in place.

    Args:
        network: its quantizers are calibrated; any mode, which is left as it is.
    """
    stages = network.stages
    received = 2.0 ** (2 - network.config.input_bits)  # `models.quantizers.InputQuant`
    for stage, following in zip(stages, [*stages[1:], None], strict=True):
        hidden = _step(stage[2])
        _snap(stage[0], stage[1], received, hidden)
        leaving = _step(stage[5])
        grown = _snap(stage[3], stage[4], hidden, leaving)
        if following is not None:
            depthwise, norm = following[0], following[1]
            if depthwise.bias is not None:
                depthwise.bias *= grown
            norm.load_state_dict(scaled_norm(norm, inputs=grown))
        received = leaving


def friendly(scales: Tensor) -> Tensor:
    """Return the nearest scales, by ratio, of one signed digit, or of two where one is not close.

    Args:
        scales: float64 (C,); zeros stay.
    """
    magnitude = scales.abs()
    used = torch.where(magnitude > 0, magnitude, 1.0)
    power = 2.0 ** used.log2().floor()
    ratios = torch.tensor(
        [m / 2 ** (m.bit_length() - 1) for m in MANTISSAS] + [2.0], dtype=torch.float64
    )
    far = (ratios[None] / (used / power)[:, None]).log2().abs()
    far[:, (ratios != 1) & (ratios != 2)] += CLOSE  # the second digit has its price
    return torch.where(magnitude > 0, power * ratios[far.argmin(dim=1)] * scales.sign(), scales)


def _step(quantizer: Any) -> float:
    """Return the step of a quantized ReLU or of a signed activation."""
    levels = 2 ** bits_of(quantizer)
    levels = levels // 2 if isinstance(quantizer, QuantIdentity) else levels - 1
    return float(quantizer.state_dict()[STEP].abs()) / levels


def _snap(layer: Any, norm: nn.BatchNorm1d, received: float, leaving: float) -> Tensor:
    """Give a layer's batch norm friendly scales; return how much larger they are (C,).

    Args:
        layer: the convolution.
        norm: behind it.
        received: step of the layer's input.
        leaving: step of the quantizer behind.
    """
    weights = torch.as_tensor(step_of_weights(layer), dtype=torch.float64).reshape(-1)
    mean, var, _ = statistics_of(norm)
    deviation = (var.double() + norm.eps).sqrt()
    unit = received * weights / leaving  # an accumulator's 1, in steps behind
    gain = norm.weight.double() / deviation
    scale = gain * unit
    wanted = friendly(scale)
    grown = torch.where(scale != 0, wanted / scale, 1.0)
    norm.weight.copy_(norm.weight.double() * grown)
    # What the norm adds, in levels: b + gain * (bias of the layer - mean)
    bias = 0.0 if layer.bias is None else layer.bias.double()
    through = norm.weight.double() / deviation * (bias - mean.double()) / leaving
    offset = norm.bias.double() / leaving * grown + through
    # Between two sums that can occur, so that none lies on a threshold.
    snapped = ((offset + 0.5) * 2**FRACTION).round() / 2**FRACTION - 0.5 + _last_digit(wanted) / 2
    norm.bias.copy_((snapped - through) * leaving)
    return grown


def _last_digit(scales: Tensor) -> Tensor:
    """Return the power of two of the last digit of each scale, at most half an offset's."""
    mantissa, exponent = torch.frexp(scales.abs())
    whole = (mantissa * 2 ** (DIGITS + 1)).long()
    last = (whole & -whole) * 2.0 ** (exponent - DIGITS - 1)
    return last.clamp(max=2.0 ** -(FRACTION + 1))
