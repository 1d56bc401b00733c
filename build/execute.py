"""Execute a graph of any step of the flow on many frames at once.

FINN executes one frame at a time and builds a session for every node of every frame; verification
after every step needs hundreds of frames. Here a node is computed over a batch, by
`build/operators.py`. `tests/build/test_flow_execute.py` compares with FINN's own execution.
"""

from collections.abc import Callable, Iterator

import numpy as np
from onnx import NodeProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from build.operators import CUSTOM, STANDARD
from models.errors import BadInput


def execute(
    model: ModelWrapper, frames: np.ndarray, keep: Callable[[NodeProto], bool] | None = None
) -> dict[str, np.ndarray]:
    """Run all nodes on a batch and return the graph's outputs, tensors by name.

    Args:
        model: a graph with one input; static shapes with a leading 1, which stands for the batch.
        frames: (N, *input shape without the leading 1). Everything is computed in its dtype:
            float32 is exact for integers below 2^24, float64 for all that occur.
        keep: nodes whose outputs to return as well.

    Raises:
        BadInput: the graph holds an operator that is not known here.
    """
    outputs = {output.name for output in model.graph.output}
    return {
        output_of(node): value
        for node, value in trace(model, frames)
        if output_of(node) in outputs or (keep is not None and keep(node))
    }


def trace(model: ModelWrapper, frames: np.ndarray) -> Iterator[tuple[NodeProto, np.ndarray]]:
    """Yield every node with its output, in the graph's order; see `execute`."""
    shape = model.get_tensor_shape(model.graph.input[0].name)
    values = {
        item.name: _in_type(numpy_helper.to_array(item), frames.dtype)
        for item in model.graph.initializer
    }
    values[model.graph.input[0].name] = frames.reshape(len(frames), *shape[1:])
    last_use = {name: index for index, node in enumerate(model.graph.node) for name in node.input}
    for index, node in enumerate(model.graph.node):
        result = run_node(node, [values[name] for name in node.input if name])
        result = _in_type(result, frames.dtype)
        values |= dict.fromkeys(node.output, result) | {output_of(node): result}
        yield node, result
        for name in node.input:
            if last_use.get(name) == index:
                values.pop(name, None)


def _in_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return floats in the type that everything is computed in, anything else as it is."""
    return values.astype(dtype, copy=False) if np.issubdtype(values.dtype, np.floating) else values


def output_of(node: NodeProto) -> str:
    """Return the name of the output that is computed: of TopK the indices, else the only one."""
    return node.output[-1]


def run_node(node: NodeProto, inputs: list[np.ndarray]) -> np.ndarray:
    """Return a node's output for batched inputs.

    Raises:
        BadInput: the operator is not known here.
    """
    if node.domain in ("", "ai.onnx") and node.op_type in STANDARD:
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        return STANDARD[node.op_type](attributes, *inputs)
    if node.domain not in ("", "ai.onnx"):
        instance = getCustomOp(node)
        for kind, function in CUSTOM.items():
            if isinstance(instance, kind):
                return function(instance, *inputs)
    raise BadInput(f"node {node.name}: the flow knows no operator {node.op_type}")
