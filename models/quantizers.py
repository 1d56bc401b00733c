"""The quantizers of all our networks, on top of Brevitas's own."""

from typing import Any

from brevitas.core.scaling import ScalingImplType
from brevitas.nn import QuantHardTanh
from brevitas.quant import Int8ActPerTensorFloatMinMaxInit


class InputQuant(Int8ActPerTensorFloatMinMaxInit):
    """Signed, constant range [-2, 2]: the step is 2^(2 - bits), the values [-2, 2 - step].

    The range is the one of the published networks; 1.7 % of RadioML's samples lie outside.
    """

    min_val = -2.0
    max_val = 2.0
    scaling_impl_type = ScalingImplType.CONST


def input_quantizer(bits: int) -> QuantHardTanh:
    """Return the first layer: float frames in, `bits`-wide signed values over [-2, 2] out."""
    return QuantHardTanh(
        act_quant=InputQuant, bit_width=bits, min_val=-2.0, max_val=2.0, return_quant_tensor=True
    )


def scaling_of(quantizer: Any) -> Any:
    """Return the module of a learned activation quantizer that holds its range, as `value`."""
    return quantizer.act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl
