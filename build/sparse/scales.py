"""Staircases that are a friendly scale (`models/friendly.py`): no memory, two adders at most.

    value = clip((sign * factor * accumulator + offset) >> right, low, high)

with a factor of one or two signed digits. Whether a staircase is one is read off its thresholds:
each of them says between which two integers the offset must lie.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from build.sparse.lookups import roundest

FEWEST = 8
"""Steps of a staircase from which on it is taken for a scale: below any memory is small."""

FACTORS = {1: None} | {
    2**shift + sign: (shift, sign) for shift, sign in itertools.product(range(1, 6), (1, -1))
}
"""Each odd factor of two digits as the shift of the first and the sign of the other, a 1."""


@dataclass(frozen=True)
class Scaled:
    """A staircase.

    Attributes:
        sign: -1 where the value falls with the accumulator.
        factor: one of `FACTORS`.
        offset: added.
        right: bits that are left away.
        low: smallest value.
        high: largest.
    """

    sign: int
    factor: int
    offset: int
    right: int
    low: int
    high: int

    def compute(self, accumulators: np.ndarray) -> np.ndarray:
        """Return the values of accumulators of any shape."""
        scaled = self.sign * self.factor * accumulators + self.offset
        return np.clip(scaled >> self.right, self.low, self.high)


def scaled_of(thresholds: np.ndarray, values: np.ndarray) -> Scaled | None:
    """Return a staircase (see `network.Requantize`) as a scale; None where it is none."""
    sign = 1
    if len(values) > 1 and values[-1] < values[0]:
        sign, thresholds, values = -1, 1 - thresholds[::-1], values[::-1]
    if len(thresholds) < FEWEST or (np.diff(values) != 1).any():
        return None
    width = (int(thresholds[-1]) - int(thresholds[0])) / (len(thresholds) - 1)  # of a step
    for factor in FACTORS:
        about = round(np.log2(width * factor))
        for right in range(max(about - 1, 0), about + 2):
            wanted = values[1:].astype(np.int64) << right
            least = int((wanted - thresholds * factor).max())
            most = int((wanted - (thresholds - 1) * factor).min()) - 1
            if least <= most:
                offset = roundest(least, most)
                return Scaled(sign, factor, offset, right, int(values[0]), int(values[-1]))
    return None
