"""Structured pruning: whole channels go, and the network that is left is really smaller.

A channel's importance is the L1 norm of the filter that makes it (Li et al., "Pruning Filters for
Efficient ConvNets", 2017), times what batch norm multiplies it with. Removing a channel takes its
filter, its batch norm, its depthwise taps, and its column in every layer that reads it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.aaronnet import AaronNet
from models.checkpoint import Checkpoint
from models.config import FRAME_CHANNELS
from models.errors import BadInput
from models.networks import build_network
from models.vgg10 import VGG10

State = dict[str, Tensor]
EPS = nn.BatchNorm1d(1).eps
NORM = ("weight", "bias", "running_mean", "running_var")


def narrowed(checkpoint: Checkpoint, fraction: float) -> Checkpoint:
    """Return a network without the least important channels of every layer.

    Args:
        checkpoint: a VGG10, or an AaronNet in paper form.
        fraction: share of each layer's channels to remove; at least one stays, and AaronNet's
            branches keep equally many each.

    Raises:
        BadInput: the fraction is out of range or too small to remove anything, or the network is
            in hardware form.
    """
    if not 0 < fraction < 1:
        raise BadInput(f"a share of channels to remove lies between 0 and 1, not {fraction}")
    network, config = checkpoint.network, checkpoint.ours("prune --method channels")
    state = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    if isinstance(network, AaronNet):
        filters, dense = _narrow_aaronnet(state, fraction)
    elif isinstance(network, VGG10):
        filters, dense = _narrow_vgg10(state, len(config.filters), fraction)
    else:
        raise BadInput(f"{config.name} is in hardware form; prune the network it was made from")
    if filters == config.filters and dense == config.dense:
        raise BadInput(f"{config.name} has too few channels to remove {fraction:.1%} of them")
    smaller = config.changed(filters=filters, dense=dense, name=config.name)
    result = build_network(smaller)
    result.load_state_dict(state)
    return Checkpoint(result.eval(), smaller, dict(checkpoint.info))


def _narrow_aaronnet(state: State, fraction: float) -> tuple[tuple[int, ...], int]:
    kept = []
    branches = ("expand.branch1", "expand.branch2", "expand.branch3")
    offset = 0
    for branch in branches:
        hidden = _most_important(state, f"{branch}.0", f"{branch}.1", fraction)
        _take(state, f"{branch}.0", hidden)
        _take(state, f"{branch}.1", hidden)
        _take_inputs(state, f"{branch}.3", hidden)
        outputs = _most_important(state, f"{branch}.3", f"{branch}.4", fraction)
        width = len(state[f"{branch}.3.weight"])
        _take(state, f"{branch}.3", outputs)
        _take(state, f"{branch}.4", outputs)
        kept.append(outputs + offset)
        offset += width
    channels = torch.cat(kept)
    filters = [len(channels)]
    for index in range(5):
        block = f"feats.{index}.block"
        _take(state, f"{block}.0", channels)  # depthwise: a filter a channel
        _take(state, f"{block}.1", channels)
        _take_inputs(state, f"{block}.3", channels)
        channels = _most_important(state, f"{block}.3", f"{block}.4", fraction)
        _take(state, f"{block}.3", channels)
        _take(state, f"{block}.4", channels)
        filters.append(len(channels))
    _take_inputs(state, "classifier.0", channels)
    return tuple(filters), _narrow_dense(state, "classifier", 0, fraction)


def _narrow_vgg10(state: State, layers: int, fraction: float) -> tuple[tuple[int, ...], int]:
    channels, filters = torch.arange(FRAME_CHANNELS), []
    for index in range(layers):
        convolution, norm = str(4 * index + 1), str(4 * index + 2)
        _take_inputs(state, convolution, channels)
        channels = _most_important(state, convolution, norm, fraction)
        width = len(state[f"{convolution}.weight"])
        _take(state, convolution, channels)
        _take(state, norm, channels)
        filters.append(len(channels))
    first = 4 * layers + 2
    # Flattening lays a channel's positions side by side.
    positions = state[f"{first}.weight"].shape[1] // width
    columns = (channels[:, None] * positions + torch.arange(positions)).flatten()
    _take_inputs(state, str(first), columns)
    return tuple(filters), _narrow_dense(state, "", first, fraction)


def _narrow_dense(state: State, prefix: str, first: int, fraction: float) -> int:
    """Narrow both hidden dense layers alike and return their width."""

    def name(index: int) -> str:
        return f"{prefix}.{index}" if prefix else str(index)

    for layer in (first, first + 3):
        units = _most_important(state, name(layer), name(layer + 1), fraction)
        _take(state, name(layer), units)
        _take(state, name(layer + 1), units)
        _take_inputs(state, name(layer + 3), units)
    return len(units)


def _most_important(state: Mapping[str, Tensor], layer: str, norm: str, fraction: float) -> Tensor:
    """Return the indices of the channels to keep, in order."""
    size = state[f"{layer}.weight"].abs().flatten(1).sum(1)
    # A dead channel has no variance: without batch norm's eps its size would be 0 * inf.
    size = size * state[f"{norm}.weight"].abs() * (state[f"{norm}.running_var"] + EPS).rsqrt()
    keep = max(1, round(len(size) * (1 - fraction)))
    return size.argsort(descending=True, stable=True)[:keep].sort().values


def _take(state: State, layer: str, channels: Tensor) -> None:
    """Keep the given outputs of a layer, or channels of a batch norm."""
    for key in NORM:
        if f"{layer}.{key}" in state:
            state[f"{layer}.{key}"] = state[f"{layer}.{key}"][channels]


def _take_inputs(state: State, layer: str, channels: Tensor) -> None:
    state[f"{layer}.weight"] = state[f"{layer}.weight"][:, channels]


def parameters(network: nn.Module) -> int:
    """Return how many numbers a network learns."""
    return sum(parameter.numel() for parameter in network.parameters())
