"""The accelerator's output: integer logits, or the index of the largest."""

import json

import numpy as np
from finn.builder.build_dataflow_config import DataflowBuildConfig
from onnx import NodeProto
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation
from qonnx.transformation.insert_topk import InsertTopK

from build.checks import LAYERS, PASSING
from models.errors import BadInput

OUTPUT_PROPERTY = "aaronnet.output"


class IntegerLogits(Transformation):
    """Drop the positive factor of the last layer: integers order the classes just as well.

    The factor is left in the model's property `aaronnet.output`: logits = scale * integers. A
    graph that has the property already is left as it is.
    """

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite in place.

        Raises:
            BadInput: what is behind the last layer is not one positive factor.
        """
        if model.get_metadata_prop(OUTPUT_PROPERTY):
            return model, False  # `build.integers` has made them
        scale = 1.0
        while (node := model.find_producer(model.graph.output[0].name)).op_type == "Mul":
            factor = model.get_initializer(node.input[1])
            if factor is None or factor.size != 1 or factor.item() <= 0:
                raise BadInput(
                    f"the logits are scaled by {node.name}, which is not one positive number: "
                    "quantize the last layer's weights and bias per tensor"
                )
            scale *= float(factor.item())
            _bypass(model, node)
        if node.op_type == "Add":
            _whole_factor(model, node)
        elif (factor := _activation_step(model, node)) is not None:
            scale *= float(model.get_initializer(factor.input[1]).item())
            _bypass(model, factor)
        model.set_metadata_prop(OUTPUT_PROPERTY, json.dumps({"scale": scale}))
        return model, False


def _whole_factor(model: ModelWrapper, bias: NodeProto) -> None:
    """Make one integer of the factors between a layer's integers and an integer bias, if it is one.

    Streamlining would multiply their float32 values, which need not give an integer again.
    """
    factors, total = [], 1.0
    node = model.find_producer(bias.input[0])
    while node is not None and node.op_type in ("Mul", "Div"):
        value = model.get_initializer(node.input[1])
        if value is None or value.size != 1:
            return
        total *= value.item() if node.op_type == "Mul" else 1 / value.item()
        factors.append(node)
        node = model.find_producer(node.input[0])
    step = None if node is None else _activation_step(model, node)
    if step is None:
        return
    total *= model.get_initializer(step.input[1]).item()
    whole = round(total)
    if whole < 1 or abs(total - whole) > 1e-5 * whole:
        return
    for factor in [*factors[1:], step]:
        _bypass(model, factor)
    if whole == 1:
        _bypass(model, factors[0])
        return
    name = model.make_new_valueinfo_name()
    model.set_initializer(name, np.array(whole, np.float32))
    model.set_tensor_datatype(name, DataType.get_smallest_possible(whole))
    factors[0].op_type, factors[0].input[1] = "Mul", name


def _activation_step(model: ModelWrapper, layer: NodeProto) -> NodeProto | None:
    """Return the factor that makes floats of the integers which a layer without a bias takes.

    Left where it is, it would come out behind the layer, and vanish in front of the class index.
    """
    if layer.op_type not in LAYERS:
        return None
    node = model.find_producer(layer.input[0])
    while node is not None and node.op_type in PASSING:
        node = model.find_producer(node.input[0])
    if node is None or node.op_type != "Mul" or len(model.find_consumers(node.output[0])) != 1:
        return None
    factor = model.get_initializer(node.input[1])
    return node if factor is not None and factor.size == 1 and factor.item() > 0 else None


def _bypass(model: ModelWrapper, node: NodeProto) -> None:
    """Remove a node with one data input; what made its input makes its output."""
    model.find_producer(node.input[0]).output[0] = node.output[0]
    model.graph.node.remove(node)


def step_integer_logits(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """After `step_tidy_up`: end the graph with the last layer's integers."""
    return model.transform(IntegerLogits())


def step_class_index(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """After `step_integer_logits`: output the index of the largest logit (int64)."""
    shape = model.get_tensor_shape(model.graph.output[0].name)
    if np.prod(shape) == 1:
        raise BadInput("the network has one output only; there is no class to choose")
    return model.transform(InsertTopK(k=1))
