"""All pictures, of whichever stage. Each names the data it was measured on."""

from training.pictures.canvas import check_picture, data_uri
from training.pictures.fidelity_curves import deviations
from training.pictures.frame_looks import clipping, distributions, eyes
from training.pictures.pipeline import balance
from training.pictures.results import (
    Frontier,
    accuracy_over_cost,
    accuracy_over_luts,
    accuracy_over_snr,
    best_of,
    compression,
    confusion_matrix,
    frontier,
    search_trace,
    sparsity,
)
from training.pictures.signals import modulations
from training.pictures.waterfall import constellations, waterfall

__all__ = [
    "Frontier",
    "accuracy_over_cost",
    "accuracy_over_luts",
    "accuracy_over_snr",
    "balance",
    "best_of",
    "check_picture",
    "clipping",
    "compression",
    "constellations",
    "confusion_matrix",
    "data_uri",
    "deviations",
    "distributions",
    "eyes",
    "frontier",
    "modulations",
    "search_trace",
    "sparsity",
    "waterfall",
]
