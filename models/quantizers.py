"""The quantizers of all our networks, on top of Brevitas's own."""

from dataclasses import dataclass, replace
from typing import Any

from brevitas.core.scaling import ScalingImplType
from brevitas.nn import QuantHardTanh
from brevitas.quant import Int8ActPerTensorFloatMinMaxInit, Int8WeightPerTensorFloat

from models.config import NetConfig, Scale


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


WEIGHT_RANGE = "weight_quant.tensor_quant.scaling_impl.value"
"""What a layer with learned weight steps calls its range in a state dict."""


def bits_of(layer: Any) -> int:
    """Return the bits of an activation quantizer, or of the weights of any other layer."""
    if hasattr(layer, "act_quant"):
        quantizer = layer.act_quant.fused_activation_quant_proxy.tensor_quant
    else:
        quantizer = layer.weight_quant.tensor_quant
    return int(quantizer.msb_clamp_bit_width_impl.bit_width.value)


def weight_levels(layer: Any) -> tuple[int, int]:
    """Return the least and the largest integer that a layer's weights are quantized to."""
    top = 2 ** (bits_of(layer) - 1) - 1
    return (-top if layer.weight_quant.tensor_quant.int_quant.narrow_range else -top - 1), top


class LearnedWeightQuant(Int8WeightPerTensorFloat):
    """Weights on steps that are learned (Esser et al., "Learned Step Size Quantization", 2020).

    What is learned is the range, as of activations: step times levels on the negative side.
    """

    scaling_impl_type = ScalingImplType.PARAMETER
    scaling_init = 1.0


@dataclass(frozen=True)
class Place:
    """A part of a network, where the layers inside find the bits that a configuration gives them.

    Attributes:
        config: of the whole network.
        name: of the part, as a module; "" is the network.
    """

    config: NetConfig
    name: str = ""

    def inside(self, name: str | int) -> "Place":
        """Return the place of a part of this one."""
        return replace(self, name=f"{self.name}.{name}" if self.name else str(name))

    def weights(self, layer: int | str, scale: Scale | None = None) -> dict[str, Any]:
        """Return how Brevitas's convolution or dense layer, of this name, quantizes its weights.

        Args:
            layer: the name.
            scale: a step a tensor or a channel; None takes what the configuration says.
        """
        config = self.config
        learned = config.weight_steps == "learned"
        return {
            "weight_quant": LearnedWeightQuant if learned else Int8WeightPerTensorFloat,
            "weight_bit_width": config.bits_of(self.inside(layer).name, config.weight_bits),
            "weight_scaling_per_output_channel": (scale or config.weight_scale) == "channel",
            "weight_narrow_range": config.narrow,
        }

    def relu(self, layer: int | str) -> int:
        """Return the bits of the ReLU of this name."""
        return self.config.bits_of(self.inside(layer).name, self.config.act_bits)

    def block(self, layer: int) -> int:
        """Return the bits of the signed activation of this name."""
        bits = self.config.block_bits
        assert bits is not None, "only a hardware form has them"
        return self.config.bits_of(self.inside(layer).name, bits)
