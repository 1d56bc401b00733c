"""The network that a configuration describes."""

from torch import nn

from models.aaronnet import AaronNet
from models.config import NetConfig
from models.hardware import HardwareAaronNet
from models.vgg10 import VGG10


def build_network(config: NetConfig) -> nn.Module:
    """Return an untrained network of the given configuration."""
    if config.family == "vgg10":
        return VGG10(config)
    return HardwareAaronNet(config) if config.hardware_form else AaronNet(config)
