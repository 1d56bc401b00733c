"""Frames like those of RadioML 2018.01A, whose generator was never published.

The recipe was calibrated against networks trained on the real file (their predictions and the
batch-norm statistics of their first layers); what its frames are worth is measured by
`aaronnet data fidelity`. `modulations` holds the 24 signals, `recipe` channel, noise and scale,
`writer` files of any size.
"""

from training.synthesis.recipe import BLOCK, RECIPE_VERSION, block, recipe_of, synthesise
from training.synthesis.writer import Written, write_dataset

__all__ = [
    "BLOCK",
    "RECIPE_VERSION",
    "Written",
    "block",
    "recipe_of",
    "synthesise",
    "write_dataset",
]
