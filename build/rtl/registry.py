"""Which of our ops stands for which of FINN's.

`register` puts them where FINN looks for RTL variants, replacing its Versal-only VVAU_rtl and its
width converter. A saved model that holds such nodes needs `register` before it is used; importing
`build.rtl.specialize` does it.
"""

from finn.custom_op.fpgadataflow import rtl as rtl_variants
from qonnx.custom_op.registry import add_op_to_domain

from build.rtl.junction_ops import DuplicateStreams_rtl, StreamAdd_rtl, StreamingConcat_rtl
from build.rtl.ops import (
    RTL_DOMAIN,
    ChannelAdd_rtl,
    ChannelMul_rtl,
    KernelOp,
    LabelSelect_rtl,
    Pool_rtl,
    StreamingDataWidthConverter_rtl,
    VVAU_rtl,
)
from build.rtl.window_ops import PaddedWindow_rtl, PositionMax_rtl

KERNEL_OPS: dict[str, tuple[type[KernelOp], ...]] = {
    "VVAU": (VVAU_rtl,),
    "Pool": (Pool_rtl,),
    "LabelSelect": (LabelSelect_rtl,),
    "StreamingDataWidthConverter": (StreamingDataWidthConverter_rtl,),
    "ElementwiseAdd": (ChannelAdd_rtl, StreamAdd_rtl),
    "ElementwiseMul": (ChannelMul_rtl,),
    "DuplicateStreams": (DuplicateStreams_rtl,),
    "StreamingConcat": (StreamingConcat_rtl,),
}
"""FINN's abstract op -> the ops of our kernels that may do it."""

OWN_OPS: tuple[type[KernelOp], ...] = (PaddedWindow_rtl, PositionMax_rtl)
"""Ops that a step of ours puts in place of several of FINN's."""


def register() -> None:
    """Make FINN and QONNX find the kernels' ops; repeating it does no harm."""
    for ops in (*KERNEL_OPS.values(), OWN_OPS):
        for op in ops:
            rtl_variants.custom_op[op.__name__] = op
            add_op_to_domain(RTL_DOMAIN, op)
