"""FIFOs in front of joins, deep enough that no branch waits for another, by construction.

Where branches meet, the words of the quicker one wait for the slower's: a window of positions has
to fill up in front of each convolution. With too little room for them the fork cannot hand out any
more words, the slower branch never gets the ones it waits for, and the accelerator stands still.

When each position of each stream comes is a matter of window sizes alone. Here that is computed in
parts of a frame, as if the input came in evenly; how many words then wait in front of a join is the
depth of its FIFO.
"""

import math

import numpy as np
from finn.builder.build_dataflow_config import DataflowBuildConfig
from finn.custom_op.fpgadataflow.convolutioninputgenerator import ConvolutionInputGenerator
from finn.custom_op.fpgadataflow.fmpadding import FMPadding
from finn.custom_op.fpgadataflow.hwcustomop import HWCustomOp
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.base import Transformation

from build.rtl.window_ops import PaddedWindow_rtl

PIPELINE = 32
"""Clocks, more than any node's registers take from its last operand to its result."""

LEAST = 2


class DeepenBranchFIFOs(Transformation):
    """Set the depths of the FIFOs in front of every join of streams."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Set the nodes' `inFIFODepths`, in words of their folding."""
        for name, depths in branch_depths(model).items():
            getCustomOp(model.get_node_from_name(name)).set_nodeattr("inFIFODepths", depths)
        return model, False


def branch_depths(model: ModelWrapper) -> dict[str, list[int]]:
    """Return the words that wait in front of each join, name of the node -> one number an input."""
    operators = {node.name: getCustomOp(node) for node in model.graph.node}
    period = max(int(operator.get_exp_cycles()) for operator in operators.values())
    source = model.graph.input[0].name
    first = operators[model.find_consumer(source).name]
    count = math.prod(first.get_normal_input_shape()[:-1])
    times = {source: (np.arange(count) + 1) / count}
    depths = {}
    for node in model.graph.node:
        operator = operators[node.name]
        arrivals = [times[name] for name in node.input if name in times]
        together = np.max(arrivals, axis=0) if len(arrivals) > 1 else arrivals[0]
        if len(arrivals) > 1:
            words = [operator.get_folded_input_shape(index)[-2] for index in range(len(arrivals))]
            depths[node.name] = [
                max((_waiting(arrival, together) + 1) * int(each), LEAST)
                for arrival, each in zip(arrivals, words, strict=True)
            ]
        given = _given(operator, together)
        delay = (int(operator.get_exp_cycles()) / len(given) + PIPELINE) / period
        times |= dict.fromkeys(node.output, given + delay)
    return depths


def _waiting(arrival: np.ndarray, taken: np.ndarray) -> int:
    """Return how many positions of a stream wait at most; the next frames arrive meanwhile."""
    frames = math.ceil(taken[-1] - arrival[0]) + 1
    arrivals = (arrival + np.arange(frames)[:, None]).reshape(-1)
    there = np.searchsorted(arrivals, taken, side="right")
    return int((there - np.arange(len(taken))).max())


def _given(operator: HWCustomOp, times: np.ndarray) -> np.ndarray:
    """Return when the operands of each output position are there, from when each input is."""
    if isinstance(operator, FMPadding):
        top, left, bottom, right = operator.get_nodeattr("Padding")
        image = times.reshape(operator.get_nodeattr("ImgDim"))
        padded = np.pad(image, [(top, bottom), (left, right)], mode="edge").reshape(-1)
        return np.maximum.accumulate(padded)
    if isinstance(operator, PaddedWindow_rtl):
        kernel = operator.kernel()
        last = kernel.lead + np.arange(kernel.positions) * kernel.stride
        return times[np.minimum(last, kernel.length - 1)]
    if isinstance(operator, ConvolutionInputGenerator):
        names = ("OFMDim", "Stride", "ConvKernelDim", "Dilation")
        rows, columns = (
            np.arange(size) * stride + (kernel - 1) * dilation
            for size, stride, kernel, dilation in zip(
                *(operator.get_nodeattr(name) for name in names), strict=True
            )
        )
        image = times.reshape(operator.get_nodeattr("IFMDim"))
        return image[rows[:, None], columns].reshape(-1)
    positions = math.prod(operator.get_normal_output_shape()[:-1])
    # As many positions as come in, or, of a dense layer, one for all.
    last = np.ceil((np.arange(positions) + 1) * len(times) / positions).astype(int) - 1
    return times[last]


def step_branch_fifos(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """Once the folding is known: make room in front of the joins."""
    return model.transform(DeepenBranchFIFOs())
