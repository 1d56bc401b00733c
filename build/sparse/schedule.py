"""Which hardware computes a layer, and in how many clocks.

Convolutions take a position a clock: the pipeline runs at four samples a clock, and the first layer
and the first block have a position every clock. Dense layers have a frame's time: `lanes` of one
multiplication a clock go through the nonzero weights.
"""

import heapq
from dataclasses import dataclass

import numpy as np

from models.errors import BadInput

CLOCKS = 257
"""A frame's: 256 words and one between two frames."""

DRAIN = 10
"""Clocks of a dense layer behind its last multiplication, and more."""


@dataclass(frozen=True)
class Lanes:
    """A dense layer's outputs, by lane in the order of their computation, and its clocks."""

    rows: tuple[tuple[int, ...], ...]
    clocks: int


def lanes_for(weights: np.ndarray, clocks: int) -> Lanes:
    """Spread the rows (outputs, inputs) over as few lanes as finish within a frame's clocks.

    Raises:
        BadInput: one output alone has too many weights.
    """
    costs = np.maximum(np.count_nonzero(weights, axis=1), 1).tolist()
    limit = clocks - DRAIN
    if max(costs) > limit:
        raise BadInput(
            f"a dense layer has an output of {max(costs)} weights, more than the {limit} clocks it "
            "has; prune it"
        )
    count = -(-sum(costs) // limit)
    while (found := _spread(costs, count)).clocks > limit:
        count += 1
    return found


def _spread(costs: list[int], count: int) -> Lanes:
    """Give each row, the most expensive first, to the lane with the least to do."""
    heap: list[tuple[int, int, list[int]]] = [(0, lane, []) for lane in range(count)]
    for row in sorted(range(len(costs)), key=lambda row: -costs[row]):
        done, lane, rows = heapq.heappop(heap)
        heapq.heappush(heap, (done + costs[row], lane, [*rows, row]))
    lanes = [tuple(sorted(rows)) for _, _, rows in sorted(heap, key=lambda item: item[1])]
    return Lanes(tuple(rows for rows in lanes if rows), max(done for done, _, _ in heap))
