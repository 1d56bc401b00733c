"""FIFOs in front of nodes that do not read for a while, deep enough to hold what comes meanwhile.

A matrix unit of several folds of filters takes a vector during the first of them and reads nothing
during the others; a window generator reads nothing of the next frame while it gives the last window
of one; padding reads nothing while it pads. With the smallest FIFOs whatever comes before them
waits as well, and a layer that needs every clock of a frame then takes longer than that. How long
each of them does not read follows from its folding, and how many words come meanwhile from the
slowest node's clocks a frame: that is the depth.
"""

import math

from finn.builder.build_dataflow_config import DataflowBuildConfig
from finn.custom_op.fpgadataflow.convolutioninputgenerator import ConvolutionInputGenerator
from finn.custom_op.fpgadataflow.fmpadding import FMPadding
from finn.custom_op.fpgadataflow.hwcustomop import HWCustomOp
from finn.custom_op.fpgadataflow.matrixvectoractivation import MVAU
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.base import Transformation

HELD = 5
"""Words that FINN's smallest FIFO holds."""


class DeepenBurstFIFOs(Transformation):
    """Set the depths of the FIFOs in front of nodes that do not read all the time."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Raise the nodes' `inFIFODepths`, in words of their folding."""
        operators = [getCustomOp(node) for node in model.graph.node]
        period = max(int(operator.get_exp_cycles()) for operator in operators)
        for operator in operators:
            depth = waiting_words(operator, period)
            if depth > HELD:
                depths = operator.get_nodeattr("inFIFODepths")
                operator.set_nodeattr("inFIFODepths", [max(depths[0], depth), *depths[1:]])
        return model, False


def waiting_words(operator: HWCustomOp, period: int) -> int:
    """Return the words that come to a node's first input while it does not read, at most.

    Args:
        operator: the node.
        period: clocks a frame.
    """
    words = math.prod(operator.get_folded_input_shape()[:-1])
    if isinstance(operator, MVAU):
        vector = operator.get_nodeattr("MW") // operator.get_nodeattr("SIMD")
        folds = operator.get_nodeattr("MH") // operator.get_nodeattr("PE")
        # A window comes at once.
        return vector if folds > 1 else 0
    if isinstance(operator, FMPadding):
        top, left, bottom, right = operator.get_nodeattr("Padding")
        folds = operator.get_folded_input_shape()[-2]
        silent = max(top + bottom, left + right) * folds
    elif isinstance(operator, ConvolutionInputGenerator) and not _whole(operator):
        silent = operator.get_folded_output_shape()[-2]
    else:
        return 0
    return math.ceil(silent * words / period)


def _whole(generator: ConvolutionInputGenerator) -> bool:
    """Whether a generator gives a window a word."""
    return bool(generator.use_parallel_window_output())


def step_burst_fifos(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """Once the folding is known: make room in front of what does not read all the time."""
    return model.transform(DeepenBurstFIFOs())
