"""Pruning single weights, by magnitude as published or layer-adaptive: pruned are exact zeros.

What is zero stays zero in training (`training.module`), so there are no masks to carry around, and
`aaronnet cost` and the exported QONNX see the zeros themselves.
"""

import torch
from torch import nn

from models.checkpoint import Checkpoint
from models.cost import inference_cost
from models.errors import BadInput
from models.networks import build_network
from training.module import prunable

METHODS = ("l1", "lamp")


def magnitude(network: nn.Module) -> list[torch.Tensor]:
    """Return each prunable weight's magnitude (published), a flat tensor a layer."""
    return [weight.detach().abs().flatten() for _, weight in prunable(network)]


def lamp(network: nn.Module) -> list[torch.Tensor]:
    """Return each prunable weight's layer-adaptive magnitude, a flat tensor a layer.

    The square of the weight over the sum of the squares of those in its layer that are not smaller
    (LAMP, Lee et al., ICLR 2021, arXiv:2010.07611). A layer's largest weight always has 1, so that
    small layers, like the depthwise ones, do not run dry however their batch norm scales them.
    """
    scores = []
    for weight in magnitude(network):
        order = weight.argsort(stable=True)
        squares = weight[order].double().square()
        not_smaller = squares.flip(0).cumsum(0).flip(0)
        score = torch.zeros_like(squares)
        score[order] = torch.where(squares > 0, squares / not_smaller, 0)
        scores.append(score)
    return scores


def prune_least(network: nn.Module, fraction: float, importance: list[torch.Tensor]) -> float:
    """Set the least important weights of all layers together to zero, in place.

    Args:
        network: its convolutions and dense layers are pruned, biases are not.
        fraction: share of the weights that are not zero yet, 0 to 1.
        importance: of each weight, a flat tensor a layer; zero where the weight is zero.

    Returns:
        The share of all weights that are zero now.

    Raises:
        BadInput: the fraction is out of range.
    """
    if not 0 <= fraction < 1:
        raise BadInput(f"a share to prune lies between 0 and 1, not {fraction}")
    weights = [weight for _, weight in prunable(network)]
    with torch.no_grad():
        scores = torch.cat(importance)
        zeros = int((scores == 0).sum())
        count = zeros + round(fraction * (len(scores) - zeros))
        # Indices rather than a threshold: exactly so many, ties or not.
        keep = torch.ones(len(scores), dtype=torch.bool)
        keep[scores.argsort(stable=True)[:count]] = False
        for weight, mask in zip(weights, keep.split([w.numel() for w in weights]), strict=True):
            weight.mul_(mask.view_as(weight))
    return count / len(scores)


def pruned(checkpoint: Checkpoint, fraction: float, method: str = "l1") -> Checkpoint:
    """Return a copy of a checkpoint with `fraction` of its nonzero weights pruned.

    Args:
        checkpoint: left as it is.
        fraction: 0 to 1.
        method: `l1`, magnitude as published; `lamp`, layer-adaptive and per cost (`importance`).

    Raises:
        BadInput: the fraction is out of range, or the method unknown.
    """
    network = build_network(checkpoint.config)
    network.load_state_dict(checkpoint.network.state_dict())
    sparsity = prune_least(network, fraction, importance(checkpoint, method))
    info = {**checkpoint.info, "sparsity": sparsity}
    return Checkpoint(network.eval(), checkpoint.config, info)


def importance(
    checkpoint: Checkpoint, method: str, price: list[float] | None = None
) -> list[torch.Tensor]:
    """Return what `method` orders the weights by, a flat tensor a layer.

    `lamp` is divided by what a weight of its layer adds to the official score (`prices`): the cost
    is what pruning is for, and a weight of the first layers costs five times one of the last.

    Args:
        checkpoint: a network.
        method: one of `METHODS`.
        price: its `prices`, where they are known already.

    Raises:
        BadInput: the method is unknown.
    """
    match method:
        case "l1":
            return magnitude(checkpoint.network)
        case "lamp":
            each = prices(checkpoint) if price is None else price
            return [s / cost for s, cost in zip(lamp(checkpoint.network), each, strict=True)]
    raise BadInput(f"weights are pruned by {' or '.join(METHODS)}, not by {method!r}")


def prices(checkpoint: Checkpoint) -> list[float]:
    """Return what one weight adds to the official score, for each prunable layer."""
    price = {
        layer.name.rsplit(".", 1)[0]: layer.score / layer.nonzero_weights
        for layer in inference_cost(checkpoint).layers
        if layer.nonzero_weights
    }
    # A layer without a weight left has no price, and nothing that one could be asked for.
    return [price.get(name.removesuffix(".weight"), 1) for name, _ in prunable(checkpoint.network)]


def fraction_for_score(checkpoint: Checkpoint, score: float, method: str = "l1") -> float:
    """Return the share of weights to prune so that the official score is at most `score`.

    Every weight that is left is counted, also one that its quantizer rounds to zero: whatever
    retraining makes of them, the score stays below.

    Raises:
        BadInput: the network costs no more than that already.
    """
    each = prices(checkpoint)
    layers = importance(checkpoint, method, each)
    scores = torch.cat(layers)
    price = torch.cat(
        [torch.full_like(s, p, dtype=torch.float64) for s, p in zip(layers, each, strict=True)]
    )
    order = scores.argsort(stable=True)
    zeros = int((scores == 0).sum())
    price[scores == 0] = 0
    # What is left to pay after pruning the first so many, zeros first.
    left = price.sum() - price[order].cumsum(0)
    affordable = (left[zeros:] <= score).nonzero()
    if float(price.sum()) <= score or not len(affordable):
        raise BadInput(
            f"{checkpoint.config.name} scores {price.sum():.6f} at most, not above {score}"
        )
    return (int(affordable[0]) + 1) / (len(scores) - zeros)
