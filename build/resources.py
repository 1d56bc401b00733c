"""What a layer takes of the device, by FINN's estimates where they are right."""

import math

from finn.custom_op.fpgadataflow.hwcustomop import HWCustomOp
from finn.custom_op.fpgadataflow.rtl.matrixvectoractivation_rtl import MVAU_rtl

from build.boards import Board

_MULTIPLIER_WIDTH = {"DSP48E1": 25, "DSP48E2": 27}
"""Bits of the DSP slice's wide factor, into which several weights are packed."""


def mvau_lanes(weight_bits: int, activation_bits: int, dsp_block: str, narrow: bool) -> int:
    """Return how many products one DSP slice of FINN's RTL matrix unit computes.

    From `NUM_LANES` in finn-rtllib's mvu.sv. FINN's own estimate assumes 4 at any width; at 6 bits
    it is 2.
    """
    width = _MULTIPLIER_WIDTH[dsp_block]
    return 1 + max(0, (width - (not narrow) - weight_bits) // (weight_bits + activation_bits - 1))


def node_resources(node: HWCustomOp, board: Board) -> dict[str, int]:
    """Return LUT, DSP, BRAM_18K and URAM of a layer as it is folded now."""
    found = node.node_res_estimation(board.part)
    found = {kind: int(found.get(kind, 0)) for kind in ("LUT", "DSP", "BRAM_18K", "URAM")}
    if isinstance(node, MVAU_rtl) and board.dsp_block in _MULTIPLIER_WIDTH:
        activation, weight = node.get_input_datatype(0), node.get_input_datatype(1)
        # The unit's activations are signed: an unsigned one takes a bit more.
        bits = activation.bitwidth() + (not activation.signed())
        lanes = mvau_lanes(weight.bitwidth(), bits, board.dsp_block, narrow=False)
        pe, simd = node.get_nodeattr("PE"), node.get_nodeattr("SIMD")
        found["DSP"] = math.ceil(pe / lanes) * simd
    return found
