"""What a quantizer of the exported model makes of the integers that it takes, in float64."""

from collections.abc import Callable

import numpy as np
from onnx import NodeProto, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from build.checks import LAYERS, PASSING, QUANTIZERS, joins, quantizer_of
from build.execute import run_node
from build.grid import grid_of


def range_of(source: ModelWrapper, quantizer: NodeProto) -> tuple[float, int]:
    """Return a quantizer's step and its lowest integer."""
    operator = getCustomOp(quantizer)
    scale, bits = (float(source.get_initializer(quantizer.input[i]).item()) for i in (1, 3))
    signed, narrow = operator.get_nodeattr("signed"), operator.get_nodeattr("narrow")
    return scale, int(-(2 ** (bits - 1)) + narrow if signed else 0)


def is_activation(model: ModelWrapper, node: NodeProto) -> bool:
    """Whether a node quantizes activations (and neither weights nor the input's floats)."""
    return node.op_type in QUANTIZERS and head_of(model, node) is not None


def head_of(model: ModelWrapper, quantizer: NodeProto) -> tuple[str, list[NodeProto]] | None:
    """Return the integers that a quantizer takes, and what is computed on the way to it, in order.

    They are a layer's accumulators, the sum or concatenation of branches, or another quantizer's
    output; None for a quantizer of constants or floats.
    """
    between: list[NodeProto] = []
    tensor = quantizer.input[0]
    while (node := model.find_producer(tensor)) is not None:
        if node.op_type in (*LAYERS, *QUANTIZERS) or joins(model, node):
            return tensor, between
        # A quantizer is monotone: pooling before or after it makes no difference.
        if node.op_type not in PASSING:
            between.insert(0, node)
        tensor = node.input[0]
    integers = model.get_initializer(tensor) is None and model.get_tensor_datatype(tensor)
    return (tensor, between) if integers and integers.is_integer() else None


def levels_of(source: ModelWrapper, quantizer: NodeProto) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from the integers that a quantizer takes (`head_of`) to its levels.

    Both are (N, C); levels count from the quantizer's lowest value. Computed in float64.
    """
    found = head_of(source, quantizer)
    assert found is not None, f"{quantizer.name} is behind no integers"
    head, between = found
    step, bias = _step_and_bias(source, head)
    scale, lowest = range_of(source, quantizer)
    chain = values_of(source, quantizer, head, between)

    def levels(accumulators: np.ndarray) -> np.ndarray:
        return np.rint(chain(accumulators.astype(np.float64) * step + bias) / scale) - lowest

    return levels


def values_of(
    source: ModelWrapper, quantizer: NodeProto, head: str, between: list[NodeProto]
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from a tensor's float64 values (N, C) to its quantizer's, (N, C)."""
    constants = {item.name: numpy_helper.to_array(item) for item in source.graph.initializer}
    producer = source.find_producer(head)
    shape = source.get_tensor_shape(head)
    positions = producer.op_type == "Conv" or (shape is not None and len(shape) == 3)

    def values(value: np.ndarray) -> np.ndarray:
        rows = value.shape
        value = value[..., None] if positions else value
        for node in [*between, quantizer]:
            # The running value stands for the input that is no constant.
            value = run_node(node, [constants.get(item, value) for item in node.input])
        return value.reshape(rows)

    return values


def _step_and_bias(source: ModelWrapper, head: str) -> tuple[np.ndarray, np.ndarray | float]:
    """Return what one integer of a tensor is worth (one value or one a channel), and its bias."""
    layer = source.find_producer(head)
    if layer is None or layer.op_type not in LAYERS:
        grid = grid_of(source, head)
        assert grid is not None, "`build.buildable` refuses joins of floats"
        return np.array(grid.step), 0.0
    taken, weights = grid_of(source, layer.input[0]), quantizer_of(source, layer.input[1])
    assert taken is not None and weights is not None, "`build.checks` refuses float operands"
    step = taken.step * source.get_initializer(weights.input[1]).reshape(-1).astype(np.float64)
    return step, source.get_initializer(layer.input[2]) if len(layer.input) > 2 else 0.0
