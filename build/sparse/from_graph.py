"""From the exported QONNX graph to the integer network.

The graph is the one that the dense way starts from (`models.export.to_qonnx`). A layer's weights
are its quantizer's integers. A quantizer is tabulated over every accumulator that can occur, in
float64 on the exported model itself (`levels_of`, which makes the dense way's thresholds), so each
staircase is exact whatever lies in between: bias, batch norm, ReLU.
"""

import json
import re

import numpy as np
from onnx import NodeProto, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from build.checks import LAYERS, QUANTIZERS, quantizer_of
from build.input_norm import norm_of
from build.integers.layers import spread
from build.integers.line import attributes_of, told
from build.levels import levels_of
from build.sparse.from_integers import merged, scored, staircase
from build.sparse.known import problem_of
from build.sparse.network import ArgMax, Layer, Linear, MaxPool, Network, Requantize, Tensor
from build.steps.class_output import OUTPUT_PROPERTY
from models.errors import BadInput

BETWEEN = ("BatchNormalization", "Relu", "Mul", "Add")
"""Operators between a layer and its quantizer, computed by `levels_of`."""

WIDEST = 2**20
"""Accumulators that are tabulated: more than any layer of ours has."""


def network_of(model: ModelWrapper) -> Network:
    """Return the integer network of a QONNX graph that `build.checks` has accepted.

    Raises:
        BadInput: it is no straight line, or holds an operator that sparse hardware cannot compute.
    """
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    source = model.graph.input[0].name
    line = line_of(model)
    if not line or line[0].op_type not in QUANTIZERS:
        raise BadInput("sparse hardware takes integers: the first node must quantize the input")
    if norm_of(model):
        raise BadInput("its frames are normalised in front of their quantizer: --style dense")
    low, high = _range(line[0], constants)
    step = float(constants[line[0].input[1]].item())
    shape = model.get_tensor_shape(source)
    network = Network(low, high, int(shape[1]), int(np.prod(shape[2:])), step, ())
    integers = json.loads(model.get_metadata_prop(OUTPUT_PROPERTY) or "{}").get("integers", False)
    layers: list[Layer] = []
    nodes: list[NodeProto] = []  # of each layer
    for node in line[1:]:
        before = _with(network, layers).tensors[-1]
        added: Layer | None = None
        if node.op_type in LAYERS:
            added = _linear(model, node, constants, before, first=not layers)
        elif node.op_type in QUANTIZERS:
            added = _requantize(model, node, constants, before.low, before.high)
        elif node.op_type == "MaxPool":
            added = _pool(node)
        elif integers and node.op_type == "MultiThreshold":
            added = staircase(node, constants, before, _identifier(node))
        elif integers and node.op_type in ("Mul", "Add") and layers:
            layers[-1] = scored(node, constants, layers[-1])
        elif not (integers and node.op_type in ("Div", "Identity")) and node.op_type not in (
            *BETWEEN,
            *("Flatten", "Reshape"),
        ):
            raise told(node, "sparse hardware has no such operator")
        if added is not None:
            layers.append(added)
            nodes.append(node)
    if not layers or not isinstance(layers[-1], Linear | Requantize if integers else Linear):
        raise BadInput(
            "sparse hardware ends in a class: the last layer must give one score a class"
        )
    if integers:
        layers, nodes = merged(layers, nodes)
    else:
        last = layers[-1]
        assert isinstance(last, Linear)
        layers[-1] = _with_bias(model, line[-1], last, constants)
    network = _with(network, [*layers, ArgMax("classes")])
    for index, node in enumerate([*nodes, line[-1]]):
        if problem := problem_of(network, index):
            raise told(node, problem)
    return network


def _with(network: Network, layers: list[Layer]) -> Network:
    return Network(
        network.low, network.high, network.channels, network.length, network.step, tuple(layers)
    )


def line_of(model: ModelWrapper) -> list[NodeProto]:
    """Return the nodes from the input to the output, quantizers of weights left out."""
    found: list[NodeProto] = []
    tensor = model.graph.input[0].name
    while tensor != model.graph.output[0].name:
        consumers = model.find_consumers(tensor) or []
        if len(consumers) != 1:
            raise told(found[-1], f"its output goes to {len(consumers)} nodes; sparse hardware "
                                  "needs a straight line")  # fmt: skip
        found.append(consumers[0])
        tensor = consumers[0].output[0]
    return found


def _range(quantizer: NodeProto, constants: dict[str, np.ndarray]) -> tuple[int, int]:
    """Return a quantizer's lowest and its highest integer."""
    operator = getCustomOp(quantizer)
    bits = int(constants[quantizer.input[3]].item())
    narrow = operator.get_nodeattr("narrow")
    if operator.get_nodeattr("signed"):
        low, high = -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    else:
        low, high = 0, 2**bits - 1 - narrow
    return int(low), int(high)


def _weights(model: ModelWrapper, node: NodeProto, constants: dict[str, np.ndarray]) -> np.ndarray:
    """Return a layer's integers in the shape that the graph has them in."""
    quantizer = quantizer_of(model, node.input[1])
    if quantizer is None:  # integers as they are: `build.checks` refuses layers with float weights
        return np.rint(constants[node.input[1]]).astype(np.int64)
    values, step = constants[quantizer.input[0]], constants[quantizer.input[1]]
    low, high = _range(quantizer, constants)
    # The same double quantization as at run time: to the step's integers, within its bits.
    return np.clip(np.rint(values.astype(np.float64) / step), low, high).astype(np.int64)


