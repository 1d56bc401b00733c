"""A layer as integer weights, and what one of its accumulators stands for."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper

from build.checks import MEANS, PASSING, QUANTIZERS
from build.integers.line import Constants, attributes_of, pass_on, told

Array = np.ndarray
Values = Callable[[Array], Array]
"""From accumulators (N, C), integers, to the float64 values that they stand for, same shape."""


@dataclass(frozen=True)
class Layer:
    """Integers in, accumulators out.

    Attributes:
        name: of the node.
        weights: int64 (F, C / groups, taps) of a convolution, (F, inputs) of a dense layer.
        values: what an accumulator of each channel stands for.
        stride, dilation, groups: of a convolution.
        pads: zeros before and behind.
    """

    name: str
    weights: Array
    values: Values
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    pads: tuple[int, int] = (0, 0)

    @property
    def dense(self) -> bool:
        """Whether it takes a vector."""
        return self.weights.ndim == 2

    def flipped(self, signs: Array) -> "Layer":
        """Return the same layer with the accumulators of some channels negated, by ±1 (F,)."""
        shape = (-1, *[1] * (self.weights.ndim - 1))
        values = self.values
        return replace(
            self,
            weights=self.weights * signs.reshape(shape),
            values=lambda accumulators: values(accumulators * signs),
        )

    def bounds(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Return the least and largest accumulator (F,) for inputs from low to high, each (C,)."""
        if self.dense:
            repeat = self.weights.shape[1] // len(low)
            low, high = low.repeat(repeat), high.repeat(repeat)
            weights = self.weights
        else:
            weights = spread(self.weights, self.groups)
            low, high = low[:, None], high[:, None]
            if any(self.pads):
                low, high = np.minimum(low, 0), np.maximum(high, 0)
        ends = weights * low, weights * high
        axes = tuple(range(1, weights.ndim))
        return np.minimum(*ends).sum(axis=axes), np.maximum(*ends).sum(axis=axes)


def spread(weights: Array, groups: int) -> Array:
    """Return (F, C, taps): the weights of a convolution in groups with their zeros."""
    if groups == 1:
        return weights
    filters, share, taps = weights.shape
    result = np.zeros((filters, share * groups, taps), weights.dtype)
    rows = filters // groups
    for group in range(groups):
        part = slice(group * rows, (group + 1) * rows)
        result[part, group * share : (group + 1) * share] = weights[part]
    return result


def layer_of(model: ModelWrapper, node: NodeProto, step: float, constants: Constants) -> Layer:
    """Return a convolution or dense layer that takes integers of this step.

    Raises:
        BadInput: its weights are no integers of one step a filter, or its form is none of ours.
    """
    weights, steps = _integers(model, node, constants)
    attributes = attributes_of(node)
    bias = constants[node.input[2]].reshape(-1) if len(node.input) > 2 else 0.0
    if node.op_type == "Conv":
        if weights.ndim != 3:
            raise told(node, "convolutions of one dimension are built, and 2-D ones of their kind")
        pads = attributes.get("pads", [0, 0])
        form = {
            "stride": attributes.get("strides", [1])[0],
            "dilation": attributes.get("dilations", [1])[0],
            "groups": attributes.get("group", 1),
            "pads": (pads[0], pads[1]),
        }
    else:
        form = {}
        if node.op_type == "Gemm" and attributes.get("transA"):
            raise told(node, "its input is transposed; export it without transA")
        if not (node.op_type == "Gemm" and attributes.get("transB")):
            weights, steps = weights.T, steps.T
        steps = steps * attributes.get("alpha", 1.0)
        bias = bias * attributes.get("beta", 1.0)
        shape = model.get_tensor_shape(node.input[0])
        if len(shape) != 2 or weights.ndim != 2:
            raise told(node, "a dense layer takes a vector; flatten in front of it")
    steps = steps.reshape(len(steps), -1)
    if np.ptp(steps, axis=1).any():
        raise told(node, "its weights have a step for each input; quantize them per tensor or "
                         "per output channel")  # fmt: skip
    scale = steps[:, 0] * step

    def values(accumulators: Array) -> Array:
        return accumulators * scale + bias

    return Layer(node.name or node.output[0], weights, values, **form)


def _integers(model: ModelWrapper, node: NodeProto, constants: Constants) -> tuple[Array, Array]:
    """Return a layer's integer weights and the step of each, of the same shape."""
    moved: list[NodeProto] = []
    quantizer = model.find_producer(node.input[1])
    while quantizer is not None and quantizer.op_type in PASSING:
        moved.insert(0, quantizer)
        quantizer = model.find_producer(quantizer.input[0])
    if quantizer is None or quantizer.op_type not in QUANTIZERS:
        raise told(node, "its weights are floats; quantize them")
    if quantizer.op_type != "BipolarQuant" and np.any(constants[quantizer.input[2]] != 0):
        raise told(quantizer, "its zero point must be 0; quantize symmetrically")
    values = constants[quantizer.output[0]]
    steps = np.broadcast_to(constants[quantizer.input[1]], values.shape)
    integers = np.rint(values / steps)
    for item in moved:
        others = [constants[name] for name in item.input[1:]]
        integers, steps = (pass_on(item, array, *others) for array in (integers, steps))
    return integers.astype(np.int64), steps


def mean_of(model: ModelWrapper, node: NodeProto, values: Values) -> Layer:
    """Return a mean over positions as a layer of ones.

    Args:
        model: the graph.
        node: one of `MEANS`.
        values: what its input's integers stand for; affine.

    Raises:
        BadInput: it pads, or is a mean over something else.
    """
    window = window_of(model, node)
    if window is None:
        raise told(node, "pool without padding, over whole windows of positions")
    taps, stride = window
    shape = model.get_tensor_shape(node.input[0])
    if shape[2] == taps:
        stride = 1  # FINN's window generator waits for each sample that a stride skips
    return Layer(
        node.name or node.output[0],
        np.ones((shape[1], 1, taps), np.int64),
        lambda sums: values(sums / taps),
        stride=stride,
        groups=shape[1],
    )


def signs_of(direction: Array) -> Array:
    """Return -1 where a direction (C,) is negative, else 1."""
    return np.where(direction < 0, -1, 1)


def window_of(model: ModelWrapper, node: NodeProto) -> tuple[int, int] | None:
    """Return taps and stride of a mean over the positions of (1, C, L); None for what is none."""
    if node.op_type not in MEANS:
        return None
    shape = model.get_tensor_shape(node.input[0])
    if shape is None or len(shape) != 3:
        return None
    attributes = attributes_of(node)
    if node.op_type == "ReduceMean":
        axes = attributes.get("axes")
        if axes is None and len(node.input) > 1:
            axes = model.get_initializer(node.input[1])
        named = [] if axes is None else np.reshape(axes, -1).tolist()
        return (shape[2], shape[2]) if named in ([2], [-1]) else None
    if node.op_type == "GlobalAveragePool":
        return shape[2], shape[2]
    if any(attributes.get("pads", [])) or attributes.get("ceil_mode"):
        return None
    return attributes["kernel_shape"][0], attributes.get("strides", [1])[0]
