"""A matrix of constants as shifts and adders that its rows share.

Each weight is written in canonical signed digits; a row is then a sum of shifted, signed inputs.
As long as a sum of two terms occurs twice (up to a common shift and sign), the most frequent one is
computed once and stands for both terms everywhere: the greedy two-term sharing of R. Hartley,
"Subexpression sharing in filters using canonic signed digit multipliers" (1996). What is left of a
row is summed up as a shallow tree.
"""

import heapq
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np

Pattern = tuple[int, int, int, int]
"""first node, second node, shift of the second against the first, sign of it against the first."""

Term = tuple[int, int, int]
"""node, shift, sign: a summand of a row."""


@dataclass(frozen=True)
class Adder:
    """(first << first_shift) + sign * (second << second_shift); one of the shifts is 0."""

    first: int
    first_shift: int
    second: int
    second_shift: int
    sign: int

    def compute(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the sum."""
        return first * 2**self.first_shift + self.sign * second * 2**self.second_shift


@dataclass(frozen=True)
class AdderGraph:
    """Nodes 0 .. inputs - 1 are the inputs, the following ones the adders in order.

    `outputs` has a term for each row, None for a row of zeros.
    """

    inputs: int
    adders: tuple[Adder, ...]
    outputs: tuple[Term | None, ...]

    def compute(self, x: np.ndarray) -> np.ndarray:
        """Return the rows' sums (..., outputs) for inputs (..., inputs)."""
        nodes = [x[..., i] for i in range(self.inputs)]
        for adder in self.adders:
            nodes.append(adder.compute(nodes[adder.first], nodes[adder.second]))
        zero = np.zeros(x.shape[:-1], x.dtype)
        rows = [
            zero if term is None else term[2] * nodes[term[0]] * 2 ** term[1]
            for term in self.outputs
        ]
        return np.stack(rows, axis=-1)

    def ranges(self, low: np.ndarray, high: np.ndarray) -> list[tuple[int, int]]:
        """Return the smallest and largest value of every node, for the inputs' of each."""
        found = list(zip(low.tolist(), high.tolist(), strict=True))
        for adder in self.adders:
            first = [end << adder.first_shift for end in found[adder.first]]
            second = sorted(adder.sign * (end << adder.second_shift) for end in found[adder.second])
            found.append((first[0] + second[0], first[1] + second[1]))
        return found

    def levels(self) -> list[int]:
        """Return how many adders lie one behind the other up to every node."""
        found = [0] * self.inputs
        for adder in self.adders:
            found.append(max(found[adder.first], found[adder.second]) + 1)
        return found


def digits(value: int) -> list[tuple[int, int]]:
    """Return (shift, sign) of the canonical signed digits of an integer: no two are neighbours."""
    found, shift = [], 0
    while value:
        if value & 1:
            sign = 2 - (value & 3)  # 1 where the next digit is 0, -1 where it is 1
            found.append((shift, sign))
            value -= sign
        value, shift = value >> 1, shift + 1
    return found


def adder_graph(matrix: np.ndarray) -> AdderGraph:
    """Return adders for an integer matrix (outputs, inputs); of one asked for before, the same."""
    return _searched(matrix.astype(np.int64).tobytes(), matrix.shape)


@lru_cache(maxsize=64)
def _searched(matrix: bytes, shape: tuple[int, int]) -> AdderGraph:
    """Return the adders of a matrix, given as bytes; estimate, hardware and checks ask."""
    return _Search(np.frombuffer(matrix, np.int64).reshape(shape)).graph()


class _Search:
    """Rows as sets of terms, and how often every pattern of two occurs in them."""

    def __init__(self, matrix: np.ndarray):
        self.inputs = matrix.shape[1]
        self.adders: list[Adder] = []
        self.rows: list[set[Term]] = [
            {(i, *digit) for i, weight in enumerate(row) for digit in digits(weight)}
            for row in matrix.tolist()
        ]
        self.counts: Counter[Pattern] = Counter()
        self.where: dict[Pattern, set[int]] = {}
        self.heap: list[tuple[int, Pattern]] = []
        for number, row in enumerate(self.rows):
            for one, other in combinations(row, 2):
                self._count(number, one, other, 1)

    def graph(self) -> AdderGraph:
        """Share while anything is shared, then sum up the rows."""
        while (pattern := self._most_frequent()) is not None:
            first, second, shift, sign = pattern
            node = self._add(first, max(-shift, 0), second, max(shift, 0), sign)
            for number in sorted(self.where[pattern]):
                self._replace(number, pattern, node)
        levels = AdderGraph(self.inputs, tuple(self.adders), ()).levels()
        outputs = tuple(self._sum_up(row, levels) for row in self.rows)
        return AdderGraph(self.inputs, tuple(self.adders), outputs)

    def _add(self, first: int, first_shift: int, second: int, second_shift: int, sign: int) -> int:
        self.adders.append(Adder(first, first_shift, second, second_shift, sign))
        return self.inputs + len(self.adders) - 1

    def _count(self, number: int, one: Term, other: Term, by: int) -> None:
        """Count the pattern of two terms of a row."""
        if other < one:
            one, other = other, one
        pattern = (one[0], other[0], other[1] - one[1], one[2] * other[2])
        self.counts[pattern] += by
        if by > 0:
            self.where.setdefault(pattern, set()).add(number)
        if self.counts[pattern] > 1:
            heapq.heappush(self.heap, (-self.counts[pattern], pattern))

    def _most_frequent(self) -> Pattern | None:
        while self.heap:
            count, pattern = heapq.heappop(self.heap)
            if self.counts[pattern] == -count:
                return pattern
        return None

    def _replace(self, number: int, pattern: Pattern, node: int) -> None:
        """Replace every occurrence of a pattern in a row by its node."""
        first, second, shift, sign = pattern
        row = self.rows[number]
        for one in sorted(term for term in row if term[0] == first):
            other = (second, one[1] + shift, one[2] * sign)
            if one not in row or other not in row or one == other:
                continue
            for gone in (one, other):
                row.remove(gone)
                for term in row:
                    self._count(number, gone, term, -1)
            self._count(number, one, other, -1)
            # The node has the smaller of both shifts taken out.
            new = (node, one[1] + min(shift, 0), one[2])
            for term in row:
                self._count(number, new, term, 1)
            row.add(new)

    def _sum_up(self, row: set[Term], levels: list[int]) -> Term | None:
        """Add a row's terms, those with the least adders behind them first."""
        heap = [(levels[term[0]], term) for term in sorted(row)]
        heapq.heapify(heap)
        while len(heap) > 1:
            one, other = heapq.heappop(heap)[1], heapq.heappop(heap)[1]
            if one[2] < other[2]:  # a difference starts with what is positive
                one, other = other, one
            base = min(one[1], other[1])
            node = self._add(one[0], one[1] - base, other[0], other[1] - base, one[2] * other[2])
            levels.append(max(levels[one[0]], levels[other[0]]) + 1)
            heapq.heappush(heap, (levels[node], (node, base, one[2])))
        return heap[0][1] if heap else None
