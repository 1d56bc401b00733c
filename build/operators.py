"""What every operator of the flow's graphs computes, in numpy, over a batch of frames.

Hardware nodes are computed in the element order that the hardware has: behind a depthwise window
generator that is channel fold, tap, PE lane, so that a folding which two neighbours disagree on
shows up as wrong numbers.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from finn.custom_op.fpgadataflow.concat import StreamingConcat
from finn.custom_op.fpgadataflow.convolutioninputgenerator import ConvolutionInputGenerator
from finn.custom_op.fpgadataflow.duplicatestreams import DuplicateStreams
from finn.custom_op.fpgadataflow.elementwise_binary import ElementwiseBinaryOperation
from finn.custom_op.fpgadataflow.fmpadding import FMPadding
from finn.custom_op.fpgadataflow.hlsbackend import HLSBackend
from finn.custom_op.fpgadataflow.hwcustomop import HWCustomOp
from finn.custom_op.fpgadataflow.labelselect import LabelSelect
from finn.custom_op.fpgadataflow.matrixvectoractivation import MVAU
from finn.custom_op.fpgadataflow.pool import Pool
from finn.custom_op.fpgadataflow.rtlbackend import RTLBackend
from finn.custom_op.fpgadataflow.shuffle import Shuffle
from finn.custom_op.fpgadataflow.streamingdatawidthconverter import StreamingDataWidthConverter
from finn.custom_op.fpgadataflow.streamingfifo import StreamingFIFO
from finn.custom_op.fpgadataflow.thresholding import Thresholding
from finn.custom_op.fpgadataflow.vectorvectoractivation import VVAU
from numpy.lib.stride_tricks import sliding_window_view
from qonnx.custom_op.base import CustomOp
from qonnx.custom_op.general.bipolar_quant import BipolarQuant, binary_quant
from qonnx.custom_op.general.im2col import Im2Col
from qonnx.custom_op.general.intquant import IntQuant, int_quant
from qonnx.custom_op.general.maxpoolnhwc import MaxPoolNHWC
from qonnx.custom_op.general.multithreshold import MultiThreshold
from qonnx.custom_op.general.trunc import Trunc_v1, Trunc_v2, trunc_v1, trunc_v2

from build.rtl.window_ops import PositionsOp

Array = np.ndarray
Attributes = dict[str, Any]


def windows(x: Array, kernel: list[int], stride: list[int], dilation: list[int]) -> Array:
    """Return the windows of (N, C, *spatial) as (N, C, *positions, *kernel), without copying."""
    rank = len(kernel)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    view = sliding_window_view(x, reach, axis=tuple(range(2, 2 + rank)))
    steps = [slice(None, None, s) for s in stride] + [slice(None, None, d) for d in dilation]
    return view[(slice(None), slice(None), *steps)]


def count_thresholds(x: Array, thresholds: Array) -> Array:
    """Return how many of its channel's thresholds (C or 1, T) each value of (..., C) reaches."""
    if len(thresholds) == 1:
        return np.searchsorted(np.sort(thresholds[0]), x, side="right").astype(x.dtype)
    result = np.empty(x.shape, x.dtype)
    for channel, steps in enumerate(np.sort(thresholds, axis=1)):
        result[..., channel] = np.searchsorted(steps, x[..., channel], side="right")
    return result


def _padded(x: Array, attributes: Attributes, rank: int, value: float) -> Array:
    pads = attributes.get("pads", [0] * 2 * rank)
    pairs = list(zip(pads[:rank], pads[rank:], strict=True))
    return np.pad(x, [(0, 0), (0, 0), *pairs], constant_values=value)


def _spatial_windows(x: Array, attributes: Attributes, kernel: list[int], value: float) -> Array:
    rank = len(kernel)
    ones = [1] * rank
    x = _padded(x, attributes, rank, value)
    return windows(x, kernel, attributes.get("strides", ones), attributes.get("dilations", ones))


