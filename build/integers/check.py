"""What a straight-line network may hold, asked before it is written in integers."""

from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper

from build.buildable import ADVICE, SCALING
from build.checks import LAYERS, MEANS, PASSING, QUANTIZERS, TRUNCATING, WIDEST, integers_of
from build.integers.line import Constants, attributes_of, segments, told
from models.errors import BadInput

KNOWN = (*LAYERS, *MEANS, *PASSING, *QUANTIZERS, *TRUNCATING, *SCALING, "Relu")
MONOTONE = ("ROUND", "FLOOR", "CEIL", "ROUND_TO_ZERO", "HALF_EVEN", "HALF_UP", "HALF_DOWN")


def check_operators(model: ModelWrapper) -> None:
    """Check that the nodes of a straight line, as they were given, are of a kind that is built.

    Raises:
        BadInput: names the first that is not, and what to change.
    """
    first, parts = segments(model)
    for node in (first, *(node for part in parts for node in (part.layer, *part.nodes) if node)):
        if node.op_type not in (*KNOWN, "Pad"):
            advice = ADVICE.get(node.op_type, "replace it")
            raise told(node, f"there is no hardware for it; {advice}")


def check_line(model: ModelWrapper, constants: Constants) -> None:
    """Check each node of a straight-line network.

    Raises:
        BadInput: names the first that stands in the way, its operator and what to change.
    """
    first, parts = segments(model)
    if first.op_type not in ("Quant", "IntQuant"):
        raise BadInput(
            "it takes floats: its first node must be a quantizer of the input, not "
            f"{first.name} ({first.op_type})"
        )
    if attributes_of(first).get("rounding_mode", b"ROUND").decode().upper() != "ROUND":
        raise told(first, "the input is rounded to the nearest")
    for node in (first, *(node for part in parts for node in (part.layer, *part.nodes) if node)):
        if problem := _problem(model, node, constants):
            raise told(node, problem)


def _problem(model: ModelWrapper, node: NodeProto, constants: Constants) -> str:
    """Return why there is no hardware for a node and what to change; empty if there is."""
    kind, attributes = node.op_type, attributes_of(node)
    if kind == "Pad":
        return "zeros in front of a convolution are built, no other padding"
    if kind == "MaxPool":
        if any(attributes.get("pads", [])) or attributes.get("ceil_mode"):
            return "pool without padding and without ceil_mode"
        if any(n != 1 for n in attributes.get("dilations", [])):
            return "pool without dilation"
        if len(model.get_tensor_shape(node.input[0])) != 3:
            return "pool positions, in front of any flattening"
    elementwise = (*SCALING, *QUANTIZERS, *TRUNCATING)
    if kind in elementwise and sum(name not in constants for name in node.input) != 1:
        return "its other operand is no constant"
    if kind == "Div" and node.input[1] not in constants:
        return "its divisor must be a constant"
    if kind in ("Quant", "IntQuant"):
        mode = attributes.get("rounding_mode", b"ROUND").decode().upper()
        if mode not in MONOTONE:
            return f"it rounds by {mode}; round to the nearest"
        low, high = integers_of(model, node)
        if high - low >= 2**WIDEST:
            bits = constants[node.input[3]].item()
            return f"it quantizes activations to {bits:g} bits; thresholds take at most {WIDEST}"
    return ""
