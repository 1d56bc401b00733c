"""Can dataflow hardware run this network at all? Asked before any work."""

from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from models.errors import BadInput

QUANTIZERS = ("Quant", "IntQuant", "BipolarQuant")
PASSING = ("MaxPool", "Reshape", "Flatten", "Transpose", "Identity", "Squeeze", "Unsqueeze")
"""Operators that hand integers on unchanged."""

LAYERS = ("Conv", "MatMul", "Gemm")
WIDEST = 8
"""Bits of an activation: each further one doubles the thresholds that the hardware stores."""


def check_quantized(model: ModelWrapper, name: str) -> None:
    """Check that every layer multiplies integers of at most 8 bits.

    Args:
        model: a QONNX graph as exported.
        name: what to call it in messages.

    Raises:
        BadInput: a layer's activations or weights are floats, or activations wider than 8 bits.
    """
    for node in model.graph.node:
        if node.op_type not in LAYERS:
            continue
        activation = quantizer_of(model, node.input[0])
        if activation is None:
            raise BadInput(
                f"{name}: {node.name} takes float activations, which dataflow hardware cannot "
                "compute; quantize them (for an AaronNet: aaronnet quantize CHECKPOINT --bits 8)"
            )
        if quantizer_of(model, node.input[1]) is None:
            raise BadInput(f"{name}: the weights of {node.name} are floats; quantize them")
        bits = model.get_initializer(activation.input[3])
        if activation.op_type != "BipolarQuant" and (bits is None or bits.item() > WIDEST):
            width = "an unknown number of" if bits is None else f"{bits.item():g}"
            raise BadInput(
                f"{name}: {activation.name} quantizes activations to {width} bits; FINN's "
                f"thresholds take at most {WIDEST}"
            )


def quantizer_of(model: ModelWrapper, tensor: str) -> NodeProto | None:
    """Return the quantizer that a tensor comes from; None if it is a float."""
    node = model.find_producer(tensor)
    while node is not None and node.op_type in PASSING:
        node = model.find_producer(node.input[0])
    return node if node is not None and node.op_type in QUANTIZERS else None


def integers_of(model: ModelWrapper, quantizer: NodeProto) -> tuple[int, int]:
    """Return the smallest and the largest integer that a quantizer gives."""
    operator = getCustomOp(quantizer)
    bits = round(model.get_initializer(quantizer.input[3]).item())
    narrow = operator.get_nodeattr("narrow")
    if operator.get_nodeattr("signed"):
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow
