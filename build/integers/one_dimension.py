"""2-D networks of 1-D frames, written with convolutions of one dimension.

A tensor (1, F, H, L) holds the same numbers in the same order as (1, F * H, L). With rows as
channels, a convolution of kernel (h, k) is one of kernel k whose weights repeat for every row.
"""

import numpy as np
from onnx import NodeProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from build.checks import PASSING, QUANTIZERS, TRUNCATING
from build.integers.line import attributes_of, told

Shape = tuple[int, ...]


def rows_as_channels(shape: Shape) -> Shape:
    """Return (1, F * H, L) for (1, F, H, L), any other shape as it is."""
    return (shape[0], shape[1] * shape[2], shape[3]) if len(shape) == 4 else tuple(shape)


class OneDimension(Transformation):
    """Rewrite a graph with 2-D tensors of frames.

    Weights keep their quantizers: each is repeated, or joined by zeros, where a row needs it. What
    moves rows in another way (pooling over them, a transposition) is left as it is, for the check
    to name.
    """

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite in place.

        Raises:
            BadInput: a node pools over rows, or its constants differ from row to row in a way that
                has no 1-D form.
        """
        moving = [model.graph.input[0].name]
        for node in model.graph.node:
            if node.input and node.input[0] in moving:
                moving += node.output
        shapes = {name: tuple(model.get_tensor_shape(name) or ()) for name in moving}
        if not any(len(shape) == 4 for shape in shapes.values()):
            return model, False
        for node in list(model.graph.node):
            if node.input and node.input[0] in moving:
                self._rewrite(model, node, shapes[node.input[0]], shapes[node.output[0]])
        for name, shape in shapes.items():
            model.set_tensor_shape(name, list(rows_as_channels(shape)))
        return model, False

    def _rewrite(self, model: ModelWrapper, node: NodeProto, taken: Shape, given: Shape) -> None:
        kind = node.op_type
        if kind in ("Reshape", "Squeeze", "Unsqueeze", "Flatten"):
            before, after = rows_as_channels(taken), rows_as_channels(given)
            op = "Identity" if before == after else "Flatten" if len(after) == 2 else None
            if op is not None:
                _replace(node, op, node.input[:1], {"axis": 1} if op == "Flatten" else {})
        elif len(taken) != 4:
            return
        elif kind == "Conv":
            _convolution(model, node, taken, given)
        elif kind in ("MaxPool", "AveragePool"):
            _pooling(node, taken)
        elif kind == "ReduceMean":
            _mean(model, node, taken, given)
        elif kind == "GlobalAveragePool":
            if taken[2] != 1:
                raise told(node, "its mean is over rows as well; convolve them away before")
        elif kind == "BatchNormalization":
            for i in range(1, 5):
                _set(model, node, i, model.get_initializer(node.input[i]).repeat(taken[2]))
        elif kind not in (*QUANTIZERS, *TRUNCATING) and kind not in PASSING:
            for i, name in enumerate(node.input):
                value = model.get_initializer(name)
                if value is not None and value.size > 1:
                    _set(model, node, i, _constant(node, value, taken))


def _replace(node: NodeProto, op: str, inputs: list[str], attributes: dict) -> None:
    node.op_type = op
    node.input[:] = inputs
    del node.attribute[:]
    node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())


def _set(model: ModelWrapper, node: NodeProto, index: int, value: np.ndarray) -> None:
    """Give a node a constant of its own."""
    name = f"{node.name or node.output[0]}.rows{index}"
    model.set_initializer(name, np.ascontiguousarray(value))
    node.input[index] = name


def _constant(node: NodeProto, value: np.ndarray, taken: Shape) -> np.ndarray:
    """Return an element-wise constant for rows as channels."""
    try:
        full = np.broadcast_to(value, (1, *taken[1:3], 1))
    except ValueError as error:
        raise told(node, "its constants differ from sample to sample") from error
    return full.reshape(1, -1, 1)


def _convolution(model: ModelWrapper, node: NodeProto, taken: Shape, given: Shape) -> None:
    attributes = attributes_of(node)
    group, pads = attributes.get("group", 1), attributes.get("pads", [0, 0, 0, 0])
    strides, dilations = (attributes.get(key, [1, 1]) for key in ("strides", "dilations"))
    rows, rows_out, top = taken[2], given[2], pads[0]

    def lines(weights: np.ndarray) -> np.ndarray:
        """Return (F * rows_out, C * rows, k) for weights (F, C, h, k) of an undivided layer."""
        filters, channels, height, taps = weights.shape
        result = np.zeros((filters, rows_out, channels, rows, taps), weights.dtype)
        for out in range(rows_out):
            for tap in range(height):
                row = out * strides[0] - top + tap * dilations[0]
                if 0 <= row < rows:
                    result[:, out, :, row] = weights[:, :, tap]
        return result.reshape(filters * rows_out, channels * rows, taps)

    single = rows == rows_out == 1
    _weights(model, node, lines, rows_out, group if not single else 1)
    if len(node.input) > 2 and rows_out > 1:
        bias = model.get_initializer(node.input[2])
        if bias is None:
            raise told(node, "its bias is quantized; a float one is repeated row by row")
        _set(model, node, 2, bias.repeat(rows_out))
    changed = {
        "kernel_shape": [model.get_tensor_shape(node.input[1])[2]],
        "strides": [strides[1]],
        "dilations": [dilations[1]],
        "pads": [pads[1], pads[3]],
        "group": group if single else 1,
    }
    del node.attribute[:]
    node.attribute.extend(helper.make_attribute(key, value) for key, value in changed.items())


def _weights(model: ModelWrapper, node: NodeProto, lines, rows_out: int, group: int) -> None:
    """Rewrite a convolution's weights in front of their quantizer, and its steps."""
    quantizer = model.find_producer(node.input[1])
    if quantizer is None or quantizer.op_type not in QUANTIZERS:
        raise told(node, "its weights are floats; quantize them")
    weights = model.get_initializer(quantizer.input[0])
    if weights is None:
        raise told(quantizer, "its weights are computed; export with constants folded")
    if quantizer.op_type == "BipolarQuant" and (rows_out > 1 or group > 1):
        raise told(quantizer, "two levels have no zero for other rows; quantize to 2 bits")
    if group > 1:
        filters, share, *kernel = weights.shape
        spread = np.zeros((filters, share * group, *kernel), weights.dtype)
        for i, part in enumerate(np.split(np.arange(filters), group)):
            spread[part, i * share : (i + 1) * share] = weights[part]
        weights = spread
    _set(model, quantizer, 0, lines(weights))
    step = model.get_initializer(quantizer.input[1])
    if step.size > 1:
        _set(model, quantizer, 1, step.reshape(-1).repeat(rows_out).reshape(-1, 1, 1))
    model.set_tensor_shape(quantizer.output[0], list(model.get_tensor_shape(quantizer.input[0])))


