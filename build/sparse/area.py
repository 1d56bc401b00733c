"""An estimate of the LUTs of a network's sparse hardware, without synthesis: adder and table bits.

It orders rates and tells what fits with room to spare; `aaronnet synth` counts.
"""

from collections.abc import Iterator

import numpy as np

from build.boards import Board
from build.sparse.adders import adder_graph
from build.sparse.emit import window_range
from build.sparse.network import Linear, MaxPool, Network, Requantize, bits_of
from build.sparse.schedule import SERIAL, SLOWEST, lanes_for, spacings
from build.sparse.serial import serial_graph
from build.sparse.shared import share
from models.errors import BadInput

FREE = 0.3
"""Share of a board that an automatic choice leaves."""

UNIT, LOOKUP, LANE = 150, 20, 300
"""LUTs of a table in turns, of a parallel quantizer and of a dense layer's lane, about."""


def estimated_luts(network: Network, clocks: int) -> int:
    """Return about how many LUTs a folded network takes at so many clocks a frame."""
    return sum(_luts(network, clocks))


def _luts(network: Network, clocks: int) -> Iterator[int]:
    for layer, before, after, spacing in zip(
        network.layers,
        network.tensors,
        network.tensors[1:],
        spacings(network, clocks),
        strict=False,
    ):
        if isinstance(layer, Linear) and before.positions == 1:
            yield LANE * len(lanes_for(layer.weights[:, :, 0], clocks).columns)
        elif isinstance(layer, Linear):
            graph = adder_graph(layer.matrix)
            low, high = window_range(before, layer.taps)
            if spacing >= SERIAL:
                # An adder a digit; as many LUTs choose an input's digits.
                digit = serial_graph(graph, low, high, spacing).digit
                inputs = int(np.count_nonzero(layer.weights.any(axis=0)))
                yield digit * (len(graph.adders) + inputs)
            else:
                ranges = graph.ranges(low, high)[graph.inputs :]
                yield sum(bits_of(least, most) for least, most in ranges)
        elif isinstance(layer, Requantize) and before.positions > 1:
            if spacing >= SERIAL:
                yield UNIT * len(share(layer, spacing, before).units)
            else:
                yield LOOKUP * before.channels
        elif isinstance(layer, MaxPool) and spacing < SERIAL:
            yield after.channels * after.bits


def fastest(network: Network, board: Board) -> tuple[int, int]:
    """Return the fewest clocks a frame at which a board keeps FREE of its LUTs, and their estimate.

    Raises:
        BadInput: not even the slowest rate fits.
    """
    first = network.layers[0]
    assert isinstance(first, Linear)
    room = int((1 - FREE) * board.resources["LUT"])
    slots = network.length // first.stride + 1
    luts = 0
    for times in range(1, SLOWEST + 1):
        luts = estimated_luts(network, times * slots)
        if luts <= room:
            return times * slots, luts
    raise BadInput(
        f"even at {SLOWEST * slots} clocks a frame the network takes about {luts:,} LUTs; "
        f"{board.name} has {room:,} to give"
    )
