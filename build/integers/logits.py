"""The class scores as integers of the same order."""

from dataclasses import dataclass

import numpy as np

from build.integers.layers import Array, Values

MANTISSA = 24  # bits of a float32, which FINN's constants are
WIDEST = 40
DECIMALS = 9  # of a bias in units of the accumulator: float64's divisions are exact to more
FAR = 2.0**20  # an accumulator from which a slope is exact to float64's last bits


@dataclass(frozen=True)
class Scores:
    """Integer scores: factors * accumulators + bias, each (F,), float64 that hold integers.

    Attributes:
        scale: what one of them stands for, up to the bias' rounding.
    """

    factors: Array
    bias: Array
    scale: float


def integer_scores(values: Values, classes: int) -> Scores:
    """Return integers that order the classes as the scores do.

    Args:
        values: the scores of accumulators (N, F): factor * accumulator + bias for each class.
        classes: F.

    With one factor for all classes the order is kept exactly: two of them compare by accumulator +
    floor(b), b = bias / factor, and where that is equal by the rest of b, whatever the accumulators
    are. So (accumulator + floor(b)) * K + rank of the rest, with K no less than the number of
    ranks, orders them as the floats do.

    Otherwise factors and bias are the scores' own, to the 24 bits that a float32 has.
    """
    zero, far = values(np.stack([np.zeros(classes), np.full(classes, FAR)]))
    slopes = (far - zero) / FAR
    largest = float(np.abs(slopes).max()) or 1.0
    if np.all(np.abs(slopes - largest) <= 1e-9 * largest):
        wanted = np.round(zero / largest, DECIMALS)
        nearest = np.rint(wanted)
        # A bias that is a number of accumulators, up to the rounding of float32's products.
        whole_ones = np.abs(wanted - nearest) <= 2e-7 * np.abs(wanted)
        wanted = np.where(whole_ones, nearest, wanted)
        whole = np.floor(wanted)
        rests, ranks = np.unique(np.round(wanted - whole, DECIMALS), return_inverse=True)
        factor = 1 << (len(rests) - 1).bit_length()
        bias = whole * factor + ranks
        return Scores(np.full(classes, float(factor)), bias, largest / factor)
    exponents = np.frexp(slopes[slopes != 0])[1]
    shift = min(MANTISSA - int(exponents.min()), WIDEST - int(exponents.max()))
    factors, bias = (np.rint(_short(item) * 2.0**shift) for item in (slopes, zero))
    common = float(np.gcd.reduce(np.concatenate([factors, bias]).astype(np.int64))) or 1.0
    return Scores(factors / common, bias / common, common / 2.0**shift)


def _short(values: Array) -> Array:
    """Return float64 values with the 24 bits of a float32."""
    return values.astype(np.float32).astype(np.float64)
