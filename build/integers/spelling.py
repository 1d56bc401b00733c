"""Other people's habits put the way that the rest of this package knows, each exactly."""

import numpy as np
from onnx import NodeProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation
from qonnx.transformation.fold_constants import FoldConstants
from qonnx.transformation.general import GiveUniqueParameterTensors, RemoveUnusedTensors
from qonnx.transformation.infer_shapes import InferShapes

from build.checks import QUANTIZERS
from build.integers.line import attributes_of
from build.integers.one_dimension import OneDimension

WINDOWED = ("Conv", "MaxPool", "AveragePool")


class ExplicitPads(Transformation):
    """Write the zeros that `auto_pad` means as numbers."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite in place."""
        for node in model.graph.node:
            attributes = attributes_of(node)
            mode = attributes.get("auto_pad", b"NOTSET").decode()
            if node.op_type not in WINDOWED or mode == "NOTSET":
                continue
            shape = model.get_tensor_shape(node.input[0])[2:]
            kernel = attributes.get("kernel_shape") or model.get_tensor_shape(node.input[1])[2:]
            ones = [1] * len(shape)
            strides, dilations = (attributes.get(key, ones) for key in ("strides", "dilations"))
            total = [
                max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
                for size, k, s, d in zip(shape, kernel, strides, dilations, strict=True)
            ]
            if mode == "VALID":
                total = [0] * len(total)
            less, more = [n // 2 for n in total], [-(-n // 2) for n in total]
            set_attribute(node, "auto_pad", None)
            set_attribute(node, "pads", less + more if mode != "SAME_LOWER" else more + less)
        return model, False


class PadsIntoConvolutions(Transformation):
    """Let a convolution pad by itself where a node of its own puts zeros in front of it."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite the first such pair, in place."""
        for node in model.get_nodes_by_op_type("Pad"):
            following = model.find_consumers(node.output[0]) or []
            pads = _zeros(model, node)
            if pads is None or len(following) != 1 or following[0].op_type != "Conv":
                continue
            rank = len(pads) // 2 - 2
            if any(pads[:2]) or any(pads[rank + 2 : rank + 4]):
                continue  # of frames or channels
            added = pads[2 : rank + 2] + pads[rank + 4 :]
            conv = following[0]
            own = attributes_of(conv).get("pads", [0] * 2 * rank)
            set_attribute(conv, "pads", [a + b for a, b in zip(own, added, strict=True)])
            conv.input[0] = node.input[0]
            model.graph.node.remove(node)
            return model, True
        return model, False


def _zeros(model: ModelWrapper, node: NodeProto) -> list[int] | None:
    """Return how many zeros a Pad puts before and behind each axis; None if it does otherwise."""
    attributes = attributes_of(node)
    if attributes.get("mode", b"constant") != b"constant":
        return None
    named = [model.get_initializer(name) if name else None for name in node.input[1:]]
    pads = named[0] if named else np.array(attributes.get("pads", []))
    value = named[1] if len(named) > 1 else None
    if pads is None or len(named) > 2 or (value is not None and value.size and value.item() != 0):
        return None
    given = [int(n) for n in pads]
    return given if min(given, default=-1) >= 0 else None


def set_attribute(node: NodeProto, name: str, value: object) -> None:
    """Give a node an attribute, in place of one of that name; None takes it away."""
    for item in [item for item in node.attribute if item.name == name]:
        node.attribute.remove(item)
    if value is not None:
        node.attribute.append(helper.make_attribute(name, value))


def folded(model: ModelWrapper) -> ModelWrapper:
    """Return a network (its copy) with shapes, explicit zeros and no arithmetic of constants."""
    model = ModelWrapper(model.model, make_deepcopy=True)
    for step in (
        InferShapes(),
        GiveUniqueParameterTensors(),
        FoldConstants(exclude_op_types=list(QUANTIZERS)),
        ExplicitPads(),
        RemoveUnusedTensors(),
    ):
        model = model.transform(step)
    return model


def prepared(model: ModelWrapper) -> ModelWrapper:
    """Return a `folded` network (its copy) in the spelling that the integers are made from."""
    model = ModelWrapper(model.model, make_deepcopy=True)
    for step in (PadsIntoConvolutions(), OneDimension(), RemoveUnusedTensors(), InferShapes()):
        model = model.transform(step)
    return model
