"""Which hardware computes a layer, and in how many clocks.

A frame takes a given number of clocks; at four samples a clock, the fastest, the first layers have
a position every clock, and each pooling doubles the time of one. Convolutions of fewer than SERIAL
clocks a position are computed at once, others digit by digit. Dense layers have a frame's time:
lanes of one multiplication a clock go through the nonzero weights.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from build.sparse.network import Linear, MaxPool, Network
from models.errors import BadInput

SERIAL = 4
"""Clocks of a position from which on digits save area: below, registers cost what adders save."""

DRAIN = 10
"""Clocks of a dense layer behind its last multiplication, and more."""

EXCHANGED = 128
"""Inputs of a dense layer up to which every two of them are tried in each other's lane."""

SLOWEST = 64
"""Times slower than the input allows: from there on nothing gets narrower."""


def check_clocks(clocks: int, words: int) -> None:
    """Refuse a frame's clocks that are too few for its words, or more than change anything.

    Raises:
        BadInput: the limits are named.
    """
    if not words < clocks <= SLOWEST * (words + 1):
        raise BadInput(
            f"a frame of {words} words takes between {words + 1} and {SLOWEST * (words + 1)} "
            f"clocks, not {clocks}"
        )


def spacings(network: Network, clocks: int) -> tuple[int, ...]:
    """Return the least clocks between two positions of each tensor, the input's in words.

    A frame's words and one between two frames are spread evenly over its clocks.

    Args:
        network: its first layer's stride is the samples of a word.
        clocks: a frame's.
    """
    first = network.layers[0]
    assert isinstance(first, Linear)
    slots = network.length // first.stride + 1
    words, found = 1, [clocks // slots]
    for layer in network.layers:
        if isinstance(layer, MaxPool):
            words *= layer.size
        elif isinstance(layer, Linear) and layer is not first:
            words *= layer.stride
        found.append(words * clocks // slots)
    return tuple(found)


def words_ahead(network: Network) -> int:
    """Return how many words the first position of every convolution's input needs, and more.

    So many must be there when a frame starts: then each layer has the last windows of the frame
    before behind it, whether or not the words behind these come in time.
    """
    *_, last = [i for i, tensor in enumerate(network.tensors) if tensor.positions > 1]
    position = 0
    for layer in reversed(network.layers[:last]):
        if isinstance(layer, MaxPool):
            position = position * layer.size + layer.size - 1
        elif isinstance(layer, Linear):
            position = position * layer.stride + layer.taps - 1 - layer.padding
    first = network.layers[0]
    assert isinstance(first, Linear)
    return min(position // first.stride + 1, network.length // first.stride)


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
            f"a dense layer has {len(weights)} outputs, more than the {limit} clocks it has; give "
            f"it more (--clocks {clocks + len(weights) - limit} or above), or prune its outputs"
        )
    count = min(max(-(-int(used.sum()) // limit), 1), used.shape[1])
    while (found := _spread(used, count)).clocks > limit:
        count += 1
    return found


def _spread(used: np.ndarray, count: int) -> Lanes:
    """Give each input, the most used first, to a lane; then change places as long as that helps.

    Where there are more than EXCHANGED inputs, nothing changes places.
    """
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
    while best != before and len(inputs) <= EXCHANGED:
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
