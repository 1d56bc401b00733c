"""Bits of a network as a user says them: one number for everything, or a file by kind and layer.

    input: 4              # of the frames
    weights: 4
    relus: 4
    blocks: 6             # of the signed activations between AaronNet's blocks (hardware form)
    scale: channel        # one weight step a tensor or a channel
    steps: learned        # or largest: the largest weight is the last level
    narrow: true
    layers:               # modules, * for any part of a name; the last that fits counts
      expand.0: 6
      "feats.*.block.0": 5

What is left out stays as it is.
"""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, Field, ValidationError

from models.config import NetConfig, Scale, Steps
from models.errors import BadInput
from models.files import existing_file
from models.networks import build_network, quantized_layers

Width = Annotated[int, Field(ge=2, le=16)]


class Bits(BaseModel, strict=True, extra="forbid"):
    """What a bits file holds; None leaves a thing as it is."""

    input: Width | None = None
    weights: Width | None = None
    relus: Width | None = None
    blocks: Width | None = None
    scale: Scale | None = None
    steps: Steps | None = None
    narrow: bool | None = None
    layers: dict[str, Width] = {}

    def of(self, config: NetConfig) -> NetConfig:
        """Return a configuration with these bits, and with nothing left of former ones by layer.

        Raises:
            BadInput: a name fits no layer, or the network has no activations between blocks.
        """
        if self.blocks and config.family != "aaronnet":
            raise BadInput(f"{config.name} has no blocks: every activation of it has bits already")
        changed = config.changed(
            input_bits=self.input,
            weight_bits=self.weights,
            act_bits=self.relus,
            block_bits=self.blocks,
            weight_scale=self.scale,
            weight_steps=self.steps,
            narrow=self.narrow,
            layer_bits=(),
        )
        known = quantized_layers(build_network(changed))
        by_layer: dict[str, int] = {}
        for pattern, bits in self.layers.items():
            fitting = [layer for layer in known if fnmatchcase(layer, pattern)]
            if not fitting:
                raise BadInput(
                    f"{config.name} has no layer {pattern!r} to give bits to; its layers are "
                    f"{', '.join(known)}"
                )
            by_layer |= dict.fromkeys(fitting, bits)
        return changed.changed(layer_bits=by_layer)


def read_bits(text: str, config: NetConfig) -> Bits:
    """Read `--bits`: a number for all weights and activations, or a file that says more.

    Args:
        text: what was given.
        config: of the network that it is for.

    Raises:
        BadInput: it is neither, or the file says something else than bits; in one line.
    """
    if text.isdecimal():
        kinds = ("input", "weights", "relus", "blocks")[: 4 if config.family == "aaronnet" else 3]
        return _checked(dict.fromkeys(kinds, int(text)), f"--bits {text}")
    path = existing_file(Path(text), "bits file")
    try:
        return _checked(yaml.safe_load(path.read_text()), f"bits file {path}")
    except (yaml.YAMLError, UnicodeDecodeError, OSError, RecursionError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(f"bits file {path} cannot be read: {told}") from error


def _checked(values: object, what: str) -> Bits:
    try:
        return Bits.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise BadInput(f"{what}: {place + ': ' if place else ''}{first['msg']}") from error
