"""An adder graph that computes a few bits of every sum a clock, the lowest first.

Where a position has several clocks, an adder of `digit` bits and a carry does the work of a wide
one. The numbers of a word are two's complement of `digit * clocks` bits; what the adders in between
lose above that does not reach the sums, which have room.
"""

from dataclasses import dataclass

import numpy as np

from build.sparse.adders import AdderGraph
from build.sparse.network import bits_of


@dataclass(frozen=True)
class SerialGraph:
    """The graph, the bits of every node a clock, and the clocks of a word."""

    graph: AdderGraph
    digit: int
    clocks: int

    @property
    def bits(self) -> int:
        """Of a word."""
        return self.digit * self.clocks

    def compute(self, x: np.ndarray) -> np.ndarray:
        """Return the rows' sums (..., outputs) for inputs (..., inputs), clock by clock."""
        graph, mask = self.graph, 2**self.digit - 1
        nodes = graph.inputs + len(graph.adders)
        words = [np.zeros(x.shape[:-1], np.int64) for _ in range(nodes)]  # their digits so far
        # -b = ~b + 1
        carries = [np.full(x.shape[:-1], adder.sign < 0, np.int64) for adder in graph.adders]
        for clock in range(self.clocks):
            at = clock * self.digit
            for node in range(graph.inputs):
                words[node] |= (x[..., node] >> at & mask) << at
            for index, adder in enumerate(graph.adders):
                # A shifted number's digit: zeros come in at the start of a word.
                first = words[adder.first] << adder.first_shift >> at & mask
                second = words[adder.second] << adder.second_shift >> at & mask
                if adder.sign < 0:
                    second ^= mask
                total = first + second + carries[index]
                words[graph.inputs + index] |= (total & mask) << at
                carries[index] = total >> self.digit
        top = 2 ** (self.bits - 1)
        rows = [
            np.zeros_like(words[0])
            if term is None
            else term[2] * ((words[term[0]] ^ top) - top) * 2 ** term[1]
            for term in graph.outputs
        ]
        return np.stack(rows, axis=-1)


def serial_graph(graph: AdderGraph, low: np.ndarray, high: np.ndarray, clocks: int) -> SerialGraph:
    """Return the graph with the narrowest digits that finish a word in so many clocks.

    Args:
        graph: the adders.
        low: smallest value of each input.
        high: largest.
        clocks: a word's at most.
    """
    ranges = graph.ranges(low, high)
    sums = [ranges[term[0]] for term in graph.outputs if term is not None] or [(0, 0)]
    # One representation for all: a sum that is never negative gets a zero in front.
    bits = max(bits_of(min(least, -1), most) for least, most in sums)
    digit = -(-bits // clocks)
    return SerialGraph(graph, digit, -(-bits // digit))
