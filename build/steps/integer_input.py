"""The accelerator's input: small integers, channels last, as the driver packs them."""

import json

import numpy as np
from finn.builder.build_dataflow_config import DataflowBuildConfig
from onnx import NodeProto, helper
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.base import Transformation
from qonnx.transformation.make_input_chanlast import MakeInputChannelsLast

from build.checks import integers_of
from models.errors import BadInput
from models.export import frame_of

INPUT_PROPERTY = "aaronnet.input"


class TakeQuantizedInput(Transformation):
    """Replace the quantizer on the graph's input by a multiplication with its step.

    The host then delivers the quantizer's integers. What it has to do is left in the model's
    property `aaronnet.input`: bits, signed, step, minimum, maximum; integer =
    clip(round half to even(x / step), minimum, maximum). Beside it are the frame's channels and
    samples, and whether the graph takes channels last.
    """

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite in place.

        Raises:
            BadInput: the input does not go into exactly one symmetric quantizer with one step.
        """
        source = model.graph.input[0].name
        consumers = model.find_consumers(source) or []
        if len(consumers) != 1 or consumers[0].op_type not in ("Quant", "IntQuant"):
            raise BadInput(
                "the network takes floats: its first node must be a quantizer of the input, not "
                + (", ".join(node.op_type for node in consumers) or "nothing")
            )
        node = consumers[0]
        step, zero, bits = (model.get_initializer(name) for name in node.input[1:4])
        operator = getCustomOp(node)
        if step is None or step.size != 1 or np.any(zero != 0):
            raise BadInput(f"the input quantizer {node.name} must have one step and no zero point")
        bits, signed = int(bits), bool(operator.get_nodeattr("signed"))
        if operator.get_nodeattr("rounding_mode").upper() != "ROUND":
            raise BadInput(f"the input quantizer {node.name} must round to the nearest")
        low, high = integers_of(model, node)
        step_name = model.make_new_valueinfo_name()
        model.set_initializer(step_name, np.array(step.item(), np.float32))
        index = list(model.graph.node).index(node)
        scale = helper.make_node("Mul", [source, step_name], [node.output[0]], name="InputStep")
        model.graph.node.remove(node)
        model.graph.node.insert(index, scale)
        _drop_division(model, scale)
        model.set_tensor_datatype(source, DataType[f"{'INT' if signed else 'UINT'}{bits}"])
        facts = {
            "bits": bits,
            "signed": signed,
            "step": float(step.item()),
            "minimum": low,
            "maximum": high,
            "frame": frame_of(model),
            "channels_last": False,
        }
        model.set_metadata_prop(INPUT_PROPERTY, json.dumps(facts))
        return model, False


class RoomForSigns(Transformation):
    """Give weights whose least integer has no negative one bit more, as type only.

    Where a batch norm's gain is negative, streamlining changes the weights' sign, and FINN does not
    if the result is outside their type. `step_minimize_bit_width` takes back what is not needed.
    """

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite in place."""
        for node in list(model.graph.node):
            weights = model.get_initializer(node.input[0])
            if node.op_type not in ("Quant", "IntQuant") or weights is None:
                continue
            low, _ = integers_of(model, node)
            integers = np.rint(weights.astype(np.float64) / model.get_initializer(node.input[1]))
            if low == integers.min() == -(2 ** (int(model.get_initializer(node.input[3])) - 1)):
                bits = model.make_new_valueinfo_name()
                model.set_initializer(bits, model.get_initializer(node.input[3]) + np.float32(1))
                node.input[3] = bits
        return model, False


def _drop_division(model: ModelWrapper, scale: NodeProto) -> None:
    """Remove the multiplication with the step and a division by it right behind: they are one.

    Behind it are integers only (`build.integers`), exactly so from here on: thresholds become
    integers as well.
    """
    consumers = model.find_consumers(scale.output[0]) or []
    if len(consumers) != 1 or consumers[0].op_type != "Div":
        return
    divided = consumers[0]
    divisor = model.get_initializer(divided.input[1])
    if divisor is None or np.any(divisor != model.get_initializer(scale.input[1])):
        return
    for node in model.find_consumers(divided.output[0]) or []:
        node.input[:] = [
            scale.input[0] if name == divided.output[0] else name for name in node.input
        ]
    model.graph.node.remove(divided)
    model.graph.node.remove(scale)
    for node in model.get_nodes_by_op_type("MultiThreshold"):
        model.set_initializer(node.input[1], np.ceil(model.get_initializer(node.input[1])))


def step_integer_input(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """Before `step_qonnx_to_finn`: let the input be the integers of the first quantizer."""
    return model.transform(TakeQuantizedInput()).transform(RoomForSigns())


def step_channels_last_input(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """After `step_lift_1d`: take (1, L, 1, C), so that the accelerator need not transpose."""
    facts = json.loads(model.get_metadata_prop(INPUT_PROPERTY)) | {"channels_last": True}
    model = model.transform(MakeInputChannelsLast())
    model.set_metadata_prop(INPUT_PROPERTY, json.dumps(facts))
    return model
