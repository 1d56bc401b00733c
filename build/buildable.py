"""What a foreign graph may hold, asked before any work: one line says what stands in the way."""

from fractions import Fraction

from onnx import NodeProto, helper
from qonnx.core.modelwrapper import ModelWrapper

from build.checks import LAYERS, PASSING, QUANTIZERS
from build.grid import common_factors, grid_of
from build.one_grid import SMALL, decides_alike
from models.errors import BadInput

SCALING = ("Add", "BatchNormalization", "Div", "Mul", "Sub")
"""With a constant: a layer's bias and scale, which thresholds absorb."""

KNOWN = ("Concat", *LAYERS, *PASSING, *QUANTIZERS, *SCALING, "Relu")

ADVICE = {
    "ArgMax": "leave it out, the accelerator finds the largest itself",
    "AveragePool": "pool without padding, over whole windows of positions",
    "LogSoftmax": "leave it out, the class does not depend on it",
    "Softmax": "leave it out, the class does not depend on it",
    **dict.fromkeys(("Clip", "HardTanh"), "quantize with Brevitas' QuantHardTanh instead"),
    **dict.fromkeys(
        (
            "Elu",
            "Gelu",
            "HardSigmoid",
            "HardSwish",
            "LeakyRelu",
            "PRelu",
            "Selu",
            "Sigmoid",
            "Tanh",
        ),
        "use QuantReLU or QuantHardTanh",
    ),
    **dict.fromkeys(("GRU", "LSTM", "RNN", "Loop", "If", "Scan"), "the network must feed forward"),
    **dict.fromkeys(("ConvTranspose", "Resize", "Upsample"), "use convolutions and pooling only"),
}


def check_buildable(model: ModelWrapper, name: str) -> None:
    """Check that the flow has hardware for a graph in `build.canonical`'s spelling.

    Args:
        model: the graph.
        name: what to call it in messages.

    Raises:
        BadInput: names the first node that stands in the way, its operator and what to change.
    """
    if len(model.graph.output) != 1:
        raise BadInput(
            f"{name} has {len(model.graph.output)} outputs; export the class scores alone"
        )
    moving = {model.graph.input[0].name}
    for node in model.graph.node:
        streams = [item for item in node.input if item in moving]
        if streams:
            moving.update(node.output)
        elif node.op_type in QUANTIZERS or node.op_type in PASSING:
            continue  # of weights
        if problem := _problem(model, node, streams):
            what = node.name or node.output[0]
            raise BadInput(f"{name}: cannot build {what} ({node.op_type}): {problem}")
    _check_ends(model, name)


def _problem(model: ModelWrapper, node: NodeProto, streams: list[str]) -> str:
    """Return why there is no hardware for a node and what to change; empty if there is."""
    if len(streams) > 1:
        return _join_problem(model, node, streams)
    if node.op_type not in KNOWN:
        return f"there is no hardware for it; {ADVICE.get(node.op_type, 'replace it')}"
    if not streams:
        return "it computes with constants alone; export with constants folded"
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    if node.op_type == "MaxPool" and (
        any(attributes.get("pads", [])) or attributes.get("ceil_mode")
    ):
        return "pool without padding and without ceil_mode"
    if node.op_type == "BipolarQuant":
        return "two levels are not built; quantize to 2 bits"
    if node.op_type in QUANTIZERS:
        constants = [model.get_initializer(item) for item in node.input[1:4]]
        if any(value is None or value.size != 1 for value in constants):
            return "its step, zero point and bits must be one constant each (per tensor)"
        if constants[1].item() != 0:
            return "its zero point must be 0; quantize symmetrically"
        mode = attributes.get("rounding_mode", b"ROUND").decode().upper()
        if mode != "ROUND":
            return f"it rounds by {mode}; round to the nearest"
    if node.op_type in SCALING and any(
        item not in streams and model.get_initializer(item) is None for item in node.input
    ):
        return "its other operand is no constant"
    return ""


def _join_problem(model: ModelWrapper, node: NodeProto, streams: list[str]) -> str:
    """Return why branches cannot be joined like this and what to change; empty if they can."""
    if node.op_type not in ("Add", "Concat"):
        return "branches can be added and concatenated only"
    if len(set(streams)) < len(node.input):
        return "its operands must be different branches"
    shapes = [model.get_tensor_shape(name) for name in streams]
    axis = next((item.i for item in node.attribute if item.name == "axis"), 1)
    if node.op_type == "Add" and any(shape != shapes[0] for shape in shapes):
        return f"it adds shapes {' and '.join(map(str, shapes))}; they must be the same"
    if node.op_type == "Concat" and axis % len(shapes[0]) != 1:
        return "concatenate channels (axis 1)"
    grids = [grid_of(model, name) for name in streams]
    for name, grid in zip(streams, grids, strict=True):
        if grid is None:
            return f"its operand {name} is no integer times one step; quantize it (QuantIdentity)"
    steps = [grid.step for grid in grids if grid is not None]
    factors = common_factors(list(steps))
    if factors is not None and max(factors) <= SMALL:
        return ""
    if (
        factors is not None
        and node.op_type == "Add"
        and decides_alike(model, node, Fraction(factors[-1], factors[0]))
    ):
        return ""
    return (
        f"its branches have steps {' and '.join(f'{step:g}' for step in steps)}, which are to each "
        "other as no small integers; share one quantizer between them"
    )


def _check_ends(model: ModelWrapper, name: str) -> None:
    """Check that the graph begins with a quantizer and ends with a layer."""
    consumers = model.find_consumers(model.graph.input[0].name) or []
    if len(consumers) != 1 or consumers[0].op_type not in QUANTIZERS:
        kinds = ", ".join(f"{node.name} ({node.op_type})" for node in consumers) or "nothing"
        raise BadInput(
            f"{name} takes floats: its first node must be a quantizer of the input, not {kinds}"
        )
    last = model.find_producer(model.graph.output[0].name)
    while last is not None and last.op_type in (*SCALING, *PASSING):
        last = model.find_producer(last.input[0])
    if last is None or last.op_type not in LAYERS:
        what = "nothing" if last is None else f"{last.name} ({last.op_type})"
        raise BadInput(f"{name} must end with a layer that gives the class scores, not {what}")
    weights = model.find_producer(last.input[1])
    while weights is not None and weights.op_type in PASSING:
        weights = model.find_producer(weights.input[0])
    step = None if weights is None else model.get_initializer(weights.input[1])
    if step is not None and step.size != 1:
        raise BadInput(
            f"{name}: cannot build {last.name} ({last.op_type}): the last layer's weights have "
            "a step for each class; quantize them per tensor"
        )
