"""The network that a configuration describes, and the layers of it that have bits."""

from brevitas.nn import QuantConv1d, QuantIdentity, QuantLinear, QuantReLU
from torch import nn

from models.aaronnet import AaronNet
from models.bacalhaunet import BacalhauNet
from models.config import NetConfig
from models.errors import BadInput
from models.foreign import Config, ForeignConfig, build_foreign
from models.hardware import HardwareAaronNet
from models.vgg10 import VGG10


def build_network(config: Config) -> nn.Module:
    """Return an untrained network of the given configuration.

    Raises:
        BadInput: it gives bits to a layer that the network has not, or is of a class of the user's
            whose code was not admitted.
    """
    if isinstance(config, ForeignConfig):
        return build_foreign(config)
    network = _built(config)
    known = quantized_layers(network)
    if unknown := [layer for layer, _ in config.layer_bits if layer not in known]:
        raise BadInput(
            f"{config.name} has no layer {unknown[0]!r} to give bits to; its layers are "
            f"{', '.join(known)}"
        )
    return network


def _built(config: NetConfig) -> nn.Module:
    if config.family == "vgg10":
        return VGG10(config)
    if config.family == "bacalhaunet":
        return BacalhauNet(config)
    return HardwareAaronNet(config) if config.hardware_form else AaronNet(config)


def quantized_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Return the layers with bits of their own, weights and activations, in the network's order.

    The input's quantizer is none of them: `NetConfig.input_bits` is all there is to say about it.
    """
    kinds = (QuantConv1d, QuantLinear, QuantReLU, QuantIdentity)
    return {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, kinds) and not name.endswith("_quant")
    }
