"""Can dataflow hardware run this network at all? Asked before any work."""

from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from models.errors import BadInput

QUANTIZERS = ("Quant", "IntQuant", "BipolarQuant")
PASSING = ("MaxPool", "Reshape", "Flatten", "Transpose", "Identity", "Squeeze", "Unsqueeze")
"""Operators that hand integers on unchanged."""

LAYERS = ("Conv", "MatMul", "Gemm")
MEANS = ("GlobalAveragePool", "AveragePool", "ReduceMean")
TRUNCATING = ("Trunc",)
"""Quantize as well, to integers that have lost their last bits."""

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
        activations = quantizers_of(model, node.input[0])
        if activations is None:
            raise BadInput(
                f"{name}: {node.name} takes float activations, which dataflow hardware cannot "
                "compute; quantize them (for an AaronNet: aaronnet quantize CHECKPOINT --bits 8)"
            )
        if quantizer_of(model, node.input[1]) is None:
            raise BadInput(f"{name}: the weights of {node.name} are floats; quantize them")
        for activation in activations:
            if activation.op_type == "BipolarQuant":
                continue
            bits = model.get_initializer(activation.input[3])
            if bits is None or bits.item() > WIDEST:
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
    if quantizer.op_type == "BipolarQuant":
        return -1, 1
    operator = getCustomOp(quantizer)
    bits = round(
        model.get_initializer(quantizer.input[5 if quantizer.op_type == "Trunc" else 3]).item()
    )
    narrow = operator.get_nodeattr("narrow")
    if operator.get_nodeattr("signed"):
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow


def joins(model: ModelWrapper, node: NodeProto) -> bool:
    """Whether a node adds or concatenates streams: none of its operands is a constant."""
    constant = any(model.get_initializer(name) is not None for name in node.input)
    return node.op_type in ("Add", "Concat") and len(node.input) > 1 and not constant


def quantizers_of(model: ModelWrapper, tensor: str) -> list[NodeProto] | None:
    """Return the quantizers that a tensor comes from, of all branches; None if it is a float."""
    node = model.find_producer(tensor)
    while node is not None and node.op_type in PASSING:
        node = model.find_producer(node.input[0])
    if node is None or not joins(model, node):
        return [node] if node is not None and node.op_type in QUANTIZERS else None
    found: list[NodeProto] = []
    for name in node.input:
        branch = quantizers_of(model, name)
        if branch is None:
            return None
        found += branch
    return found
