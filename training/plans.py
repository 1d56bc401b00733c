"""What to prune next: plans that follow from the iterations done so far alone."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from models.checkpoint import Checkpoint
from models.cost import inference_cost
from models.errors import BadInput
from training.prune import METHODS, fraction_for_score

LEAST = 0.001
"""Share of the weights that a step of `repeated` prunes at least: thousands of steps are a slip."""


@dataclass(frozen=True)
class Row:
    """An iteration of a pruning run, a line of its table.

    Attributes:
        iteration: its number, from 0.
        parent: the iteration that it pruned; -1 is the start.
        fraction: share that it pruned of what was left.
        accuracy: on the test split, after retraining.
        good: whether the accuracy exceeds the threshold.
        score: official score; this and the next three as `models.cost.inference_cost`.
        parameters: numbers that the network learns.
        checkpoint: file name.
    """

    iteration: int
    parent: int
    fraction: float
    accuracy: float
    good: bool
    score: float
    bit_ops: int
    weight_bits: int
    nonzero_weights: int
    parameters: int
    checkpoint: str


@dataclass(frozen=True)
class Step:
    """What to do next: prune `fraction` of what iteration `parent` left (-1: the start)."""

    parent: int
    fraction: float


Weights = Callable[[int], Checkpoint]
"""Gives what an iteration left; of -1 the start."""


class Plan(Protocol):
    """Says what to prune next; its fields are what tells it from another plan."""

    def next(self, rows: Sequence[Row], weights: Weights) -> Step | None:
        """Return the step after the iterations in `rows`; None ends the run."""


@dataclass(frozen=True)
class FixedSteps:
    """Prune the given shares, one iteration each, whatever becomes of the accuracy."""

    fractions: tuple[float, ...]

    def __post_init__(self):
        if not self.fractions or not all(0 < share < 1 for share in self.fractions):
            raise BadInput(f"shares to prune lie between 0 and 1, not {list(self.fractions)}")

    def next(self, rows: Sequence[Row], weights: Weights) -> Step | None:
        """Take the next share of what the last iteration left."""
        done = len(rows)
        return Step(done - 1, self.fractions[done]) if done < len(self.fractions) else None


@dataclass(frozen=True)
class Towards:
    """Prune down to an official score in equal ratios.

    Attributes:
        score: of the last iteration, at most.
        iterations: 1 or more.
        method: a single-weight one (`training.prune.METHODS`).
    """

    score: float
    iterations: int
    method: str

    def __post_init__(self):
        if self.method not in METHODS:
            raise BadInput(f"a target score is for single weights: --method {' or '.join(METHODS)}")
        if not 0 < self.score < math.inf or self.iterations < 1:
            raise BadInput(
                f"a target score is positive, and reached in 1 iteration or more, not "
                f"{self.score} in {self.iterations}"
            )

    def next(self, rows: Sequence[Row], weights: Weights) -> Step | None:
        """Take the share that leads there in as many iterations as are left.

        Raises:
            BadInput: the start costs no more than that already.
        """
        done = len(rows)
        # Retraining may round weights to zero and get there earlier.
        if done >= self.iterations or (rows and rows[-1].score <= self.score):
            return None
        parent = weights(done - 1)
        now = rows[-1].score if rows else inference_cost(parent).score
        goal = self.score * (now / self.score) ** (1 - 1 / (self.iterations - done))
        return Step(done - 1, fraction_for_score(parent, goal, self.method))


@dataclass(frozen=True)
class Feedback:
    """Prune until the threshold is missed, then go back to the last good weights in smaller steps.

    Feedback magnitude pruning, after the winning entry of ITU-ML5G-PS-007 that used it.

    Attributes:
        first: share of the first step.
        shrink: what a miss multiplies the step with.
        smallest: end below this step.
        most: iterations.
    """

    first: float
    shrink: float = 0.5
    smallest: float = 0.01
    most: int = 50

    def __post_init__(self):
        if not (0 < self.smallest <= self.first < 1 and 0 < self.shrink < 1):
            raise BadInput(
                f"the first step lies between the smallest, {self.smallest:.1%}, and 100 %, and "
                f"shrinks by a factor below 1; not {self.first:.1%} by {self.shrink}"
            )

    def next(self, rows: Sequence[Row], weights: Weights) -> Step | None:
        """Go on from the last good iteration, in a step that every miss made smaller."""
        parent, fraction = -1, self.first
        for row in rows:
            if row.good:
                parent = row.iteration
            else:
                fraction *= self.shrink
        more = fraction >= self.smallest and len(rows) < self.most
        return Step(parent, fraction) if more else None


def repeated(fraction: float, left: float = 0.01) -> tuple[float, ...]:
    """Return as many equal steps as leave the share `left` of the weights, as published.

    At least one: 99.5 % at once leaves less than 1 %.

    Raises:
        BadInput: the fraction is out of range.
    """
    if not LEAST <= fraction < 1:
        raise BadInput(
            f"a step prunes between {LEAST:.1%} and 100 % of what is left, not {fraction:.4%}"
        )
    # 90 % twice leaves 1 %; the logarithms of the rounded numbers say 1.9999.
    return (fraction,) * max(int(math.log(left) / math.log(1 - fraction) + 1e-9), 1)
