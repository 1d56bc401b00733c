"""A small AaronNet in hardware form with random weights: all of the flow in seconds."""

from functools import cache

import numpy as np
import torch
from brevitas.nn import QuantConv1d

from models.bits import Bits
from models.checkpoint import Checkpoint
from models.config import NetConfig
from models.fuse import to_hardware
from models.networks import build_network
from training.requantize import with_bits

CONFIG = NetConfig(
    "small", "aaronnet", (12, 8, 10, 8, 8, 10), 12, input_bits=4, weight_bits=4, act_bits=3
)


@cache
def frames_for(count: int, seed: int = 0) -> np.ndarray:
    """Return float32 (count, 2, 1024): tones of random pitch and loudness in some noise."""
    rng = np.random.default_rng(seed)
    pitch = rng.uniform(-np.pi, np.pi, (count, 1))
    tone = np.exp(1j * (pitch * np.arange(1024) + rng.uniform(0, 6, (count, 1))))
    tone *= rng.uniform(0.1, 2, (count, 1)) * (rng.random((count, 16)) > 0.4).repeat(64, axis=1)
    noise = rng.standard_normal((count, 2, 1024)) * rng.uniform(0.01, 0.5, (count, 1, 1))
    return (np.stack([tone.real, tone.imag], axis=1) + noise).astype(np.float32)


@cache
def paper_form() -> Checkpoint:
    """Return the network in paper form: uneven batch norms of both signs, some weights pruned."""
    torch.manual_seed(3)
    network = build_network(CONFIG)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.weight.uniform_(0.5, 2).mul_(torch.randn_like(module.weight).sign())
                module.bias.normal_(0, 0.5)
            if isinstance(module, QuantConv1d):
                module.weight *= torch.rand_like(module.weight) > 0.2
            if isinstance(module, torch.nn.BatchNorm1d):
                module.momentum = 0.5  # so that the running statistics are right in a few batches
        for batch in torch.from_numpy(frames_for(192, seed=1)).split(16):
            network.train()(batch)
        network.classifier[6].bias.normal_(0, 0.3)
    info = {"data_label": "noise", "sha256": "0" * 64}
    return Checkpoint(network.eval(), CONFIG, info)


@cache
def small_checkpoint() -> Checkpoint:
    """Return its hardware form with 4 bits between the blocks."""
    return to_hardware(paper_form(), 4, torch.from_numpy(frames_for(64, seed=1)))


@cache
def mixed_checkpoint(narrow: bool = True) -> Checkpoint:
    """Return it with bits by layer, and learned weight steps by channel."""
    bits = Bits(
        **{"input": 4, "weights": 3, "relus": 3, "blocks": 4, "narrow": narrow},
        **{"scale": "channel", "steps": "learned"},
        layers={
            **{"expand.0": 4, "expand.2": 4, "feats.1.block.5": 3, "feats.2.block.0": 2},
            **{"classifier.1.2": 2, "classifier.1.6": 4},
        },
    )
    return with_bits(paper_form(), bits, torch.from_numpy(frames_for(64, seed=1)))
