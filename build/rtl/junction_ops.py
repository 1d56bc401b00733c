"""FINN custom ops for the kernels where streams part and meet."""

import numpy as np
from finn.custom_op.fpgadataflow.concat import StreamingConcat
from finn.custom_op.fpgadataflow.duplicatestreams import DuplicateStreams
from finn.custom_op.fpgadataflow.elementwise_binary import ElementwiseAdd
from finn.custom_op.fpgadataflow.hwcustomop import HWCustomOp
from qonnx.core.modelwrapper import ModelWrapper

from build.rtl.junctions import StreamAdd, StreamConcat, StreamFork
from build.rtl.kernel import Stream
from build.rtl.ops import KernelOp, is_plain_integer


def _stream(node: HWCustomOp, index: int) -> Stream:
    """Return the words of a node's input stream."""
    datatype = node.get_input_datatype(index)
    lanes = int(node.get_folded_input_shape(index)[-1])
    return Stream(lanes, datatype.bitwidth(), datatype.signed())


def _floats(node: HWCustomOp, inputs: int) -> str:
    """Return which datatypes are no integers; empty if all are."""
    types = [node.get_input_datatype(index) for index in range(inputs)]
    types.append(node.get_output_datatype())
    if all(map(is_plain_integer, types)):
        return ""
    return f"it does not compute with integers: {[t.name for t in types]}"


class DuplicateStreams_rtl(KernelOp, DuplicateStreams):  # noqa: N801 - FINN's name for the variant
    """One stream to several consumers."""

    def kernel(self) -> StreamFork:
        """Return the fork kernel."""
        words = int(np.prod(self.get_folded_input_shape()[:-1]))
        return StreamFork(_stream(self, 0), words, self.get_num_output_streams())

    @staticmethod
    def obstacle(node: HWCustomOp, model: ModelWrapper) -> str:
        """Explain why the fork cannot do the node; empty if it can."""
        return _floats(node, 1)


class StreamAdd_rtl(KernelOp, ElementwiseAdd):  # noqa: N801
    """Two streams added."""

    def kernel(self) -> StreamAdd:
        """Return the adder."""
        words = int(np.prod(self.get_folded_output_shape()[:-1]))
        result = self.get_output_datatype()
        streams = _stream(self, 0), _stream(self, 1)
        return StreamAdd(*streams, words, result.bitwidth(), result.signed())

    @staticmethod
    def obstacle(node: HWCustomOp, model: ModelWrapper) -> str:
        """Explain why the adder cannot do the node; empty if it can."""
        inputs = node.onnx_node.input
        if any(model.get_initializer(name) is not None for name in inputs):
            return "one of its sides is a constant"
        if list(node.get_normal_input_shape(0)) != list(node.get_normal_input_shape(1)):
            return "it broadcasts"
        return _floats(node, 2)


class StreamingConcat_rtl(KernelOp, StreamingConcat):  # noqa: N801
    """The channels of several streams, one behind the other."""

    def kernel(self) -> StreamConcat:
        """Return the concatenation."""
        result, count = self.get_output_datatype(), self.get_n_inputs()
        return StreamConcat(
            streams=tuple(_stream(self, index) for index in range(count)),
            channels=tuple(self.get_nodeattr("ChannelsPerStream")),
            positions=int(np.prod(self.get_nodeattr("numInputVectors"))),
            output_bits=result.bitwidth(),
            output_signed=result.signed(),
        )

    @staticmethod
    def obstacle(node: HWCustomOp, model: ModelWrapper) -> str:
        """Explain why the concatenation cannot do the node; empty if it can."""
        return _floats(node, node.get_n_inputs())
