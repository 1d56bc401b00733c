"""FINN custom ops for the kernels that pad and pool at the full rate.

`build/steps/line_rate.py` puts them in place of two of FINN's nodes each; there is no abstract node
that they specialise.
"""

from typing import Any

import numpy as np
from finn.custom_op.fpgadataflow.convolutioninputgenerator import ConvolutionInputGenerator
from finn.custom_op.fpgadataflow.pool import Pool

from build.rtl.ops import KernelOp
from build.rtl.windows import PaddedWindow, PositionMax


class PositionsOp(KernelOp):
    """A node whose kernel takes the positions of a frame as they are, where FINN's does not."""

    def get_exp_cycles(self) -> int:
        """Return the kernel's cycles a frame."""
        return self.kernel().cycles()

    def computed(self, frames: np.ndarray) -> np.ndarray:
        """Return what the kernel makes of frames (N, L, 1, C)."""
        kernel = self.kernel()
        words = kernel.reference(frames.reshape(-1, kernel.input.lanes))
        return words.reshape(len(frames), *self.get_normal_output_shape()[1:])

    def execute_node(self, context: dict[str, np.ndarray], graph: Any) -> None:
        """Execute as hardware does."""
        if self.get_nodeattr("exec_mode") == "rtlsim":
            super().execute_node(context, graph)
            return
        node = self.onnx_node
        context[node.output[0]] = self.computed(context[node.input[0]])


class PaddedWindow_rtl(PositionsOp, ConvolutionInputGenerator):  # noqa: N801 - as FINN's RTL variants
    """Windows of a padded frame (1, L, 1, C), whole ones; FINN's Padding beside its generator's
    attributes, IFMDim without it.
    """

    def get_nodeattr_types(self) -> dict[str, Any]:
        """Return the generator's attributes and the zeros before and after the positions."""
        return super().get_nodeattr_types() | {"Padding": ("ints", True, [0, 0])}

    def kernel(self) -> PaddedWindow:
        """Return the padded window kernel."""
        datatype = self.get_input_datatype()
        before, after = self.get_nodeattr("Padding")
        return PaddedWindow(
            channels=self.get_nodeattr("IFMChannels"),
            length=self.get_nodeattr("IFMDim")[0],
            before=before,
            after=after,
            taps=self.get_nodeattr("ConvKernelDim")[0],
            stride=self.get_nodeattr("Stride")[0],
            dilation=self.get_nodeattr("Dilation")[0],
            bits=datatype.bitwidth(),
            signed=datatype.signed(),
        )

    def use_parallel_window_output(self) -> bool:
        """Whole windows always."""
        return True

    def get_normal_output_shape(self, ind: int = 0) -> tuple[int, ...]:
        """Return (1, windows, 1, taps * C)."""
        kernel = self.kernel()
        return 1, kernel.positions, 1, kernel.output.lanes

    def get_folded_output_shape(self, ind: int = 0) -> tuple[int, ...]:
        """Return (1, windows, 1, 1, taps * C): one word each."""
        kernel = self.kernel()
        return 1, kernel.positions, 1, 1, kernel.output.lanes


class PositionMax_rtl(PositionsOp, Pool):  # noqa: N801
    """Max pooling over neighbouring positions (1, L, 1, C), without a generator in front."""

    def get_nodeattr_types(self) -> dict[str, Any]:
        """Return the pool's attributes and L."""
        return super().get_nodeattr_types() | {"Positions": ("i", True, 0)}

    def kernel(self) -> PositionMax:
        """Return the position maximum kernel."""
        datatype = self.get_input_datatype()
        return PositionMax(
            channels=self.get_nodeattr("Channels"),
            window=self.get_nodeattr("KernelSize")[0],
            length=self.get_nodeattr("Positions"),
            pe=self.get_nodeattr("PE"),
            bits=datatype.bitwidth(),
            signed=datatype.signed(),
        )

    def get_normal_input_shape(self, ind: int = 0) -> tuple[int, ...]:
        """Return (1, L, 1, C)."""
        return 1, self.get_nodeattr("Positions"), 1, self.get_nodeattr("Channels")
