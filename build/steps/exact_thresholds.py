"""Thresholds that decide exactly as the network's quantizers do.

FINN writes thresholds in float32, and streamlining folds scales, biases and batch norms into them
in float32. A threshold that comes out a millionth too high or low now and then lies on the wrong
side of an accumulator: a few activations in a million are off by one step. Here thresholds are kept
in float64 up to streamlining. Then each is replaced by the smallest integer accumulator for which
the quantizer, evaluated in float64 on the exported model itself, gives at least that level.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from finn.builder.build_dataflow_config import DataflowBuildConfig
from finn.builder.build_dataflow_steps import step_qonnx_to_finn, step_streamline
from onnx import NodeProto, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.base import Transformation

from build.checks import LAYERS, PASSING, QUANTIZERS, joins, quantizer_of
from build.execute import run_node
from build.grid import grid_of
from build.layout import graph_after
from build.steps.branches import channels_last_joins, scales_past_joins
from build.structure import in_order

SOURCE = "step_integer_input"
"""The exported model with integer input, as the builder saves it after our first step."""


class _Rewrite(Transformation):
    """Replace the thresholds of every quantizer.

    Args:
        source: the QONNX graph that the model was made from; its i-th quantizer of activations, in
            the order of the structure, has become the i-th `MultiThreshold`.
    """

    def __init__(self, source: ModelWrapper):
        super().__init__()
        self.source = source

    def better(
        self, quantizer: NodeProto, thresholds: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | float]:
        """Return new thresholds (C, T), and how far from them rounding can have put the old."""
        raise NotImplementedError

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite in place.

        Raises:
            ValueError: a threshold was off by more than rounding: the graphs do not correspond.
        """
        for node, quantizer in _pairs(model, self.source):
            thresholds = model.get_initializer(node.input[1])
            better, tolerance = self.better(quantizer, thresholds)
            if np.any(np.abs(better - thresholds) > tolerance):
                raise ValueError(f"{node.output[0]} does not correspond to {quantizer.name}")
            model.set_initializer(node.input[1], better)
        return model, False


class WidenThresholds(_Rewrite):
    """Recompute the thresholds of a graph fresh from QONNX in float64."""

    def better(
        self, quantizer: NodeProto, thresholds: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | float]:
        """Return them as the quantizer's step and integers give them."""
        scale, lowest = _range(self.source, quantizer)
        wide = (np.arange(thresholds.shape[1], dtype=np.float64) + lowest + 0.5) * scale
        return np.broadcast_to(wide, thresholds.shape), 1e-4 * (np.abs(wide) + scale)


class ExactThresholds(_Rewrite):
    """Replace the thresholds of a streamlined graph by exact integers."""

    def better(
        self, quantizer: NodeProto, thresholds: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | float]:
        """Return the integers, as FINN's float32."""
        return exact_thresholds(self.source, quantizer, thresholds).astype(np.float32), 2.0


def _pairs(model: ModelWrapper, source: ModelWrapper) -> list[tuple[NodeProto, NodeProto]]:
    """Return the thresholding nodes of a graph with the quantizers that they came from.

    Raises:
        ValueError: their numbers differ.
    """
    quantizers = [node for node in in_order(source) if _is_activation(source, node)]
    nodes = [node for node in in_order(model) if node.op_type == "MultiThreshold"]
    if len(nodes) != len(quantizers):
        raise ValueError(f"{len(quantizers)} quantizers have become {len(nodes)} thresholdings")
    return list(zip(nodes, quantizers, strict=True))


def _range(source: ModelWrapper, quantizer: NodeProto) -> tuple[float, int]:
    """Return a quantizer's step and its lowest integer."""
    operator = getCustomOp(quantizer)
    scale, bits = (float(source.get_initializer(quantizer.input[i]).item()) for i in (1, 3))
    signed, narrow = operator.get_nodeattr("signed"), operator.get_nodeattr("narrow")
    return scale, int(-(2 ** (bits - 1)) + narrow if signed else 0)


def _is_activation(model: ModelWrapper, node: NodeProto) -> bool:
    """Whether a node quantizes activations (and neither weights nor the input's floats)."""
    return node.op_type in QUANTIZERS and head_of(model, node) is not None


def head_of(model: ModelWrapper, quantizer: NodeProto) -> tuple[str, list[NodeProto]] | None:
    """Return the integers that a quantizer takes, and what is computed on the way to it, in order.

    They are a layer's accumulators, the sum or concatenation of branches, or another quantizer's
    output; None for a quantizer of constants or floats.
    """
    between: list[NodeProto] = []
    tensor = quantizer.input[0]
    while (node := model.find_producer(tensor)) is not None:
        if node.op_type in (*LAYERS, *QUANTIZERS) or joins(model, node):
            return tensor, between
        # A quantizer is monotone: pooling before or after it makes no difference.
        if node.op_type not in PASSING:
            between.insert(0, node)
        tensor = node.input[0]
    integers = model.get_initializer(tensor) is None and model.get_tensor_datatype(tensor)
    return (tensor, between) if integers and integers.is_integer() else None


