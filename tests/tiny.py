"""A network of a few filters, for tests that need some network."""

import torch
from torch import nn

from models.config import NetConfig
from models.networks import build_network
from training.twin import Twin, initialise_ranges

TINY = NetConfig("tiny", "aaronnet", (6, 4, 4, 4, 4, 4), 8, 6, 6, 6)


def ready(config: NetConfig = TINY, frames: int = 16) -> nn.Module:
    """Return an untrained network whose quantizers are calibrated on random frames."""
    torch.manual_seed(1)
    network = build_network(config)
    initialise_ranges(network)
    Twin(network).calibrate(torch.randn(frames, 2, 1024))
    return network
