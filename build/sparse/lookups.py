"""Each staircase of a parallel quantizer as a memory that the accumulator itself addresses.

Nothing is subtracted: the accumulator's lower `fraction` bits are compared with a threshold, the
`bits` above them choose a segment with at most one step, and what lies above those is left away:
from `low` to `high` no two segments have the same address. Accumulators below `low` count as it;
from `high` on the value is `last`. Both lie anywhere beyond the steps, so round numbers are taken,
which few bits are compared with, or the ends of the range, which need no comparison at all.
"""

from dataclasses import dataclass

import numpy as np

from models.errors import BadInput

DIRECT = 11
"""Bits of an address up to which a memory holds every value itself: one block RAM of 18 kbit."""


@dataclass(frozen=True)
class Lookup:
    """A staircase.

    Attributes:
        low: smallest accumulator that addresses the memory.
        high: smallest one that does no more.
        last: the value from there on.
        bits: of a segment's address.
        fraction: bits of an accumulator below it; 0 where the memory holds each value itself.
        falling: whether `step` is added below the threshold instead of from it on.
        base: int64 (2 ** bits,), the lower value of each segment.
        threshold: same shape, at least 0, below 2 ** fraction.
        step: same shape, at least 0.
    """

    low: int
    high: int
    last: int
    bits: int
    fraction: int
    falling: bool
    base: np.ndarray
    threshold: np.ndarray
    step: np.ndarray

    def compute(self, accumulators: np.ndarray) -> np.ndarray:
        """Return the values of accumulators of any shape."""
        taken = np.maximum(accumulators, self.low)
        segment = taken >> self.fraction & (2**self.bits - 1)
        reached = (taken & (2**self.fraction - 1)) >= self.threshold[segment]
        values = self.base[segment] + self.step[segment] * (reached ^ self.falling)
        return np.where(accumulators < self.high, values, self.last)


def lookup_of(thresholds: np.ndarray, values: np.ndarray, low: int, high: int, name: str) -> Lookup:
    """Return the memory of a staircase (see `network.Requantize`) with at least one step.

    Args:
        thresholds: int64 (n,), rising.
        values: int64 (n + 1,).
        low: smallest accumulator.
        high: largest.
        name: of the quantizer, for the message.

    Raises:
        BadInput: the staircase rises and falls.
    """
    falling = bool(values[-1] < values[0])
    if (np.diff(values) * (-1 if falling else 1) < 0).any():
        raise BadInput(f"{name} rises and falls, which sparse hardware does not compute")
    fraction = 0
    if _segments(thresholds, 0) > 2**DIRECT:
        finest = range(int(thresholds[-1] - thresholds[0]).bit_length(), -1, -1)
        fraction = next(k for k in finest if len(np.unique(thresholds >> k)) == len(thresholds))
    bits = (_segments(thresholds, fraction) - 1).bit_length()
    first, end = _window(thresholds >> fraction, (int(thresholds[0]) - 1) >> fraction, 2**bits,
                         low >> fraction, high >> fraction)  # fmt: skip
    starts = np.arange(first, first + 2**bits) << fraction
    below = values[np.searchsorted(thresholds, starts, side="right")]
    above = values[np.searchsorted(thresholds, starts + 2**fraction - 1, side="right")]
    base, step = np.minimum(below, above), np.abs(above - below)
    threshold = np.zeros(2**bits, np.int64)
    inside = (thresholds >> fraction) - first
    threshold[inside] = thresholds - starts[inside]
    if fraction and not falling:
        # Where a segment has no step it takes the usual one at 0, from a base that much lower.
        usual = int(step[step > 0].min())
        base, step = np.where(step == 0, base - usual, base), np.where(step == 0, usual, step)
    elif fraction:
        step = np.where(step == 0, int(step[step > 0].min()), step)  # below 0 there is nothing
    else:
        # Each value itself: a step lies between two accumulators, never within one.
        base, step = below, np.zeros_like(step)
    place = np.arange(first, first + 2**bits) & (2**bits - 1)
    order = np.argsort(place)
    return Lookup(
        first << fraction,
        end << fraction,
        int(values[-1]),
        bits,
        fraction,
        falling and fraction > 0,
        base[order],
        threshold[order],
        step[order],
    )


def _segments(thresholds: np.ndarray, fraction: int) -> int:
    """Return how many there are from the last accumulator below all thresholds to the last one."""
    return int((thresholds[-1] >> fraction) - ((thresholds[0] - 1) >> fraction)) + 1


def _window(steps: np.ndarray, first: int, size: int, low: int, high: int) -> tuple[int, int]:
    """Return the first segment of the memory, and the first behind it.

    Args:
        steps: segments with a step.
        first: the segment that the memory has to hold first.
        size: segments that it has room for.
        low: smallest segment that occurs.
        high: largest.
    """
    last = int(steps[-1])
    start = low if last - size < low <= first else roundest(last - size + 1, first)
    return start, high + 1 if last <= high < start + size else roundest(last + 1, start + size)


def roundest(low: int, high: int) -> int:
    """Return the integer from low to high that most powers of two divide."""
    zeros = max((high - low).bit_length() + 1, 1)
    return next(high >> z << z for z in range(max(zeros, 40), -1, -1) if high >> z << z >= low)
