"""Additions of branches whose steps are to each other as no small integers, as 0.0731 and 0.05.

What a quantizer makes of a sum depends on which side of its thresholds the sum lies. The sums of
two quantized branches are few: all can be tried. So one branch's step is changed by a little, such
that the steps are to each other as small integers and every sum stays on its side of every
threshold; hardware then adds integers.
"""

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from onnx import NodeProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation
from qonnx.transformation.general import SortGraph

from build.checks import PASSING, QUANTIZERS, joins
from build.grid import ROUNDING, Grid, common_factors, convergents, grid_of

SMALL = 64
"""Factors up to which the steps are taken as they are."""

MOST_SUMS = 1 << 16

BETWEEN = ("Add", "BatchNormalization", "Div", "Mul", "Relu", "Sub", *PASSING)
"""Between a sum and its quantizers: monotone in each channel."""

MARGIN = 2.5e-7
"""How far, in parts of a sum, it stays from every threshold: rounding of float32 constants."""


class BranchesOnOneGrid(Transformation):
    """Multiply one operand of an addition by nearly one, so that both steps share a third."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite the first such addition, in place."""
        for node in model.graph.node:
            if node.op_type != "Add" or not joins(model, node) or len(node.input) != 2:
                continue
            grids = [grid_of(model, name) for name in node.input]
            left, right = grids
            if left is None or right is None or _small(left, right):
                continue
            ratio = right.step / left.step
            for candidate in _between(ratio):
                if decides_alike(model, node, candidate):
                    if math.isclose(float(candidate), ratio, rel_tol=ROUNDING):
                        break  # there already, with factors that are not small
                    _multiply(model, node, float(candidate) / ratio)
                    return model.transform(SortGraph()), True
        return model, False


def _small(left: Grid, right: Grid) -> bool:
    factors = common_factors([left.step, right.step])
    return factors is not None and max(factors) <= SMALL


def _between(ratio: float) -> Iterator[Fraction]:
    """Yield fractions near a ratio, none of them as good as equal."""
    for candidate in convergents(ratio):
        factors = common_factors([1.0, float(candidate)]) if candidate > 0 else None
        if factors is not None:
            yield candidate


def decides_alike(model: ModelWrapper, node: NodeProto, ratio: Fraction | float) -> bool:
    """Whether every quantizer of a sum decides as before if the steps are to each other as told.

    Args:
        model: the graph.
        node: the addition of two branches.
        ratio: of the second operand's step to the first's.
    """
    from build.levels import values_of

    quantizers = _quantizers(model, node.output[0], [])
    left, right = (grid_of(model, name) for name in node.input)
    if not quantizers or left is None or right is None:
        return False
    if (left.high - left.low + 1) * (right.high - right.low + 1) > MOST_SUMS:
        return False
    first = np.arange(left.low, left.high + 1, dtype=np.float64)[:, None] * left.step
    second = np.arange(right.low, right.high + 1, dtype=np.float64)
    channels = model.get_tensor_shape(node.output[0])[1]

    def sums(step: float) -> np.ndarray:
        return np.repeat((first + second * step).reshape(-1, 1), channels, axis=1)

    wanted, changed = sums(right.step), sums(left.step * float(ratio))
    for quantizer, between in quantizers:
        values = values_of(model, quantizer, node.output[0], between)
        expected = values(wanted)
        for factor in (1 - MARGIN, 1 + MARGIN):
            if not np.array_equal(values(changed * factor), expected):
                return False
    return True


def _quantizers(
    model: ModelWrapper, tensor: str, between: list[NodeProto]
) -> list[tuple[NodeProto, list[NodeProto]]]:
    """Return all quantizers of a tensor and what is computed on the way; none if it has others."""
    found = []
    for node in model.find_consumers(tensor) or []:
        if node.op_type in QUANTIZERS:
            found.append((node, between))
            continue
        if node.op_type not in BETWEEN or joins(model, node):
            return []
        passed = [] if node.op_type in PASSING else [node]
        further = _quantizers(model, node.output[0], between + passed)
        if not further:
            return []
        found += further
    return found


def _multiply(model: ModelWrapper, node: NodeProto, factor: float) -> None:
    """Put a multiplication in front of an addition's second operand.

    It is one by twice the factor and one by a half: FINN removes what it takes for a multiplication
    by one, from 0.99999 to 1.00001.
    """
    tensor = node.input[1]
    for count, value in enumerate((2 * factor, 0.5)):
        constant = model.make_new_valueinfo_name()
        model.set_initializer(constant, np.array(value, np.float32))
        output = model.make_new_valueinfo_name()
        name = f"{node.name or node.output[0]}.step{count}"
        model.graph.node.append(helper.make_node("Mul", [tensor, constant], [output], name=name))
        model.set_tensor_shape(output, model.get_tensor_shape(node.input[1]))
        tensor = output
    node.input[1] = tensor
