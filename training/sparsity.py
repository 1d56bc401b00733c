"""How many weights of each layer are zero once quantized."""

from dataclasses import dataclass

import torch

from models.checkpoint import Checkpoint
from models.foreign import is_foreign
from training.module import prunable
from training.twin import foreign_weight, quantized_weight


@dataclass(frozen=True)
class Sparsity:
    """A layer's weights, and how many of them are not zero."""

    name: str
    weights: int
    nonzero: int


def layer_sparsity(checkpoint: Checkpoint) -> tuple[Sparsity, ...]:
    """Count each layer's weights and those that are not zero once quantized."""
    layers = dict(checkpoint.network.named_modules())
    result = []
    with torch.no_grad():
        for name, weight in prunable(checkpoint.network):
            layer = name.removesuffix(".weight")
            if is_foreign(checkpoint.network):  # quantized as Brevitas can, not only as ours are
                quantized = foreign_weight(layers[layer])
            else:
                quantized, _ = quantized_weight(layers[layer])
            result.append(Sparsity(layer, weight.numel(), int((quantized != 0).sum())))
    return tuple(result)
