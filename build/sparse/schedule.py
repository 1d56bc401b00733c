"""Which hardware computes a layer, and in how many clocks.

Convolutions take a position a clock: the pipeline runs at four samples a clock, and the first layer
and the first block have a position every clock. Dense layers have a frame's time: lanes of one
multiplication a clock go through the nonzero weights.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from models.errors import BadInput

CLOCKS = 257
"""A frame's: 256 words and one between two frames."""

DRAIN = 10
"""Clocks of a dense layer behind its last multiplication, and more."""


@dataclass(frozen=True)
class Lanes:
    """A dense layer's inputs by lane, and the clocks of all outputs one after the other."""

    columns: tuple[tuple[int, ...], ...]
    clocks: int


def lanes_for(weights: np.ndarray, clocks: int) -> Lanes:
    """Spread the inputs of (outputs, inputs) over as few lanes as finish within a frame's clocks.

    All lanes work on one output at a time, each on the nonzero weights of its own inputs, so that
    an output takes as long as the lane with the most of them.

    Raises:
        BadInput: there are more outputs than clocks.
    """
    used = (weights != 0).astype(np.int64)
    limit = clocks - DRAIN
    if len(weights) > limit:
        raise BadInput(
            f"a dense layer has {len(weights)} outputs, more than the {limit} clocks it has; prune "
            "it"
        )
    count = min(max(-(-int(used.sum()) // limit), 1), used.shape[1])
    while (found := _spread(used, count)).clocks > limit:
        count += 1
    return found


def _spread(used: np.ndarray, count: int) -> Lanes:
    """Give each input, the most used first, to a lane; then change places as long as that helps."""
    inputs = range(used.shape[1])
    lane_of = np.zeros(len(inputs), np.int64)
    work = np.zeros((count, len(used)), np.int64)

    def clocks(work: np.ndarray) -> int:
        return int(np.maximum(work.max(axis=0), 1).sum())

    def with_input(index: int, lane: int) -> np.ndarray:
        return work + (np.arange(count) == lane)[:, None] * used[:, index]

    for index in sorted(inputs, key=lambda index: -used[:, index].sum()):
        choices = [
            (clocks(with_input(index, lane)), work[lane].sum(), lane) for lane in range(count)
        ]
        lane_of[index] = min(choices)[2]
        work = with_input(index, int(lane_of[index]))
    best, before = clocks(work), -1
    while best != before:
        before = best
        for one, other in combinations(inputs, 2):
            if lane_of[one] != lane_of[other]:
                change = used[:, other] - used[:, one]
                changed = work.copy()
                changed[lane_of[one]] += change
                changed[lane_of[other]] -= change
                if (now := clocks(changed)) < best:
                    work, best = changed, now
                    lane_of[[one, other]] = lane_of[[other, one]]
    columns = [np.flatnonzero(lane_of == lane).tolist() for lane in range(count)]
    return Lanes(tuple(tuple(lane) for lane in columns if lane), best)
