"""A network of a few filters, for tests that need some network."""

import torch
from torch import nn

from models.checkpoint import Checkpoint
from models.config import NetConfig
from models.cost import Cost, LayerCost
from models.networks import build_network
from training.module import prunable
from training.twin import Twin, initialise_ranges

TINY = NetConfig("tiny", "aaronnet", (6, 4, 4, 4, 4, 4), 8, 6, 6, 6)


def ready(config: NetConfig = TINY, frames: int = 16) -> nn.Module:
    """Return an untrained network whose quantizers are calibrated on random frames."""
    torch.manual_seed(1)
    network = build_network(config)
    initialise_ranges(network)
    Twin(network).calibrate(torch.randn(frames, 2, 1024))
    return network


def weights_cost(checkpoint: Checkpoint) -> Cost:
    """Stand in for `models.cost.inference_cost`, which exports each network: count weights."""
    counts = {name: int((w != 0).sum()) for name, w in prunable(checkpoint.network)}
    layers = tuple(
        LayerCost(name.replace("weight", "Conv"), "Conv", *[count] * 5)
        for name, count in counts.items()
    )
    return Cost(*[sum(counts.values())] * 5, layers, ())