def _linear(
    model: ModelWrapper,
    node: NodeProto,
    constants: dict[str, np.ndarray],
    before: Tensor,
    first: bool,
) -> Linear:
    """Return a layer's integer weights, those of groups spread over all inputs.

    A dense layer is a window of all positions `before` it. The windows of the first layer become
    whole words.
    """
    weights = _weights(model, node, constants)
    attributes = attributes_of(node)
    stride, padding = 1, 0
    if node.op_type == "Conv":
        pads, (dilation,) = list(attributes["pads"]), attributes["dilations"]
        stride, padding = attributes["strides"][0], pads[0]
        weights = spread(weights, attributes["group"])
        if before.positions == 1 and weights.shape[2] > 1:
            raise told(node, "at one position sparse hardware computes dense layers, no windows")
        if first:
            weights, padding = _in_words(weights, stride, dilation, pads, before.positions)
        elif pads[0] != pads[1] or dilation != 1:
            raise told(node, "behind the first layer sparse hardware convolves padded alike on "
                             "both sides and without dilation")  # fmt: skip
    else:
        transposed = node.op_type == "Gemm" and attributes.get("transB", 0)
        weights = weights if transposed else weights.T
        weights = weights.reshape(len(weights), before.channels, before.positions)
    return Linear(
        _identifier(node),
        weights,
        np.zeros(len(weights), np.int64),
        stride,
        padding,
        tuple(range(len(weights))),
    )


def _in_words(
    weights: np.ndarray, stride: int, dilation: int, pads: list[int], positions: int
) -> tuple[np.ndarray, int]:
    """Return the same windows as whole strides, padded alike on both sides, and their padding.

    Taps of zero do it: between the taps, in front and behind.
    """
    outputs, inputs, count = weights.shape
    taps = (count - 1) * dilation + 1
    dilated = np.zeros((outputs, inputs, taps), np.int64)
    dilated[:, :, ::dilation] = weights
    steps = (positions + sum(pads) - taps) // stride
    padding = -(-max(pads) // stride) * stride
    front = padding - pads[0]
    behind = positions + 2 * padding - steps * stride - taps - front
    if positions % stride:
        return dilated, pads[0]  # `known` refuses it
    return np.pad(dilated, ((0, 0), (0, 0), (front, behind))), padding


def _with_bias(
    model: ModelWrapper, node: NodeProto, layer: Linear, constants: dict[str, np.ndarray]
) -> Linear:
    """Return the last layer with its bias in units of its accumulator.

    Raises:
        BadInput: it is no integer there.
    """
    if node.op_type not in LAYERS:
        raise told(node, "sparse hardware ends in a layer, whose largest score wins")
    weights = quantizer_of(model, node.input[1])
    if weights is not None and constants[weights.input[1]].size != 1:
        raise told(node, "the largest score wins, so the last layer's weights need one step for "
                         "all classes")  # fmt: skip
    if len(node.input) < 3:
        return layer
    quantizer = quantizer_of(model, node.input[2])
    bias = constants[quantizer.input[0] if quantizer is not None else node.input[2]]
    steps = [quantizer_of(model, node.input[i]) for i in (0, 1)]
    step = np.prod([np.float64(constants[q.input[1]].item()) for q in steps if q is not None])
    integers = np.rint(bias.astype(np.float64) / step)
    if quantizer is None and np.abs(bias / step - integers).max() > 1e-3:
        raise told(node, "its bias is no integer in units of its accumulator")
    return Linear(
        layer.name,
        layer.weights,
        integers.astype(np.int64),
        layer.stride,
        layer.padding,
        layer.kept,
    )


def _requantize(
    model: ModelWrapper,
    quantizer: NodeProto,
    constants: dict[str, np.ndarray],
    low: np.ndarray,
    high: np.ndarray,
) -> Requantize:
    """Return a quantizer as staircases over the accumulators from low to high of each channel."""
    first, last = int(low.min()), int(high.max())
    if last - first > WIDEST:
        raise told(quantizer, f"accumulators from {first} to {last} are too many for sparse "
                              "hardware")  # fmt: skip
    accumulators = np.arange(first, last + 1)
    every = np.broadcast_to(accumulators[:, None], (len(accumulators), len(low)))
    lowest, _ = _range(quantizer, constants)
    values = levels_of(model, quantizer)(every).astype(np.int64).T + lowest
    thresholds, steps = [], []
    for channel, row in enumerate(values):
        row = row[low[channel] - first : high[channel] - first + 1]
        at = np.flatnonzero(np.diff(row)) + 1
        thresholds.append(at + low[channel])
        steps.append(row[np.concatenate([[0], at])])
    return Requantize(_identifier(quantizer), tuple(thresholds), tuple(steps))


def _pool(node: NodeProto) -> MaxPool:
    attributes = attributes_of(node)
    size = list(attributes["kernel_shape"])
    if len(size) != 1 or list(attributes["strides"]) != size or any(attributes["pads"]):
        raise told(node, "sparse hardware pools neighbours in one dimension, windows side by side, "
                         "without padding")  # fmt: skip
    return MaxPool(_identifier(node), size[0])


def _identifier(node: NodeProto) -> str:
    """Return a node's name as SystemVerilog takes it, and Verilator: no two underscores."""
    name = re.sub(r"\.(act_quant\.)?(Conv|Gemm|Quant|MaxPool)$", "", node.name)
    kind = {"Conv": "conv", "Gemm": "dense", "MatMul": "dense", "MaxPool": "pool"}
    return re.sub(r"[\W_]+", "_", f"{kind.get(node.op_type, 'quant')}_{name}")