def _conv(attributes: Attributes, x: Array, weight: Array, bias: Array | None = None) -> Array:
    rank = x.ndim - 2
    view = _spatial_windows(x, attributes, list(weight.shape[2:]), 0)
    positions = view.shape[2 : 2 + rank]
    groups = attributes.get("group", 1)
    # (N, G, C/G, positions, taps) and (G, F/G, C/G, taps): one matrix product a group.
    view = view.reshape(len(x), groups, view.shape[1] // groups, int(np.prod(positions)), -1)
    kernel = weight.reshape(groups, len(weight) // groups, view.shape[2], -1).astype(x.dtype)
    result = np.einsum("ngcpt,gfct->ngfp", view, kernel, optimize=True)
    result = result.reshape(len(x), len(weight), *positions)
    return result if bias is None else result + bias.reshape(-1, *[1] * rank)


def _max_pool(attributes: Attributes, x: Array) -> Array:
    kernel = list(attributes["kernel_shape"])
    view = _spatial_windows(x, attributes, kernel, -np.inf)
    return view.max(axis=tuple(range(-len(kernel), 0)))


def _average_pool(attributes: Attributes, x: Array) -> Array:
    kernel = list(attributes["kernel_shape"])
    if any(attributes.get("pads", [])):
        raise NotImplementedError("average pooling with padding")
    return _spatial_windows(x, attributes, kernel, 0).mean(axis=tuple(range(-len(kernel), 0)))


def _reduce_mean(attributes: Attributes, x: Array, axes: Array | None = None) -> Array:
    chosen = attributes["axes"] if axes is None else axes.reshape(-1)
    return x.mean(axis=tuple(map(int, chosen)), keepdims=bool(attributes.get("keepdims", 1)))


def _batch_norm(
    attributes: Attributes, x: Array, scale: Array, bias: Array, mean: Array, var: Array
) -> Array:
    shape = (-1, *[1] * (x.ndim - 2))
    deviation = np.sqrt(var.astype(x.dtype) + attributes.get("epsilon", 1e-5))
    return (x - mean.reshape(shape)) * (scale / deviation).reshape(shape) + bias.reshape(shape)


def _gemm(attributes: Attributes, x: Array, weight: Array, bias: Array | None = None) -> Array:
    weight = weight.T if attributes.get("transB") else weight
    result = attributes.get("alpha", 1.0) * _matmul(x, weight)
    return result if bias is None else result + attributes.get("beta", 1.0) * bias


def _matmul(x: Array, weight: Array) -> Array:
    return x @ weight.astype(x.dtype)


def _top_k(attributes: Attributes, x: Array, k: Array) -> Array:
    # The flow looks at the indices alone; among equals the first wins, as in onnxruntime.
    return np.argsort(-x, axis=-1, kind="stable")[..., : int(k[0])]


def _pad(attributes: Attributes, x: Array, pads: Array | None = None, *value: Array) -> Array:
    given = attributes["pads"] if pads is None else pads.astype(int).tolist()
    rank = len(given) // 2
    filling = float(value[0].item()) if value and value[0].size else attributes.get("value", 0.0)
    pairs = list(zip(given[:rank], given[rank:], strict=True))
    return np.pad(x, pairs, constant_values=filling)


def _squeeze(attributes: Attributes, x: Array, axes: Array | None = None) -> Array:
    chosen = attributes["axes"] if axes is None else axes.reshape(-1)
    return x.squeeze(tuple(int(axis) for axis in chosen))


def _unsqueeze(attributes: Attributes, x: Array, axes: Array | None = None) -> Array:
    chosen = attributes["axes"] if axes is None else axes.reshape(-1)
    return np.expand_dims(x, tuple(int(axis) for axis in chosen))


STANDARD: dict[str, Callable[..., Array]] = {
    "Add": lambda attributes, x, y: x + y,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Concat": lambda attributes, *parts: np.concatenate(parts, axis=attributes["axis"]),
    "Conv": _conv,
    "Div": lambda attributes, x, y: x / y,
    "Flatten": lambda attributes, x: x.reshape(len(x), -1),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda attributes, x: x.mean(axis=tuple(range(2, x.ndim)), keepdims=True),
    "Identity": lambda attributes, x: x,
    "ReduceMean": _reduce_mean,
    "MatMul": lambda attributes, x, y: _matmul(x, y),
    "MaxPool": _max_pool,
    "Mul": lambda attributes, x, y: x * y,
    "Pad": _pad,
    "Relu": lambda attributes, x: np.maximum(x, 0),
    "Reshape": lambda attributes, x, shape: x.reshape(len(x), *(int(n) for n in shape[1:])),
    "Squeeze": _squeeze,
    "Sub": lambda attributes, x, y: x - y,
    "TopK": _top_k,
    "Unsqueeze": _unsqueeze,
    "Transpose": lambda attributes, x: x.transpose(attributes["perm"]),
}
"""ONNX operators: attributes and inputs to the first output."""


def _quant(op: IntQuant, x: Array, scale: Array, zero: Array, bits: Array) -> Array:
    names = ("signed", "narrow", "rounding_mode")
    return int_quant(x, scale, zero, bits, *(op.get_nodeattr(name) for name in names))


def _truncate(op: Trunc_v2, x: Array, *parameters: Array) -> Array:
    scale, zero, bits, scale_out, bits_out = parameters
    narrow, signed, mode = (op.get_nodeattr(key) for key in ("narrow", "signed", "rounding_mode"))
    return trunc_v2(x, scale, zero, bits, narrow, signed, scale_out, bits_out, mode)


def _multi_threshold(op: MultiThreshold, x: Array, thresholds: Array) -> Array:
    layout = op.get_nodeattr("data_layout")
    axis = layout.index("C") if "C" in layout else 1
    counts = np.moveaxis(count_thresholds(np.moveaxis(x, axis, -1), thresholds), -1, axis)
    return op.get_nodeattr("out_scale") * counts + op.get_nodeattr("out_bias")


def _im2col(x: Array, kernel: list[int], stride: list[int], dilation: list[int]) -> Array:
    """Return the windows of (N, H, W, C) as (N, H', W', taps, C)."""
    view = windows(np.moveaxis(x, -1, 1), kernel, stride, dilation)
    return view.transpose(0, 2, 3, 4, 5, 1).reshape(len(x), *view.shape[2:4], -1, x.shape[-1])


def _im2col_node(op: Im2Col, x: Array) -> Array:
    top, left, bottom, right = op.get_nodeattr("pad_amount")
    x = np.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)])
    names = ("kernel_size", "stride", "dilations")
    view = _im2col(x, *(list(op.get_nodeattr(name)) for name in names))
    return view.reshape(*view.shape[:3], -1)


