"""The straight line of a network's nodes, cut at its layers."""

from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper

from build.checks import LAYERS, MEANS, PASSING
from build.execute import run_node
from models.errors import BadInput


@dataclass
class Segment:
    """A layer and what follows up to the next; the first has no layer, it begins at the input."""

    layer: NodeProto | None
    nodes: list[NodeProto] = field(default_factory=list)


def straight(model: ModelWrapper) -> bool:
    """Whether each tensor of the frames' way goes to one node, from the input to the output."""
    try:
        _line(model)
    except BadInput:
        return False
    return True


def segments(model: ModelWrapper) -> tuple[NodeProto, list[Segment]]:
    """Return the input's quantizer and the segments behind it.

    Raises:
        BadInput: the network is no straight line.
    """
    first, *others = _line(model)
    found = [Segment(None)]
    for node in others:
        if node.op_type in (*LAYERS, *MEANS):
            found.append(Segment(node))
        else:
            found[-1].nodes.append(node)
    return first, found


def _line(model: ModelWrapper) -> list[NodeProto]:
    if len(model.graph.output) != 1:
        raise BadInput("there are several outputs")
    found: list[NodeProto] = []
    tensor, end = model.graph.input[0].name, model.graph.output[0].name
    while tensor != end:
        consumers = model.find_consumers(tensor) or []
        if len(consumers) != 1 or list(consumers[0].input).count(tensor) != 1:
            raise BadInput(f"{tensor} goes to {len(consumers)} nodes; one is known")
        found.append(consumers[0])
        tensor = consumers[0].output[0]
    if model.find_consumers(end):
        raise BadInput(f"the output {end} is used inside of the network")
    return found


class Constants:
    """The values of a graph's constants in float64, quantizers of constants executed."""

    def __init__(self, model: ModelWrapper):
        self._model = model
        self._known: dict[str, np.ndarray] = {
            item.name: _wide(numpy_helper.to_array(item)) for item in model.graph.initializer
        }

    def __contains__(self, tensor: str) -> bool:
        return self.get(tensor) is not None

    def __getitem__(self, tensor: str) -> np.ndarray:
        value = self.get(tensor)
        if value is None:
            raise KeyError(tensor)
        return value

    def get(self, tensor: str) -> np.ndarray | None:
        """Return a tensor's value; None if it depends on the frames."""
        if tensor in self._known:
            return self._known[tensor]
        node = self._model.find_producer(tensor)
        if node is None:
            return None
        inputs = [self.get(name) for name in node.input if name]
        if any(value is None for value in inputs):
            return None
        if node.op_type in PASSING:
            value = pass_on(node, inputs[0], *inputs[1:])
        else:
            value = run_node(node, [item for item in inputs if item is not None])
        self._known[tensor] = value
        return value


def _wide(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float64) if np.issubdtype(value.dtype, np.floating) else value


def pass_on(node: NodeProto, value: np.ndarray | None, *others: np.ndarray | None) -> np.ndarray:
    """Return what a node that only moves values makes of a constant, whatever its axes are."""
    assert value is not None
    if node.op_type == "Transpose":
        return value.transpose(attributes_of(node).get("perm"))
    if node.op_type == "Identity":
        return value
    if node.op_type == "Reshape":
        assert others[0] is not None
        shape = [value.shape[i] if n == 0 else int(n) for i, n in enumerate(others[0])]
        return value.reshape(shape)
    if node.op_type == "Flatten":
        axis = attributes_of(node).get("axis", 1)
        return value.reshape(int(np.prod(value.shape[:axis])), -1)
    raise BadInput(f"cannot build {node.name} ({node.op_type}): weights do not go through it")


def attributes_of(node: NodeProto) -> dict:
    """Return a node's attributes by name."""
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def told(node: NodeProto, problem: str) -> BadInput:
    """Return the error that says what stands in a node's way."""
    return BadInput(f"cannot build {node.name or node.output[0]} ({node.op_type}): {problem}")
