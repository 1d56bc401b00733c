"""The graph of integers under construction, node by node."""

import json
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_shapes import InferShapes

from build.integers.layers import Array, Layer, spread
from build.integers.line import attributes_of, told
from build.steps.class_output import OUTPUT_PROPERTY
from models.vintage import QONNX

FIRST = 2  # nodes that every graph has: the input's quantizer, the division
HALVES = 2**22
"""Float32 holds halves below: a threshold half a step lower decides the same about integers, and
floats that are integers up to rounding do not miss it."""


class IntegerGraph:
    """Nodes behind the network's quantized input, each appended to the last tensor.

    Args:
        network: what is written anew.
        quantizer: of its input.
        step: of that.
        low, high: the range of its integers.

    Attributes:
        shape: of the last tensor, (1, C, L) or (1, N).
        low, high: least and largest integer of each of its channels (C,).
        step: what one of its integers stands for.
        known: tensors that the network has too -> step of their integers.
    """

    def __init__(
        self, network: ModelWrapper, quantizer: NodeProto, step: float, low: int, high: int
    ):
        self.model, self.step = network, step
        self.shape = tuple(network.get_tensor_shape(network.graph.input[0].name))
        self.low, self.high = (np.full(self.shape[1], end) for end in (low, high))
        self.known: dict[str, float] = {}
        self._nodes = [quantizer]
        self._tensor = quantizer.output[0]
        self._constants = {name: network.get_initializer(name) for name in quantizer.input[1:]}
        self._types: dict[str, str] = {}
        self._late = False  # whether the last tensor of shape (1, N) is (1, N, 1) as yet
        self._unread: tuple[int, ...] | None = None  # channels and positions of the flattened input
        self._add("Div", "integers", np.array(step, np.float32))

    def _add(
        self, op: str, name: str, *constants: Array, output: str = "", **attributes: Any
    ) -> NodeProto:
        names = [f"{name}.constant{i or ''}" for i in range(len(constants))]
        self._constants |= dict(zip(names, constants, strict=True))
        output = output or f"{name}.output"
        node = helper.make_node(op, [self._tensor, *names], [output], name=name, **attributes)
        self._nodes.append(node)
        self._tensor = output
        return node

    def shape_behind(self, layer: Layer) -> tuple[int, ...]:
        """Return the shape of a layer's accumulators."""
        filters = len(layer.weights)
        if layer.dense:
            return (1, filters)
        reach = (layer.weights.shape[2] - 1) * layer.dilation + 1
        return (1, filters, (self.shape[2] + sum(layer.pads) - reach) // layer.stride + 1)

    def layer(self, layer: Layer) -> None:
        """Append a layer."""
        if layer.dense and len(self.shape) == 3:  # behind a mean that dropped its axis
            self._flatten(f"{layer.name}.vector")
        ends, shape = layer.bounds(self.low, self.high), self.shape_behind(layer)
        weights = layer.weights
        if layer.dense and self._unread is not None:
            # FINN flattens nothing in front of the first layer: it convolves over all positions.
            weights = weights.reshape(len(weights), *self._unread)
            node = self._add(
                "Conv", layer.name, weights.astype(np.float32), kernel_shape=[weights.shape[2]],
                strides=[1], dilations=[1], pads=[0, 0], group=1,
            )  # fmt: skip
            self._unread, self._late = None, True
        elif layer.dense:
            node = self._add("MatMul", layer.name, weights.T.astype(np.float32))
        else:
            groups = layer.groups
            filters, share, taps = weights.shape
            if groups > 1 and (share > 1 or filters != groups):
                # Grouped, but not depthwise: FINN has no such layer; a dense one with zeros is.
                weights, groups = spread(weights, groups), 1
            node = self._add(
                "Conv", layer.name, weights.astype(np.float32), kernel_shape=[taps],
                strides=[layer.stride], dilations=[layer.dilation], pads=list(layer.pads),
                group=groups,
            )  # fmt: skip
        self._types[node.input[1]] = integer_type(weights)
        (self.low, self.high), self.shape = ends, shape

    def vector_layer(self, layer: Layer) -> None:
        """Append a layer that leaves a vector: a convolution over all positions as a dense one."""
        shape = self.shape_behind(layer)
        if len(shape) == 3 and shape[2] != 1:
            raise told(self.model.graph.node[-1], "the scores have positions; pool or flatten them")
        if not layer.dense and layer.groups == 1:
            channels, length = self.shape[1:]
            at = np.arange(layer.weights.shape[2]) * layer.dilation - layer.pads[0]
            inside = (at >= 0) & (at < length)
            weights = np.zeros((len(layer.weights), channels, length), np.int64)
            weights[:, :, at[inside]] = layer.weights[:, :, inside]
            self._flatten(f"{layer.name}.vector")
            layer = Layer(layer.name, weights.reshape(len(weights), -1), layer.values)
        self.layer(layer)
        if self._late or not layer.dense:
            self._late = False
            self._add("Flatten", "scores.vector", axis=1)
            self.shape = shape[:2]
            self._whole()

    def signs(self, name: str, signs: Array) -> None:
        """Multiply each channel by 1 or -1 (C,), as a depthwise convolution of one tap."""
        if (signs < 0).any():
            weights = signs.astype(np.int64).reshape(-1, 1, 1)
            self.layer(
                Layer(f"{name}.signs", weights, lambda integers: integers, groups=len(signs))
            )

    def thresholds(
        self,
        quantizer: NodeProto,
        thresholds: Array,
        lowest: int,
        highest: int,
        step: float,
        output: str,
    ) -> None:
        """Append thresholds (C, T) on integers; the result's integers stand for this step."""
        late, self._late = self._late, False
        values = np.where(np.abs(thresholds) < HALVES, thresholds - 0.5, thresholds)
        self._add(
            "MultiThreshold",
            quantizer.name or quantizer.output[0],
            values.astype(np.float32),
            output="" if late else output,
            domain=QONNX,
            out_dtype=integer_type(np.array([lowest, highest])),
            out_bias=float(lowest),
            out_scale=1.0,
            data_layout="NCHW" if late or len(self.shape) == 3 else "NC",
        )
        if late:
            self._add("Flatten", f"{quantizer.output[0]}.vector", output=output, axis=1)
        self.low, self.high = (np.full(self.shape[1], end) for end in (lowest, highest))
        self.step = step
        if output:
            self.known[output] = step

    def passing(self, node: NodeProto, output: str = "") -> None:
        """Append a node that moves or chooses values."""
        name = node.name or node.output[0]
        if node.op_type == "MaxPool":
            self._pool(node, name, output)
        elif node.op_type in ("Flatten", "Reshape", "Squeeze"):
            given = self.model.get_tensor_shape(node.output[0])
            if len(given) != 2:
                raise told(node, f"a vector is made of channels and positions, not {given}")
            self._flatten(name, output)
        elif node.op_type != "Identity":
            raise told(node, "axes keep their places: (1, channels, samples) up to the flattening")
        if output:
            self.known[output] = self.step

    def _pool(self, node: NodeProto, name: str, output: str) -> None:
        attributes = attributes_of(node)
        (kernel,) = attributes["kernel_shape"]
        (stride,) = attributes.get("strides", [1])
        # FINN pools no windows with gaps between them: every window, of which some are taken.
        sparse = stride > kernel
        self._add(
            "MaxPool", name, output="" if sparse else output, kernel_shape=[kernel],
            strides=[1 if sparse else stride], pads=[0, 0], dilations=[1], ceil_mode=0,
        )  # fmt: skip
        positions = (self.shape[2] - kernel) // (1 if sparse else stride) + 1
        self.shape = (*self.shape[:2], positions)
        if sparse:
            one = np.ones((self.shape[1], 1, 1), np.int64)
            taken = Layer(f"{name}.taken", one, lambda integers: integers, stride, 1, len(one))
            self.layer(taken)
            if output:
                self._nodes[-1].output[0] = self._tensor = output

    def _flatten(self, name: str, output: str = "") -> None:
        if len(self.shape) == 2:
            self._add("Identity", name, output=output)
            return
        positions = self.shape[2]
        if len(self._nodes) == FIRST:
            self._unread = self.shape[1:]
        else:
            self._add("Flatten", name, output=output, axis=1)
        self.shape = (1, self.shape[1] * positions)
        self.low, self.high = self.low.repeat(positions), self.high.repeat(positions)

    def constant(self, op: str, name: str, values: Array) -> None:
        """Append an addition of or a multiplication by integers, one a class."""
        node = self._add(op, name, values.astype(np.float32).reshape(1, -1))
        self._types[node.input[1]] = integer_type(values.astype(np.float32).astype(np.int64))

    def scores(self, scale: float) -> None:
        """End in the last tensor: integer scores of this scale."""
        if len(self.shape) == 3:
            if self.shape[2] != 1:
                raise told(self._nodes[-1], "the scores have positions; pool or flatten them")
            self._flatten("scores.vector")
        if self._nodes[-1].op_type == "Flatten":
            self._whole()
        self._scale = scale

    def _whole(self) -> None:
        """Append a layer that does nothing: FINN's class index takes no vector of positions."""
        same = np.eye(self.shape[1], dtype=np.int64)
        self.layer(Layer("scores", same, lambda integers: integers))

    def finished(self) -> ModelWrapper:
        """Return the graph."""
        network, end = self.model.graph, self.model.graph.output[0].name
        if self._tensor != end:
            old = self._nodes[-1].output[0]
            self._nodes[-1].output[0] = end
            self.known.pop(old, None)
        graph = helper.make_graph(
            self._nodes,
            network.name or "network",
            [network.input[0]],
            [helper.make_tensor_value_info(end, TensorProto.FLOAT, self.shape)],
        )
        imports = [helper.make_opsetid("", 18), helper.make_opsetid(QONNX, 1)]
        model = ModelWrapper(helper.make_model(graph, opset_imports=imports, ir_version=10))
        for name, values in self._constants.items():
            model.set_initializer(name, values)
        for name, kind in self._types.items():
            model.set_tensor_datatype(name, DataType[kind])
        facts = {"scale": self._scale, "integers": True}
        model.set_metadata_prop(OUTPUT_PROPERTY, json.dumps(facts))
        return model.transform(InferShapes())


def integer_type(values: Array) -> str:
    """Return the name of the smallest type of whole numbers that holds all values."""
    low, high = int(values.min()), int(values.max())
    if low >= 0:
        return f"UINT{max(high.bit_length(), 1)}"
    return f"INT{max((-low - 1).bit_length(), high.bit_length()) + 1}"