def _max_pool_nhwc(op: MaxPoolNHWC, x: Array) -> Array:
    names = ("kernel_shape", "strides", "pads")
    attributes = {name: list(op.get_nodeattr(name)) for name in names}
    return np.moveaxis(_max_pool(attributes, np.moveaxis(x, -1, 1)), 1, -1)


def specialized(op: HWCustomOp) -> bool:
    """Whether a hardware node is an HLS or RTL variant, which fixes the order of its streams."""
    return isinstance(op, HLSBackend | RTLBackend)


def _to_stream(x: Array, lanes: int) -> Array:
    """Reorder (..., taps, C) to channel fold, tap, lane: (..., taps * C)."""
    folded = x.reshape(*x.shape[:-1], x.shape[-1] // lanes, lanes)
    return np.moveaxis(folded, -2, -3).reshape(*x.shape[:-2], -1)


def _from_stream(x: Array, channels: int, lanes: int) -> Array:
    """Undo `_to_stream`: (..., taps * C) to (..., taps, C)."""
    folded = x.reshape(*x.shape[:-1], channels // lanes, -1, lanes)
    return np.moveaxis(folded, -3, -2).reshape(*x.shape[:-1], -1, channels)


def _window_generator(op: ConvolutionInputGenerator, x: Array) -> Array:
    names = ("ConvKernelDim", "Stride", "Dilation")
    view = _im2col(x, *(list(op.get_nodeattr(name)) for name in names))
    if specialized(op) and op.get_nodeattr("depthwise"):
        return _to_stream(view, op.get_nodeattr("SIMD"))
    return view.reshape(*view.shape[:3], -1)


def _depthwise_input(op: VVAU | Pool, x: Array) -> Array:
    channels = op.get_nodeattr("Channels")
    return _from_stream(x, channels, op.get_nodeattr("PE") if specialized(op) else channels)


def _vvau(op: VVAU, x: Array, weight: Array, *thresholds: Array) -> Array:
    # Weights (C, 1, k_h, k_w): one filter a channel.
    taps = weight.reshape(len(weight), -1).T.astype(x.dtype)
    return _activate(op, (_depthwise_input(op, x) * taps).sum(axis=-2), *thresholds)


def _mvau(op: MVAU, x: Array, weight: Array, *thresholds: Array) -> Array:
    # A dense layer behind a convolution takes all positions as one vector.
    x = x.reshape(len(x), *op.get_normal_input_shape()[1:])
    return _activate(op, _matmul(x, weight), *thresholds)


def _activate(op: MVAU | VVAU, x: Array, *thresholds: Array) -> Array:
    if op.get_nodeattr("noActivation"):
        return x
    return count_thresholds(x, *thresholds) + op.get_nodeattr("ActVal")


def _pool(op: Pool, x: Array) -> Array:
    if op.get_nodeattr("Function") != "MaxPool":
        raise NotImplementedError(f"pooling by {op.get_nodeattr('Function')}")
    return _depthwise_input(op, x).max(axis=-2)


def _padding(op: FMPadding, x: Array) -> Array:
    top, left, bottom, right = op.get_nodeattr("Padding")
    return np.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)])


