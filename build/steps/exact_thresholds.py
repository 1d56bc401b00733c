"""Thresholds that decide exactly as the network's quantizers do.

FINN writes thresholds in float32, and streamlining folds scales, biases and batch norms into them
in float32. A threshold that comes out a millionth too high or low now and then lies on the wrong
side of an accumulator: a few activations in a million are off by one step. Here thresholds are kept
in float64 up to streamlining. Then each is replaced by the smallest integer accumulator for which
the quantizer, evaluated in float64 on the exported model itself, gives at least that level.
"""

from pathlib import Path

import numpy as np
from finn.builder.build_dataflow_config import DataflowBuildConfig
from finn.builder.build_dataflow_steps import step_qonnx_to_finn, step_streamline
from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from build.layout import graph_after
from build.levels import is_activation, levels_of, range_of
from build.steps.branches import channels_last_joins, scales_past_joins
from build.structure import in_order
from models.errors import CheckFailed

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
            CheckFailed: a threshold was off by more than rounding: the graphs do not correspond.
        """
        for node, quantizer in _pairs(model, self.source):
            thresholds = model.get_initializer(node.input[1])
            better, tolerance = self.better(quantizer, thresholds)
            if np.any(np.abs(better - thresholds) > tolerance):
                raise CheckFailed(
                    f"streamlining has made thresholds of {quantizer.name} that are not its own "
                    f"({node.output[0]}); this is a fault of AaronNet's: please report the network"
                )
            if not model.get_tensor_datatype(node.input[0]).signed():
                # Reached by every unsigned number; FINN compares those with unsigned ones only.
                better = np.maximum(better, 0)
            model.set_initializer(node.input[1], better)
        return model, False


class WidenThresholds(_Rewrite):
    """Recompute the thresholds of a graph fresh from QONNX in float64."""

    def better(
        self, quantizer: NodeProto, thresholds: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | float]:
        """Return them as the quantizer's step and integers give them."""
        scale, lowest = range_of(self.source, quantizer)
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
        CheckFailed: their numbers differ.
    """
    quantizers = [node for node in in_order(source) if is_activation(source, node)]
    nodes = [node for node in in_order(model) if node.op_type == "MultiThreshold"]
    if len(nodes) != len(quantizers):
        raise CheckFailed(
            f"streamlining has made {len(nodes)} thresholdings of {len(quantizers)} quantizers; "
            "this is a fault of AaronNet's: please report the network"
        )
    return list(zip(nodes, quantizers, strict=True))


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
    source = ModelWrapper(str(graph_after(Path(cfg.output_dir), SOURCE)))
    return model if _exact(source) else model.transform(WidenThresholds(source))


def step_streamline_exactly(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """FINN's `step_streamline`, branches too, then exact thresholds.

    Needs the builder's saved intermediate models.
    """
    model = step_streamline(scales_past_joins(model), cfg)
    model = channels_last_joins(model)
    source = ModelWrapper(str(graph_after(Path(cfg.output_dir), SOURCE)))
    return model if _exact(source) else model.transform(ExactThresholds(source))


def _exact(source: ModelWrapper) -> bool:
    """Whether a graph has thresholds on integers from the start (`build.integers`)."""
    return bool(source.get_nodes_by_op_type("MultiThreshold"))
