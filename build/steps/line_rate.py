"""Windows and pooling that keep one sample a clock, where FINN's own nodes do not.

FINN pads in a node of its own, which takes a clock for each padded position, and its window
generators take a few clocks a frame beside: a layer or a pooling that takes one position a clock
would set the pace of the whole network, at 1026 to 1034 clocks where a frame has 1024 samples.
There, and nowhere else, kernels of ours take their place
(`build/rtl/padded_window.sv`, `build/rtl/position_max.sv`).
"""

import json
from collections.abc import Iterator

from finn.builder.build_dataflow_config import DataflowBuildConfig
from finn.custom_op.fpgadataflow.convolutioninputgenerator import ConvolutionInputGenerator
from finn.custom_op.fpgadataflow.fmpadding import FMPadding
from finn.custom_op.fpgadataflow.hwcustomop import HWCustomOp
from finn.custom_op.fpgadataflow.matrixvectoractivation import MVAU
from finn.custom_op.fpgadataflow.pool import Pool
from finn.custom_op.fpgadataflow.vectorvectoractivation import VVAU
from onnx import NodeProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.base import Transformation

from build.folding import PARALLEL_POSITIONS
from build.rtl.ops import RTL_DOMAIN
from build.rtl.window_ops import PaddedWindow_rtl, PositionMax_rtl
from build.steps.integer_input import INPUT_PROPERTY

WIDEST = 4096
"""Bits of a window up to which all of it is held in registers twice."""


class _AtLineRate(Transformation):
    """Replace window generators that are too slow.

    Args:
        clocks: that a frame may take.
    """

    def __init__(self, clocks: int):
        super().__init__()
        self.clocks = clocks


class SlideWholeWindows(_AtLineRate):
    """Let a kernel pad and give whole windows where FINN's padding and generator are too slow."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Replace a generator, and the padding in front of it, in place."""
        for generator, layer in _generators(model):
            node, padding = generator.onnx_node, _padding_before(model, generator.onnx_node)
            if _fastest(generator, whole=True) <= self.clocks or not _can(
                padding, generator, layer
            ):
                continue
            if isinstance(layer, VVAU):  # which then takes whole windows
                layer.set_nodeattr("PE", layer.get_nodeattr("Channels"))
                layer.set_nodeattr("SIMD", generator.get_nodeattr("ConvKernelDim")[0])
            replaced = [node] if padding is None else [padding.onnx_node, node]
            _replace(model, replaced, _padded_window(padding, generator))
        return model, False


class PoolPositions(_AtLineRate):
    """Pool positions as they come where a generator of their windows is too slow."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Replace a generator and the maximum behind it, in place."""
        for generator, pool in _generators(model):
            if not isinstance(pool, Pool) or pool.get_nodeattr("Function") != "MaxPool":
                continue
            apart = generator.get_nodeattr("Stride") == generator.get_nodeattr("ConvKernelDim")
            slow = _fastest(generator, whole=False) > self.clocks
            if apart and slow and _one_dimension(generator):
                nodes = [generator.onnx_node, pool.onnx_node]
                _replace(model, nodes, _position_max(generator, pool))
        return model, False


def _generators(
    model: ModelWrapper,
) -> Iterator[tuple[ConvolutionInputGenerator, HWCustomOp]]:
    """Yield the window generators that one node alone reads, and that node."""
    for node in list(model.graph.node):
        generator, behind = getCustomOp(node), _only_consumer(model, node)
        if isinstance(generator, ConvolutionInputGenerator) and behind is not None:
            yield generator, getCustomOp(behind)


def _only_consumer(model: ModelWrapper, node: NodeProto) -> NodeProto | None:
    consumers = model.find_consumers(node.output[0]) or []
    return consumers[0] if len(consumers) == 1 else None


def _one_dimension(generator: HWCustomOp) -> bool:
    names = ("IFMDim", "ConvKernelDim", "Stride", "Dilation")
    return all(generator.get_nodeattr(name)[1] == 1 for name in names)