def _shuffle(op: Shuffle, x: Array) -> Array:
    inner = x.reshape(len(x), *op.get_nodeattr("transpose_in_shape")[1:])
    shape = op.get_nodeattr("out_shape")[1:]
    return inner.transpose(op.get_nodeattr("perm")).reshape(len(x), *shape)


def _label_select(op: LabelSelect, x: Array) -> Array:
    return _top_k({}, x, np.array([op.get_nodeattr("K")]))


CUSTOM: dict[type[CustomOp], Callable[..., Array]] = {
    IntQuant: _quant,
    BipolarQuant: lambda op, x, scale: binary_quant(x, scale),
    Trunc_v1: lambda op, *inputs: trunc_v1(*inputs, op.get_nodeattr("rounding_mode")),
    Trunc_v2: _truncate,
    MultiThreshold: _multi_threshold,
    Im2Col: _im2col_node,
    MaxPoolNHWC: _max_pool_nhwc,
    Thresholding: lambda op, x, steps: count_thresholds(x, steps) + op.get_nodeattr("ActVal"),
    FMPadding: _padding,
    # These derive from FINN's: they come first.
    PositionsOp: lambda op, x: op.computed(x),
    ConvolutionInputGenerator: _window_generator,
    MVAU: _mvau,
    VVAU: _vvau,
    Pool: _pool,
    ElementwiseBinaryOperation: lambda op, x, y: op.npy_op(x, y),
    Shuffle: _shuffle,
    LabelSelect: _label_select,
    StreamingDataWidthConverter: lambda op, x: x,
    StreamingFIFO: lambda op, x: x,
    DuplicateStreams: lambda op, x: x,
    StreamingConcat: lambda op, *parts: np.concatenate(parts, axis=-1),
}
"""Custom operators by class, their HLS and RTL variants included: node and inputs to the output."""
