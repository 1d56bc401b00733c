"""What lies between two layers, a monotone function of an integer, as thresholds."""

from collections.abc import Callable, Sequence

import numpy as np
from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper

from build.checks import PASSING, TRUNCATING, integers_of
from build.execute import run_node
from build.integers.layers import Array, Values
from build.integers.line import Constants, told

Integers = Callable[[Array], Array]
"""From integers (N, C) to numbers (N, C)."""


def values_behind(
    nodes: Sequence[NodeProto], shape: Sequence[int], values: Values, constants: Constants
) -> Integers:
    """Return the function from integers to what nodes make of them, in float64.

    Args:
        nodes: element-wise ones, and others that only move or choose values.
        shape: of the tensor in front of them, (1, C, L) or (1, C).
        values: what the integers stand for.
        constants: of the graph.

    Raises:
        BadInput: a constant is not one number or one a channel.
    """
    flat, channels = len(shape) == 2, shape[1]
    plan: list[tuple[NodeProto, list[Array | None]]] = []
    for node in nodes:
        if node.op_type in PASSING:
            # Behind a flattening of several positions a channel is no channel any more.
            flat = flat or node.op_type in ("Flatten", "Reshape", "Squeeze")
            if flat and len(shape) == 3 and shape[2] > 1:
                channels = 1
            continue
        wanted = (1, channels) if flat else (1, channels, 1)
        fixed = [constants.get(name) for name in node.input]
        if node.op_type == "BatchNormalization":
            fitting = all(item is None or item.size == channels for item in fixed)
        else:
            fitting = all(item is None or _fits(item, wanted) for item in fixed)
        if not fitting:
            raise told(node, "its constants must be one number, or one a channel in front of any "
                             "flattening")  # fmt: skip
        plan.append((node, fixed))

    def function(integers: Array) -> Array:
        value = values(integers)[..., None]
        for node, fixed in plan:
            operands = [value if item is None else item for item in fixed]
            if node.op_type != "BatchNormalization":
                operands = [_per_channel(item, value) for item in operands]
            value = run_node(node, operands)
        return value.reshape(integers.shape)

    return function


def _fits(constant: Array, wanted: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(constant.shape, wanted) == wanted
    except ValueError:
        return False


def _per_channel(item: Array, value: Array) -> Array:
    """Return a constant (C,), (1, C) of a vector, or (C, 1) of positions, to go with (N, C, 1)."""
    return item if item is value or item.size == 1 else item.reshape(1, -1, 1)


def output_of(
    model: ModelWrapper, quantizer: NodeProto, constants: Constants
) -> tuple[float, tuple[int, int] | None]:
    """Return a quantizer's step, and its range of integers where it says one.

    Raises:
        BadInput: it has a step for each channel, or a zero point.
    """
    kind, inputs = quantizer.op_type, quantizer.input
    if kind != "BipolarQuant" and np.any(constants[inputs[2]] != 0):
        raise told(quantizer, "its zero point must be 0; quantize symmetrically")
    old = kind in TRUNCATING and len(inputs) < 6  # QONNX's first version of it
    step = constants[inputs[4 if kind in TRUNCATING and not old else 1]]
    if step.size != 1:
        raise told(quantizer, "its step must be one number (per tensor)")
    return float(step.item()), None if old else integers_of(model, quantizer)


def thresholds_of(levels: Integers, low: Array, high: Array, count: int) -> Array:
    """Return int64 (C, count): the least integer at which each level is reached.

    Args:
        levels: from integers (N, C) to levels (N, C), counted from 0 and nowhere falling.
        low, high: least and largest integer (C,) that occur; high + 1 stands for never.
        count: the highest level.
    """
    wanted = np.arange(1, count + 1)[:, None]
    below = np.broadcast_to(low, (count, len(low))).copy()
    above = np.broadcast_to(high + 1, (count, len(low))).copy()
    while (below < above).any():
        middle = (below + above) // 2
        reached = levels(middle) >= wanted
        above = np.where(reached, middle, above)
        below = np.where(reached, below, np.minimum(middle + 1, above))
    return above.T
