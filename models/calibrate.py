"""Choose the block quantizers' ranges on data, so that 8 and even 6 bits lose little.

A quantizer has one step for all channels, but what follows each of them except the last is a
depthwise convolution and a batch norm, both per channel: scaling a channel before the quantizer
and scaling it back in the batch norm behind the depthwise layer is exact. So every channel is first
scaled until the best range for it is [-1, 1), and the common quantizer acts as one a channel, for
free (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019,
section 4.1, with measured instead of weight ranges). The dense layer mixes channels: the last
quantizer gets one range for all.

The best range minimises the mean squared error over the calibration frames: clipping rare large
values buys finer steps for all the others. What an error of the mean is left afterwards is taken
out of the next batch norm (section 4.2 of the same paper).
"""

from typing import Any

import torch
from brevitas.nn import QuantConv1d, QuantLinear
from torch import Tensor, nn

from models.hardware import STEP, HardwareAaronNet, scaled_norm
from models.quantizers import weight_levels

CANDIDATES = 80  # ranges tried a channel
NARROWEST = 0.02  # of the largest magnitude
SAMPLES = 40_000  # values looked at a channel
BATCH = 256  # frames


@torch.no_grad()
def calibrate(network: HardwareAaronNet, frames: Tensor) -> None:
    """Set the block quantizers of a fused network, and the layers around them, in place.

    Args:
        network: from `models.fuse.fuse`, in eval mode.
        frames: float32 (N, 2, 1024); some hundred over all classes and SNRs are enough.
    """
    stages, bits = network.stages, network.config.block_bits
    assert bits is not None, "a hardware form has them"
    # What a stage receives: from the network without block quantizers, and from the one with.
    wanted = given = network.quantize(frames).value
    for stage, following in zip(stages, [*stages[1:], None], strict=True):
        layers, norm, quantizer, pool = stage[:5], stage[4], stage[5], stage[6:]
        wanted, given = _run(layers, wanted), _run(layers, given)
        error = (given - wanted).mean(dim=(0, 2))
        norm.bias -= error
        given -= error[:, None]
        wanted, given = pool(wanted), pool(given)
        if following is None:
            ranges = best_ranges(given.reshape(1, -1), bits)
            quantizer.load_state_dict({STEP: ranges[0]}, strict=False)
        else:
            ranges = best_ranges(given.transpose(0, 1).flatten(1), bits)
            wanted, given = wanted / ranges[:, None], given / ranges[:, None]
            norm.load_state_dict(scaled_norm(norm, outputs=1 / ranges.double()))
            depthwise, next_norm = following[0], following[1]
            depthwise.bias /= ranges
            next_norm.load_state_dict(scaled_norm(next_norm, inputs=1 / ranges.double()))
        given = quantizer(given)
    classifier: Any = network.classifier[1]
    dense = classifier[:2]
    error = (_run(dense, given.flatten(1)) - _run(dense, wanted.flatten(1))).mean(dim=0)
    dense[1].bias -= error


def best_ranges(values: Tensor, bits: int) -> Tensor:
    """Return the ranges (C,) whose signed quantizers have the least squared error on (C, M) values.

    A range r stands for the quantizer with step r / 2^(bits - 1) and values [-r, r - step]. A
    channel of zeros gets range 1.
    """
    values = values[:, :: max(1, values.shape[1] // SAMPLES)]
    largest = values.abs().amax(dim=1)
    largest[largest == 0] = 1
    levels = 2 ** (bits - 1)
    best, least = largest.clone(), torch.full_like(largest, torch.inf)
    for fraction in torch.logspace(0, torch.log10(torch.tensor(NARROWEST)), CANDIDATES):
        step = (largest * fraction / levels)[:, None]
        rounded = (values / step).round().clamp(-levels, levels - 1) * step
        error = (rounded - values).square().mean(dim=1)
        better = error < least
        best[better], least[better] = (largest * fraction)[better], error[better]
    return best


def weight_range(layer: QuantConv1d | QuantLinear, by_channel: bool) -> Tensor:
    """Return the range of a layer's weights with the least squared error: a scalar, or (C, 1, ...).

    A channel without a weight takes the layer's largest range, which quantizes it as well as any.
    """
    low, high = weight_levels(layer)
    weight = layer.weight.detach()
    values = weight.flatten(1) if by_channel else weight.reshape(1, -1)
    best = best_range(values, values.abs().amax(1), low, high)
    best = torch.where(best > 0, best, best.max() if best.max() > 0 else torch.tensor(1.0))
    return best.view(-1, *[1] * (weight.ndim - 1)) if by_channel else best[0]


def best_range(values: Tensor, largest: Tensor, low: int, high: int) -> Tensor:
    """Return the ranges (C,), at most `largest`, with the least squared error on (C, M) values.

    A range r has steps of r / -low, or of r / high where nothing is negative. The error is that
    against the values clipped to `largest`.
    """
    levels = -low or high
    wanted = torch.minimum(values, largest[:, None])
    wanted = torch.maximum(wanted, -largest[:, None]) if low else wanted
    best, least = largest.clone(), torch.full_like(largest, torch.inf)
    for fraction in torch.logspace(0, torch.log10(torch.tensor(NARROWEST)), CANDIDATES):
        step = (largest * fraction / levels).clamp_min(1e-12)[:, None]
        error = ((wanted / step).round().clamp(low, high) * step - wanted).square().mean(dim=1)
        better = error < least
        best[better], least[better] = (largest * fraction)[better], error[better]
    return best


def _run(layers: nn.Module, inputs: Tensor) -> Tensor:
    """Return the layers' outputs, computed batch by batch."""
    return torch.cat([layers(batch) for batch in inputs.split(BATCH)])
