"""A straight-line QONNX network as a graph of integers: weights, thresholds, integer scores."""

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper

from build.checks import MEANS, PASSING, QUANTIZERS, TRUNCATING
from build.integers.check import check_line
from build.integers.integer_graph import IntegerGraph
from build.integers.layers import Array, Layer, Values, layer_of, mean_of, signs_of
from build.integers.line import Constants, Segment, segments, told
from build.integers.logits import integer_scores
from build.integers.staircase import Integers, output_of, thresholds_of, values_behind
from models.errors import BadInput

QUANTIZING = (*QUANTIZERS, *TRUNCATING)


def lowered(model: ModelWrapper) -> tuple[ModelWrapper, dict[str, float]]:
    """Return a network as a graph of integers, and which of its tensors the network has too.

    Args:
        model: a straight line, in the spelling of `build.integers.spelling`.

    Returns:
        The graph: the input's quantizer and a division by its step, then integers only, up to
        integer scores; its property `aaronnet.output` holds their scale. Beside it: name of a
        tensor -> the step that its integers are multiplied by in the network.

    Raises:
        BadInput: names the node that cannot be written so.
    """
    constants = Constants(model)
    check_line(model, constants)
    quantizer, parts = segments(model)
    step, found = output_of(model, quantizer, constants)
    assert found is not None, "`build.buildable` asks for a quantizer with a range"
    graph = IntegerGraph(model, quantizer, step, *found)
    while parts:
        _lower(graph, parts, constants)
    return graph.finished(), graph.known


def _lower(graph: IntegerGraph, parts: list[Segment], constants: Constants) -> None:
    """Append the first segment, with means that follow it where no quantizer is between."""
    model, part = graph.model, parts.pop(0)
    step, nodes = graph.step, part.nodes
    layer: Layer | None = None

    def values(integers: Array) -> Array:
        return integers * step

    if part.layer is not None and part.layer.op_type in MEANS:
        layer = mean_of(model, part.layer, values)
    elif part.layer is not None:
        layer = layer_of(model, part.layer, step, constants)
    # A mean of what no quantizer made integers: the sum of the accumulators stands for it as well.
    while (mean := _mean(parts)) is not None and layer is not None and not _quantized(nodes):
        if any(node.op_type in PASSING for node in nodes):
            raise told(mean, "quantize in front of it")
        graph.layer(layer)
        between = values_behind(nodes, graph.shape, layer.values, constants)
        layer, nodes = mean_of(model, mean, between), parts.pop(0).nodes
    if not parts and not _quantized(nodes):
        _scores(graph, layer, nodes, constants)
        return
    last = max((i for i, node in enumerate(nodes) if node.op_type in QUANTIZING), default=-1)
    if last >= 0:
        _activation(graph, layer, nodes[: last + 1], constants)
    elif layer is not None and parts[0].layer is not None:
        raise told(parts[0].layer, "it takes float activations, which dataflow hardware cannot "
                                   "compute; quantize them")  # fmt: skip
    for node in nodes[last + 1 :]:
        if node.op_type not in PASSING:
            raise told(node, "it makes floats of what the next layer takes; quantize behind it")
        graph.passing(node, node.output[0])
    if not parts:
        graph.scores(1.0 if last < 0 else graph.step)


def _mean(parts: list[Segment]) -> NodeProto | None:
    """Return the mean that the next segment begins with, if it does."""
    layer = parts[0].layer if parts else None
    return layer if layer is not None and layer.op_type in MEANS else None


def _quantized(nodes: Sequence[NodeProto]) -> bool:
    return any(node.op_type in QUANTIZING for node in nodes)


def _activation(
    graph: IntegerGraph, layer: Layer | None, nodes: list[NodeProto], constants: Constants
) -> None:
    """Append a layer and what follows up to a quantizer, the last node, as thresholds."""
    quantizer = nodes[-1]
    step, found = output_of(graph.model, quantizer, constants)
    start = graph.step

    def values(integers: Array) -> Array:
        return integers * start

    shape = graph.shape if layer is None else graph.shape_behind(layer)
    low, high = (graph.low, graph.high) if layer is None else layer.bounds(graph.low, graph.high)
    front: Values = values if layer is None else layer.values

    def result(integers: Array) -> Array:
        return np.rint(through(integers) / step)

    through = values_behind(nodes, shape, front, constants)
    direction = _direction(result, low, high)
    pools = [i for i, node in enumerate(nodes) if node.op_type == "MaxPool"]
    rising = [
        _direction(values_behind(nodes[:i], shape, front, constants), low, high) for i in pools
    ]
    moving = [node for node in nodes if node.op_type in PASSING]
    late = any((one * direction < 0).any() for one in rising)
    # Thresholds count upwards: where levels fall with the accumulator, it changes its sign.
    signs = signs_of(rising[0] if late else direction)
    if late and any((one * rising[0] < 0).any() for one in rising):
        raise told(quantizer, "poolings in front of it take maxima of opposite signs")
    if layer is None and (signs < 0).any():
        graph.signs(f"{quantizer.name or quantizer.output[0]}.before", signs)
    elif layer is not None:
        graph.layer(layer.flipped(signs))
    if late:
        # The largest accumulator gives the smallest level: it is chosen before, not behind.
        for node in (moved for moved in moving if moved.op_type == "MaxPool"):
            graph.passing(node)
        more = signs * signs_of(direction)
        graph.signs(quantizer.name or quantizer.output[0], more)
        signs = signs * more
        moving = [node for node in moving if node.op_type != "MaxPool"]
    ends = result(np.stack([low, high]))
    lowest, highest = found or (int(ends.min()), int(ends.max()))
    thresholds = thresholds_of(
        lambda integers: result(integers * signs) - lowest, graph.low, graph.high, highest - lowest
    )
    name = quantizer.output[0]
    graph.thresholds(quantizer, thresholds, lowest, highest, step, "" if moving else name)
    for node in moving:
        graph.passing(node, name if node is moving[-1] else "")


def _direction(function: Integers, low: Array, high: Array) -> Array:
    """Return -1, 0 or 1 for each channel: does a monotone function fall, stay or rise?"""
    first, last = function(np.stack([low, high]))
    return np.sign(last - first)


def _scores(
    graph: IntegerGraph, layer: Layer | None, nodes: list[NodeProto], constants: Constants
) -> None:
    """Append the last layer, and what is behind it as factors and a bias of each class."""
    if layer is None:
        raise BadInput("it must end with a layer that gives the class scores")
    for node in nodes:
        if node.op_type == "MaxPool" or node.op_type == "Relu":
            raise told(node, "quantize in front of it, or leave it out")
    shape = graph.shape_behind(layer)
    function = values_behind(nodes, shape, layer.values, constants)
    zero, one = function(np.stack([np.zeros(shape[1]), np.ones(shape[1])]))
    signs = signs_of(one - zero)
    scores = integer_scores(lambda integers: function(integers * signs), shape[1])
    graph.vector_layer(layer.flipped(signs))
    if (scores.factors != 1).any():
        graph.constant("Mul", "factors", scores.factors)
    if scores.bias.any():
        graph.constant("Add", "bias", scores.bias)
    graph.scores(scores.scale)