def levels_of(source: ModelWrapper, quantizer: NodeProto) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from the integers that a quantizer takes (`head_of`) to its levels.

    Both are (N, C); levels count from the quantizer's lowest value. Computed in float64.
    """
    found = head_of(source, quantizer)
    assert found is not None, f"{quantizer.name} is behind no integers"
    head, between = found
    step, bias = _step_and_bias(source, head)
    scale, lowest = _range(source, quantizer)
    chain = values_of(source, quantizer, head, between)

    def levels(accumulators: np.ndarray) -> np.ndarray:
        return np.rint(chain(accumulators.astype(np.float64) * step + bias) / scale) - lowest

    return levels


def values_of(
    source: ModelWrapper, quantizer: NodeProto, head: str, between: list[NodeProto]
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from a tensor's float64 values (N, C) to its quantizer's, (N, C)."""
    constants = {item.name: numpy_helper.to_array(item) for item in source.graph.initializer}
    producer = source.find_producer(head)
    shape = source.get_tensor_shape(head)
    positions = producer.op_type == "Conv" or (shape is not None and len(shape) == 3)

    def values(value: np.ndarray) -> np.ndarray:
        rows = value.shape
        value = value[..., None] if positions else value
        for node in [*between, quantizer]:
            # The running value stands for the input that is no constant.
            value = run_node(node, [constants.get(item, value) for item in node.input])
        return value.reshape(rows)

    return values


def _step_and_bias(source: ModelWrapper, head: str) -> tuple[np.ndarray, np.ndarray | float]:
    """Return what one integer of a tensor is worth (one value or one a channel), and its bias."""
    layer = source.find_producer(head)
    if layer is None or layer.op_type not in LAYERS:
        grid = grid_of(source, head)
        assert grid is not None, "`build.buildable` refuses joins of floats"
        return np.array(grid.step), 0.0
    taken, weights = grid_of(source, layer.input[0]), quantizer_of(source, layer.input[1])
    assert taken is not None and weights is not None, "`build.checks` refuses float operands"
    step = taken.step * source.get_initializer(weights.input[1]).reshape(-1).astype(np.float64)
    return step, source.get_initializer(layer.input[2]) if len(layer.input) > 2 else 0.0


def exact_thresholds(
    source: ModelWrapper, quantizer: NodeProto, thresholds: np.ndarray
) -> np.ndarray:
    """Return the integer thresholds (C, T) of a quantizer, one for each level above its lowest.

    Args:
        source: the QONNX graph.
        quantizer: one of its quantizers of activations.
        thresholds: (C, T), the same up to rounding. Where the level falls with the accumulator
            (a negative gain in the batch norm), streamlining has changed the accumulator's sign.
            Thresholds that no accumulator of 24 bits reaches stay as they are.
    """
    levels = levels_of(source, quantizer)
    far = np.full((1, len(thresholds)), 2.0**30)
    sign = np.sign(levels(far) - levels(-far))
    guess = np.ceil(thresholds.astype(np.float64))
    usable = np.isfinite(guess) & (np.abs(guess) < 2**24) & (sign.T != 0)
    guess = np.where(usable, guess, 0).T
    wanted = np.arange(1, len(guess) + 1)[:, None]
    # Rounding moves a threshold past one integer at most; 3 away stands for anything else.
    exact = guess + 3
    for offset, found in ((1, 1), (0, 0), (-1, -1), (-2, -3)):
        reached = levels(sign * (guess + offset)) >= wanted
        exact = np.where(reached, guess + found, exact)
    return np.where(usable, exact.T, thresholds)


def step_qonnx_to_finn_exactly(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """FINN's `step_qonnx_to_finn`, then thresholds in float64.

    Needs the builder's saved intermediate models.
    """
    model = step_qonnx_to_finn(model, cfg)
    source = graph_after(Path(cfg.output_dir), SOURCE)
    return model.transform(WidenThresholds(ModelWrapper(str(source))))


def step_streamline_exactly(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """FINN's `step_streamline`, branches too, then exact thresholds.

    Needs the builder's saved intermediate models.
    """
    model = step_streamline(scales_past_joins(model), cfg)
    model = channels_last_joins(model)
    source = graph_after(Path(cfg.output_dir), SOURCE)
    return model.transform(ExactThresholds(ModelWrapper(str(source))))
