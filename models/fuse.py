"""From a trained network in paper form to its hardware form (`models/hardware.py`).

What `fuse` keeps exact. The branches have weight and activation steps of their own, the fused
layers have one each. The fused weights are the branches' integers times a power of two, so they
quantize to the very same integers; a branch's deviating steps move into its batch norms, which are
per channel. Before the block quantizers are switched on, the fused network therefore computes the
same real numbers as the published one; the depthwise and dense layers are copied bit by bit. In
float32 an activation that lies within rounding of a threshold may still fall on its other side,
one in a million or so; in float64 the logits are identical.
"""

from typing import Any

import torch
from brevitas.core.scaling import ParameterScaling
from brevitas.nn import QuantConv1d
from torch import Tensor

from models.aaronnet import KERNELS, AaronNet
from models.calibrate import calibrate
from models.checkpoint import Checkpoint
from models.config import FRAME_CHANNELS
from models.errors import BadInput
from models.hardware import STEP, HardwareAaronNet, centred, scaled_norm
from models.quantizers import WEIGHT_RANGE, bits_of, weight_levels


def to_hardware(checkpoint: Checkpoint, block_bits: int, frames: Tensor) -> Checkpoint:
    """Return the hardware form of a checkpoint, its block quantizers calibrated on `frames`.

    VGG10 is in hardware form as it is, and returned unchanged.

    Args:
        checkpoint: an AaronNet in paper form, or a VGG10.
        block_bits: bits of the activations between the blocks.
        frames: float32 (N, 2, 1024), some hundred over all classes and SNRs.

    Raises:
        BadInput: it is a hardware form of other bits already.
    """
    config = checkpoint.ours("quantize")
    if config.hardware_form:
        if config.block_bits in (None, block_bits):
            return checkpoint
        raise BadInput(
            f"{config.name} is a hardware form with {config.block_bits} bits "
            "already; quantize the checkpoint that it was made from"
        )
    fused = fuse(checkpoint, block_bits)
    assert isinstance(fused.network, HardwareAaronNet)
    calibrate(fused.network, frames)
    return fused


def fuse(checkpoint: Checkpoint, block_bits: int) -> Checkpoint:
    """Return the hardware form, its block quantizers not calibrated yet: range [-1, 1)."""
    config = checkpoint.ours("quantize")
    config = config.changed(name=f"{config.name}-hw{block_bits}", block_bits=block_bits)
    source = checkpoint.network
    assert isinstance(source, AaronNet), "VGG10 is in hardware form as it is"
    network = HardwareAaronNet(config)
    state = {
        key: value
        for key, value in source.state_dict().items()
        if key.startswith(("quantize.", "feats."))
    }
    for key, value in source.classifier.state_dict().items():
        state[f"classifier.1.{key}"] = value
    branches = list(source.expand.children())
    state |= {f"expand.{key}": value for key, value in _fuse_msc(branches).items()}
    state[f"expand.5.{STEP}"] = torch.tensor(1.0)
    for index in range(len(network.feats)):
        state[f"feats.{index}.block.5.{STEP}"] = torch.tensor(1.0)
    network.load_state_dict(state, strict=True)
    return Checkpoint(network.eval(), config, dict(checkpoint.info))


def _fuse_msc(branches: list[Any]) -> dict[str, Tensor]:
    """Return the state of fused `Branch`es, keys relative to `expand`.

    Raises:
        BadInput: they have other bits, and so no common steps.
    """
    if any(len({bits_of(branch[layer]) for branch in branches}) > 1 for layer in (0, 2, 3)):
        raise BadInput(
            "the hardware form has one layer for the three branches; give them the same bits"
        )
    reference = branches[0][2].state_dict()[STEP]
    filters = branches[0][0].out_channels
    step = [
        _power_of_two(
            max(float(torch.as_tensor(step_of_weights(b[layer])).max()) for b in branches)
        )
        for layer in (0, 3)
    ]
    taps = torch.zeros(len(branches) * filters, FRAME_CHANNELS, KERNELS[0])
    parts: dict[str, list[Tensor]] = {}
    blocks = []
    for branch, rows in zip(branches, taps.chunk(len(branches)), strict=True):
        convolution, norm, relu, pointwise, last_norm = branch
        # Brought to one activation step: relu(x * (a / a_b)) / a = relu(x) / a_b.
        to_reference = (reference / relu.state_dict()[STEP]).item()
        rows[..., centred(convolution.kernel_size[0])] = _integers(convolution) * step[0]
        blocks.append(_integers(pointwise).squeeze(-1) * step[1])
        grown = step[0] / step_of_weights(convolution)
        layers: dict[int, dict[str, Tensor]] = {
            0: {"bias": _times(convolution.bias, grown)},
            1: scaled_norm(norm, inputs=grown, outputs=to_reference),
        }
        grown = to_reference * step[1] / step_of_weights(pointwise)
        layers |= {
            3: {"bias": _times(pointwise.bias, grown)},
            4: scaled_norm(last_norm, inputs=grown),
        }
        for layer, tensors in layers.items():
            for key, tensor in tensors.items():
                parts.setdefault(f"{layer}.{key}", []).append(tensor.detach())
    state = {
        key: tensors[0] if tensors[0].ndim == 0 else torch.cat(tensors)
        for key, tensors in parts.items()
    }
    state["0.weight"] = taps
    state["3.weight"] = torch.block_diag(*blocks).unsqueeze(-1)
    state[f"2.{STEP}"] = reference
    for layer, size in zip((0, 3), step, strict=True):
        scaling = branches[0][layer].weight_quant.tensor_quant.scaling_impl
        if isinstance(scaling, ParameterScaling):
            low, _ = weight_levels(branches[0][layer])
            shape = (len(taps), 1, 1) if scaling.value.ndim else ()
            state[f"{layer}.{WEIGHT_RANGE}"] = torch.full(shape, size * -low)
    return state


def _integers(layer: QuantConv1d) -> Tensor:
    """Return the layer's integer weights as floats, in the weight's shape."""
    with torch.no_grad():
        return layer.quant_weight().int().float()


def step_of_weights(layer: QuantConv1d) -> float | Tensor:
    """Return the size of the layer's weight step, or of each channel's (C,).

    A channel without a weight has any step: it takes the largest of the others.
    """
    with torch.no_grad():
        scale = layer.quant_weight().scale
        if scale.ndim == 0:
            return scale.item()
        empty = (_integers(layer) == 0).flatten(1).all(1)
        scale = scale.flatten()
        largest = scale[~empty].max() if not empty.all() else torch.tensor(1.0)
        return torch.where(empty, largest, scale).double()


def _times(bias: Tensor, factor: float | Tensor) -> Tensor:
    return (bias * factor).to(bias.dtype)


def _power_of_two(value: float) -> float:
    """Return the nearest power of two: small integers times it are exact, and divide exactly."""
    return float(torch.tensor(value).log2().round().exp2())
