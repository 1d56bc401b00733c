"""Which numbers can a tensor hold? Those of a quantizer, of a layer of integers and of their sums
are whole multiples of one step: hardware computes with the integers, and the step is no part of it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper

from build.checks import LAYERS, PASSING, QUANTIZERS, integers_of, joins

ROUNDING = 2.5e-7
"""Relative difference of two ratios of steps that float32 makes of equal ones."""

LARGEST_FACTOR = 1023
"""Of a branch's integers, to bring them to the step of another branch.

Two fractions of such numbers differ by more than twice `ROUNDING`: steps that streamlining has
rounded otherwise are still to each other as the same two integers.
"""


@dataclass(frozen=True)
class Grid:
    """The whole multiples of a step between two integers."""

    step: float
    low: int
    high: int

    def scaled(self, factor: int) -> "Grid":
        """Return the same numbers as multiples of a step `factor` times smaller."""
        return Grid(self.step / factor, self.low * factor, self.high * factor)


def grid_of(model: ModelWrapper, tensor: str) -> Grid | None:
    """Return the grid that a tensor's numbers lie on; None if they are floats."""
    node = model.find_producer(tensor)
    if node is None:
        datatype = model.get_tensor_datatype(tensor)
        return (
            Grid(1.0, int(datatype.min()), int(datatype.max())) if datatype.is_integer() else None
        )
    if node.op_type in PASSING:
        return grid_of(model, node.input[0])
    if node.op_type in QUANTIZERS:
        return quantizer_grid(model, node)
    if node.op_type in LAYERS:
        return _layer_grid(model, node)
    if node.op_type == "Mul":
        factor, grid = model.get_initializer(node.input[1]), grid_of(model, node.input[0])
        if grid is None or factor is None or factor.size != 1 or factor.item() <= 0:
            return None
        return Grid(grid.step * float(factor.item()), grid.low, grid.high)
    if joins(model, node):
        grids = [grid_of(model, name) for name in node.input]
        factors = common_factors([None if grid is None else grid.step for grid in grids])
        if factors is None:
            return None
        same = [
            grid.scaled(factor)
            for grid, factor in zip(grids, factors, strict=True)
            if grid is not None
        ]
        lows, highs = [grid.low for grid in same], [grid.high for grid in same]
        if node.op_type == "Concat":
            return Grid(same[0].step, min(lows), max(highs))
        return Grid(same[0].step, sum(lows), sum(highs))
    return None


def quantizer_grid(model: ModelWrapper, node: NodeProto) -> Grid | None:
    """Return the grid of a quantizer with one step and no zero point; None for another one."""
    if node.op_type == "BipolarQuant":
        step = model.get_initializer(node.input[1])
        return Grid(float(step.item()), -1, 1) if step is not None and step.size == 1 else None
    step, zero, bits = (model.get_initializer(name) for name in node.input[1:4])
    if any(value is None or value.size != 1 for value in (step, zero, bits)) or zero.item():
        return None
    return Grid(float(step.item()), *integers_of(model, node))


def _layer_grid(model: ModelWrapper, layer: NodeProto) -> Grid | None:
    """Return the grid of a layer's accumulators; None if it has a bias or a step a channel."""
    weights = model.find_producer(layer.input[1])
    while weights is not None and weights.op_type in PASSING:
        weights = model.find_producer(weights.input[0])
    taken = grid_of(model, layer.input[0])
    if len(layer.input) > 2 or weights is None or taken is None:
        return None
    grid, values = quantizer_grid(model, weights), model.get_initializer(weights.input[0])
    if grid is None or values is None:
        return None
    largest = (
        max(abs(grid.low), abs(grid.high)) * max(abs(taken.low), abs(taken.high)) * values.size
    )
    return Grid(taken.step * grid.step, -largest, largest)


def common_factors(steps: list[float | None]) -> list[int] | None:
    """Return integers, the least ones, that are to each other as the steps are; None if none are.

    An integer of one operand times its factor is then a multiple of the step that all share. Steps
    are float32: what they are to each other is known to `ROUNDING`.
    """
    known = [step for step in steps if step is not None and step > 0]
    if len(known) < len(steps):
        return None
    ratios = [_simplest(step / min(known)) for step in known]
    multiple = math.lcm(*(ratio.denominator for ratio in ratios if ratio is not None))
    factors = [int(ratio * multiple) for ratio in ratios if ratio is not None]
    if len(factors) < len(known) or max(factors) > LARGEST_FACTOR:
        return None
    divisor = math.gcd(*factors)
    return [factor // divisor for factor in factors]


def _simplest(value: float) -> Fraction | None:
    """Return the first fraction that rounding cannot tell from a positive number."""
    return next((each for each in convergents(value) if _same(float(each), value)), None)


def _same(one: float, two: float) -> bool:
    return math.isclose(one, two, rel_tol=ROUNDING)


def convergents(value: float) -> Iterator[Fraction]:
    """Yield ever better approximations of a positive number, those of its continued fraction."""
    rest, before, last = Fraction(value), (0, 1), (1, 0)
    while last[1] <= LARGEST_FACTOR:
        whole = math.floor(rest)
        before, last = last, (whole * last[0] + before[0], whole * last[1] + before[1])
        yield Fraction(*last)
        if rest == whole:
            return
        rest = 1 / (rest - whole)