def _pooling(node: NodeProto, taken: Shape) -> None:
    attributes = attributes_of(node)
    kernel, pads = attributes["kernel_shape"], attributes.get("pads", [0, 0, 0, 0])
    strides = attributes.get("strides", [1, 1])
    if kernel[0] != 1 or pads[0] or pads[2] or (taken[2] > 1 and strides[0] != 1):
        raise told(node, "pool along the samples only")
    changed = {"kernel_shape": kernel[1:], "strides": strides[1:], "pads": [pads[1], pads[3]]}
    if "dilations" in attributes:
        changed["dilations"] = attributes["dilations"][1:]
    kept = {key: attributes[key] for key in ("ceil_mode", "count_include_pad") if key in attributes}
    _replace(node, node.op_type, list(node.input), changed | kept)


def _mean(model: ModelWrapper, node: NodeProto, taken: Shape, given: Shape) -> None:
    axes = attributes_of(node).get("axes")
    if axes is None and len(node.input) > 1:
        axes = model.get_initializer(node.input[1])
    named = {int(axis) % 4 for axis in np.reshape([] if axes is None else axes, -1)}
    if named - {2, 3} or 3 not in named or (2 in named and taken[2] > 1):
        raise told(node, "means are over the samples only")
    if len(given) == 3:
        raise told(node, "keep both axes of a mean, or drop both")
    model.set_initializer(f"{node.output[0]}.axes", np.array([2], np.int64))
    keep = int(len(given) == 4)
    _replace(node, "ReduceMean", [node.input[0], f"{node.output[0]}.axes"], {"keepdims": keep})
