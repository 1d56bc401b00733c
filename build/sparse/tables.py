"""Each staircase of a quantizer as a table of segments that has at most one step in each.

`u = clip(sign * accumulator - origin)` has `bits` bits; its upper ones choose a segment, its lower
`fraction` ones are compared with the segment's threshold:

    value = base[segment] + (step[segment] if lower bits >= threshold[segment] else 0)
"""

from dataclasses import dataclass

import numpy as np

from models.errors import BadInput


@dataclass(frozen=True)
class Table:
    """A staircase.

    Attributes:
        sign: 1, or -1 where the value falls with the accumulator.
        origin: what `u` counts from; multiples of a power of two are cheap to subtract.
        bits: of `u`; 0 where the value is constant.
        fraction: lower bits of `u`.
        base: int64 (2 ** (bits - fraction),), value of each segment below its step.
        threshold: same shape, at least 0, below 2 ** fraction.
        step: same shape, at least 0.
    """

    sign: int
    origin: int
    bits: int
    fraction: int
    base: np.ndarray
    threshold: np.ndarray
    step: np.ndarray

    def compute(self, accumulators: np.ndarray) -> np.ndarray:
        """Return the values of accumulators of any shape."""
        u = np.clip(self.sign * accumulators - self.origin, 0, 2**self.bits - 1)
        segment, lower = u >> self.fraction, u & (2**self.fraction - 1)
        return self.base[segment] + self.step[segment] * (lower >= self.threshold[segment])


def table_of(
    thresholds: np.ndarray,
    values: np.ndarray,
    name: str,
    bits: int | None = None,
    fraction: int | None = None,
) -> Table:
    """Return the table of a staircase (see `network.Requantize`).

    Args:
        thresholds: int64 (n,), rising.
        values: int64 (n + 1,).
        name: of the quantizer, for the message.
        bits: at least so many for `u`; default: the least.
        fraction: at most so many lower bits; default: as many as there can be.

    Raises:
        BadInput: the staircase rises and falls.
    """
    sign = 1
    if len(values) > 1 and values[-1] < values[0]:
        sign, thresholds, values = -1, 1 - thresholds[::-1], values[::-1]
    steps = np.diff(values)
    if (steps < 0).any():
        raise BadInput(f"{name} rises and falls, which sparse hardware does not compute")
    if not len(thresholds):
        origin, least = 0, 0
    else:
        first, last = int(thresholds[0]) - 1, int(thresholds[-1])
        least = (last - first).bit_length()
        origin = next(
            start
            for zeros in range(least, -1, -1)
            if (last - (start := first >> zeros << zeros)).bit_length() == least
        )
    bits = least if bits is None else max(bits, least)
    at = thresholds - origin
    finest = bits if fraction is None else min(fraction, bits)
    fraction = next(k for k in range(finest, -1, -1) if len(np.unique(at >> k)) == len(at))
    segments = 2 ** (bits - fraction)
    # Where a segment has no step it takes the usual one at 0, from a base that much lower.
    usual = int(steps.min()) if len(steps) else 0
    step = np.full(segments, usual)
    threshold = np.zeros(segments, np.int64)
    starts = np.arange(segments) << fraction
    base = values[np.searchsorted(at, starts, side="right")] - usual
    inside = at >> fraction
    threshold[inside], step[inside], base[inside] = at - starts[inside], steps, values[:-1]
    return Table(sign, origin, bits, fraction, base, threshold, step)
