"""Global L1 unstructured pruning, as published, on plain tensors: pruned weights are exact zeros.

What is zero stays zero in training (`training.module`), so there are no masks to carry around, and
`aaronnet cost` and the exported QONNX see the zeros themselves.
"""

import torch
from torch import nn

from models.checkpoint import Checkpoint, build_network
from models.errors import BadInput
from training.module import prunable


def prune_l1(network: nn.Module, fraction: float) -> float:
    """Set the smallest weights of all layers together to zero, in place.

    Args:
        network: its convolutions and dense layers are pruned, biases are not.
        fraction: share of the weights that are not zero yet, 0 to 1.

    Returns:
        The share of all weights that are zero now.

    Raises:
        BadInput: the fraction is out of range.
    """
    if not 0 <= fraction < 1:
        raise BadInput(f"a share to prune lies between 0 and 1, not {fraction}")
    weights = [weight for _, weight in prunable(network)]
    with torch.no_grad():
        magnitude = torch.cat([weight.abs().flatten() for weight in weights])
        zeros = int((magnitude == 0).sum())
        count = zeros + round(fraction * (len(magnitude) - zeros))
        # Indices rather than a threshold: exactly so many, ties or not.
        keep = torch.ones(len(magnitude), dtype=torch.bool)
        keep[magnitude.argsort(stable=True)[:count]] = False
        sizes = [weight.numel() for weight in weights]
        for weight, mask in zip(weights, keep.split(sizes), strict=True):
            weight.mul_(mask.view_as(weight))
    return count / len(magnitude)


def pruned(checkpoint: Checkpoint, fraction: float) -> Checkpoint:
    """Return a copy of a checkpoint with `fraction` of its nonzero weights pruned (`prune_l1`).

    Raises:
        BadInput: the fraction is out of range.
    """
    network = build_network(checkpoint.config)
    network.load_state_dict(checkpoint.network.state_dict())
    sparsity = prune_l1(network, fraction)
    info = {**checkpoint.info, "sparsity": sparsity}
    return Checkpoint(network.eval(), checkpoint.config, info)