def _padding_before(model: ModelWrapper, node: NodeProto) -> FMPadding | None:
    """Return the padding that feeds this node and no other."""
    before = model.find_producer(node.input[0])
    if before is None or _only_consumer(model, before) is None:
        return None
    operator = getCustomOp(before)
    return operator if isinstance(operator, FMPadding) else None


def _fastest(generator: HWCustomOp, whole: bool) -> int:
    """Return the clocks that FINN's generator takes with all channels side by side.

    Args:
        generator: its folding stays as it is.
        whole: with all taps side by side, too.
    """
    fast = {"SIMD": generator.get_nodeattr("IFMChannels"), "parallel_window": int(whole)}
    saved = {name: generator.get_nodeattr(name) for name in fast}
    for name, value in fast.items():
        generator.set_nodeattr(name, value)
    cycles = int(generator.get_exp_cycles())
    for name, value in saved.items():
        generator.set_nodeattr(name, value)
    return cycles


def _ends(padding: FMPadding | None) -> tuple[int, int]:
    """Return the zeros before and after the positions."""
    if padding is None:
        return 0, 0
    before, _, after, _ = padding.get_nodeattr("Padding")
    return before, after


def _can(padding: FMPadding | None, generator: HWCustomOp, layer: HWCustomOp) -> bool:
    """Whether the kernel can take the place of a generator in front of this layer."""
    taps, dilation = (generator.get_nodeattr(n)[0] for n in ("ConvKernelDim", "Dilation"))
    bits = taps * generator.get_nodeattr("IFMChannels") * generator.get_input_datatype().bitwidth()
    # A pooling takes a tap a word; so does a depthwise layer of few positions.
    many = generator.get_nodeattr("OFMDim")[0] >= PARALLEL_POSITIONS
    return (
        (isinstance(layer, MVAU) or (isinstance(layer, VVAU) and many))
        and _one_dimension(generator)
        and taps > 1
        and max(_ends(padding)) <= (taps - 1) * dilation
        and bits <= WIDEST
    )


def _padded_window(padding: FMPadding | None, generator: HWCustomOp) -> NodeProto:
    before, after = _ends(padding)
    length, _ = generator.get_nodeattr("IFMDim")
    names = ("ConvKernelDim", "IFMChannels", "OFMDim", "Stride", "Dilation", "depthwise")
    source = generator if padding is None else padding
    return helper.make_node(
        PaddedWindow_rtl.__name__,
        source.onnx_node.input,
        generator.onnx_node.output,
        domain=RTL_DOMAIN,
        backend="fpgadataflow",
        IFMDim=[length - before - after, 1],
        Padding=[before, after],
        SIMD=generator.get_nodeattr("IFMChannels"),
        parallel_window=1,
        inputDataType=generator.get_input_datatype().name,
        outputDataType=generator.get_input_datatype().name,
        **{name: generator.get_nodeattr(name) for name in names},
    )


def _position_max(generator: HWCustomOp, pool: HWCustomOp) -> NodeProto:
    names = ("Channels", "PE", "KernelSize", "Function", "OutImgDims")
    return helper.make_node(
        PositionMax_rtl.__name__,
        generator.onnx_node.input,
        pool.onnx_node.output,
        domain=RTL_DOMAIN,
        backend="fpgadataflow",
        Positions=generator.get_nodeattr("IFMDim")[0],
        InputDataType=pool.get_input_datatype().name,
        OutputDataType=pool.get_output_datatype().name,
        **{name: pool.get_nodeattr(name) for name in names},
    )


def _replace(model: ModelWrapper, nodes: list[NodeProto], new: NodeProto) -> None:
    index = list(model.graph.node).index(nodes[0])
    for node in nodes:
        model.graph.node.remove(node)
    model.graph.node.insert(index, new)


def step_line_rate(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """After specialisation: no window takes more clocks a frame than there are samples."""
    _, samples = json.loads(model.get_metadata_prop(INPUT_PROPERTY))["frame"]
    return model.transform(SlideWholeWindows(samples)).transform(PoolPositions(samples))
