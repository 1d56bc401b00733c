"""The data sets that are synthesised, each under its recipe's name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from deploy.board.radioml import CLASSES, FRAME, FULL_FRAMES_PER_CELL, SNRS
from models.errors import BadInput
from training.synthesis import radioml_2016
from training.synthesis.recipe import BLOCK, RECIPES, block


@dataclass(frozen=True)
class DataSet:
    """What a file is made of.

    Attributes:
        recipe: its number or name, which goes into the label.
        classes: names, in the order of the indices.
        samples: of a frame.
        snrs: dB.
        frames_per_cell: of each (class, SNR), in the file that it is like.
        draw: (seed, class, SNR, index) -> `BLOCK` frames, float32 (BLOCK, samples, 2).
    """

    recipe: int | str
    classes: tuple[str, ...]
    samples: int
    snrs: tuple[int, ...]
    frames_per_cell: int
    draw: Callable[[int, int, int, int], np.ndarray]


def data_set(recipe: int | str) -> DataSet:
    """Return the data set of a recipe: 1, 2 and 3 are like RadioML 2018.01A, 2016.10a like that.

    Raises:
        BadInput: there is no such recipe.
    """
    named = {str(version): version for version in RECIPES}
    if str(recipe) in named:
        version = named[str(recipe)]
        draw = partial(block, version=version)
        return DataSet(version, CLASSES, FRAME, SNRS, FULL_FRAMES_PER_CELL, draw)
    if recipe in (radioml_2016.RECIPE, radioml_2016.LABEL):
        return DataSet(
            radioml_2016.LABEL,
            radioml_2016.CLASSES,
            radioml_2016.FRAME,
            radioml_2016.SNRS,
            radioml_2016.FRAMES_PER_CELL,
            partial(radioml_2016.block_2016, count=BLOCK),
        )
    known = ", ".join((*named, radioml_2016.RECIPE))
    raise BadInput(f"there is no recipe {recipe}; known: {known}")
