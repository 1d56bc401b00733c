"""Batch norms estimated anew: means and variances of the weights that count.

While training, batch norm follows the last batches of the network that is trained. The average of
the weights (or other bits) is another network, whose activations have other means and variances.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from training.data import RadioMLData, SyntheticData, calibration_frames
from training.twin import Twin

BATCH = 512


def mixed(frames: Tensor, seed: int = 0) -> Tensor:
    """Return frames (N, 2, L) in another order, so that a batch of them has all classes and SNRs.

    While estimating, batch norm has each batch's statistics: they must be those of the whole.
    """
    return frames[torch.randperm(len(frames), generator=torch.Generator().manual_seed(seed))]


def estimation_batches(source: RadioMLData | SyntheticData, count: int) -> tuple[Tensor, ...]:
    """Return about `count` training frames, the same each time, in mixed batches."""
    return mixed(calibration_frames(source, count, 0)).split(BATCH)


@torch.no_grad()
def reestimate_norms(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the means and variances of all batch norms to those of the given frames, in place.

    Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018,
    section 3.2.

    Args:
        network: in eval mode, and left in it.
        batches: float32 (N, 2, L) each, of all classes and SNRs.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm1d)]
    momenta = [norm.momentum for norm in norms]
    twin = Twin(network)
    network.train()
    for number, batch in enumerate(batches, 1):
        for norm in norms:
            norm.momentum = 1 / number  # all batches count the same
        twin(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
