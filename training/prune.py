"""Pruning single weights by magnitude, as published: pruned weights are exact zeros.

What is zero stays zero in training (`training.module`), so there are no masks to carry around, and
`aaronnet cost` and the exported QONNX see the zeros themselves.
"""

import torch
from torch import nn

from models.checkpoint import Checkpoint, build_network
from models.cost import inference_cost
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


def fraction_for_score(checkpoint: Checkpoint, score: float) -> float:
    """Return the share of weights to prune so that the official score is at most `score`.

    Every weight that is left is counted, also one that its quantizer rounds to zero: whatever
    retraining makes of them, the score stays below.

    Raises:
        BadInput: the network costs no more than that already.
    """
    layers = inference_cost(checkpoint)["layers"]
    prices = {
        layer["name"].rsplit(".", 1)[0]: layer["score"] / layer["nonzero_weights"]
        for layer in layers
        if layer["nonzero_weights"]
    }
    weights = [
        (weight.detach().abs().flatten(), prices[name.removesuffix(".weight")])
        for name, weight in prunable(checkpoint.network)
    ]
    magnitude = torch.cat([weight for weight, _ in weights])
    price = torch.cat([torch.full_like(w, p, dtype=torch.float64) for w, p in weights])
    order = magnitude.argsort(stable=True)
    # What is left to pay after pruning the first so many, zeros first.
    left = price.sum() - price[order].cumsum(0)
    left[magnitude[order] == 0] = torch.inf
    affordable = (left <= score).nonzero()
    nonzero = int((magnitude != 0).sum())
    zeros = len(magnitude) - nonzero
    total = float(price[magnitude != 0].sum())
    if total <= score or not len(affordable):
        raise BadInput(f"{checkpoint.config.name} scores {total:.6f} at most, not above {score}")
    return (int(affordable[0]) + 1 - zeros) / nonzero
