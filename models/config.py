"""Network configurations as data: one small typed record a variant.

The published networks are listed in `CONFIGS`. Their pruned variants (32+, 32++, 48+, 48++) share
the architecture of their parent and differ in the weights alone.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from models.errors import BadInput

Family = Literal["aaronnet", "vgg10", "bacalhaunet"]
Scale = Literal["tensor", "channel"]
Steps = Literal["largest", "learned"]
BLOCKS: dict[str, int] = {"aaronnet": 6, "vgg10": 7, "bacalhaunet": 5}  # length of `filters`

FRAME_CHANNELS = 2  # I and Q
FRAME_LENGTH = 1024  # samples, of RadioML 2018.01A
NUM_CLASSES = 24

LENGTHS = (128, 1 << 16)  # samples: VGG10's seven poolings leave one of 128
MOST_CLASSES = 4096
OPTIONAL = {"layer_bits", "weight_scale", "weight_steps", "narrow", "length", "classes"}
NAME = re.compile(r"[A-Za-z0-9][\w+.-]{0,63}", re.ASCII)
WIDEST = 1024  # channels; the widest network of ours has 129


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class NetConfig:
    """Everything that fixes a network's architecture.

    Attributes:
        name: what the network is called in reports.
        family: which module builds it.
        filters: output channels of the MSC and of the five blocks (aaronnet), or of the seven
            convolutions (vgg10), or of the five layers (bacalhaunet).
        dense: width of the two hidden dense layers; 0 for bacalhaunet, which has none.
        input_bits: bits of the input quantizer over the constant range [-2, 2].
        weight_bits: bits of the weights.
        act_bits: bits of the quantized ReLUs.
        block_bits: bits of the signed activations between AaronNet's blocks; None leaves them in
            floating point, as published. Dataflow hardware needs a number.
        layer_bits: layers, named as modules of the network, whose weights or activations have
            other bits than the three above say. A dictionary is taken, too.
        weight_scale: one weight step a tensor, as published, or one an output channel (but for the
            last layer, whose outputs are compared with one another).
        weight_steps: the largest weight is the last level, as published, or steps are learned.
        narrow: weights have as many negative levels as positive ones, as published.
        length: samples of a frame.
        classes: how many it tells apart.
    """

    name: str
    family: Family
    filters: tuple[int, ...]
    dense: int
    input_bits: int
    weight_bits: int
    act_bits: int
    block_bits: int | None = None
    layer_bits: tuple[tuple[str, int], ...] = ()
    weight_scale: Scale = "tensor"
    weight_steps: Steps = "largest"
    narrow: bool = True
    length: int = FRAME_LENGTH
    classes: int = NUM_CLASSES

    def __post_init__(self):
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise BadInput(
                f"{self.name!r} is no name of a network; use letters, digits and +-_. (at most 64)"
            )
        if self.family not in get_args(Family):
            raise BadInput(f"{self.name}: unknown family {self.family!r}; use {', '.join(BLOCKS)}")
        if not isinstance(self.filters, tuple) or len(self.filters) != BLOCKS[self.family]:
            raise BadInput(
                f"{self.name}: {self.family} takes {BLOCKS[self.family]} filter counts, "
                f"not {self.filters!r}"
            )
        if self.family == "bacalhaunet" and self.dense != 0:
            raise BadInput(f"{self.name}: bacalhaunet has no hidden dense layers, dense must be 0")
        hidden = () if self.family == "bacalhaunet" else (self.dense,)
        widths = (*self.filters, *hidden)
        if any(not _whole(width) or not 1 <= width <= WIDEST for width in widths):
            raise BadInput(
                f"{self.name}: filters and dense widths must be whole numbers from 1 to {WIDEST}, "
                f"not {widths}"
            )
        if self.family == "aaronnet" and self.filters[0] % 3:
            raise BadInput(
                f"{self.name}: the first filter count is shared by three branches and must be a "
                f"multiple of 3, not {self.filters[0]}"
            )
        bits = [self.input_bits, self.weight_bits, self.act_bits]
        bits += [] if self.block_bits is None else [self.block_bits]
        if not isinstance(self.layer_bits, Mapping | tuple):
            raise BadInput(f"{self.name}: layer_bits maps layers to bits, not {self.layer_bits!r}")
        layers = dict(self.layer_bits)
        if any(not isinstance(layer, str) for layer in layers):
            raise BadInput(f"{self.name}: layer_bits maps names of layers, not {list(layers)}")
        object.__setattr__(self, "layer_bits", tuple(sorted(layers.items())))
        bits += layers.values()
        if any(not _whole(width) or not 2 <= width <= 16 for width in bits):
            raise BadInput(f"{self.name}: bit widths must lie between 2 and 16, got {bits}")
        for value, kinds in ((self.weight_scale, Scale), (self.weight_steps, Steps)):
            if value not in get_args(kinds):
                raise BadInput(f"{self.name}: {value!r} is not {' or '.join(get_args(kinds))}")
        if not isinstance(self.narrow, bool):
            raise BadInput(f"{self.name}: narrow is true or false, not {self.narrow!r}")
        if not self.narrow and self.weight_steps == "largest":
            raise BadInput(f"{self.name}: weights that are not narrow need learned steps")
        for what, number, (least, most) in (
            ("samples a frame", self.length, LENGTHS),
            ("classes", self.classes, (2, MOST_CLASSES)),
        ):
            if not _whole(number) or not least <= number <= most:
                raise BadInput(f"{self.name} takes {least} to {most} {what}, not {number!r}")

    @property
    def hardware_form(self) -> bool:
        """Whether every activation is quantized, as dataflow hardware needs it."""
        return self.family in ("vgg10", "bacalhaunet") or self.block_bits is not None

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, fit for JSON and for `weights_only` checkpoints.

        What only some networks have, `layer_bits` and what follows it, is there where it differs
        from what was published.
        """
        values = {
            **asdict(self),
            "filters": list(self.filters),
            "layer_bits": dict(self.layer_bits),
        }
        for field in fields(self):
            if field.name in OPTIONAL and getattr(self, field.name) == field.default:
                del values[field.name]
        return values

    @staticmethod
    def from_dict(values: Any, what: str = "the configuration") -> "NetConfig":
        """Undo `to_dict`; `what` is what the messages call it.

        Raises:
            BadInput: a field is missing, unknown, of another type or out of range.
        """
        if not isinstance(values, dict) or not isinstance(values.get("filters"), list):
            raise BadInput(f"{what} holds no network configuration")
        known = {field.name for field in fields(NetConfig)}
        if unknown := sorted(map(str, values.keys() - known)):
            raise BadInput(f"{what} holds no network configuration: {unknown[0]!r} is unknown")
        needed = {field.name for field in fields(NetConfig) if field.default is MISSING}
        if missing := sorted(needed - values.keys()):
            raise BadInput(f"{what} holds no network configuration: {missing[0]} is missing")
        try:
            return NetConfig(**{**values, "filters": tuple(values["filters"])})
        except BadInput as error:
            raise BadInput(f"{what}: {error}") from error

    def bits_of(self, layer: str, otherwise: int) -> int:
        """Return the bits of a layer; `otherwise` if it is none of `layer_bits`."""
        return dict(self.layer_bits).get(layer, otherwise)

    def changed(self, **changes: Any) -> "NetConfig":
        """Return a copy with the given fields changed; None means unchanged."""
        return replace(self, **{key: value for key, value in changes.items() if value is not None})


def _aaronnet(name: str, filters: tuple[int, ...], dense: int) -> NetConfig:
    return NetConfig(name, "aaronnet", filters, dense, input_bits=6, weight_bits=6, act_bits=6)


CONFIGS: dict[str, NetConfig] = {
    config.name: config
    for config in (
        NetConfig("vgg10", "vgg10", (64,) * 7, 128, input_bits=8, weight_bits=8, act_bits=8),
        NetConfig(
            "bacalhaunet",
            "bacalhaunet",
            (24, 24, 48, 48, 48),
            0,
            input_bits=6,
            weight_bits=6,
            act_bits=6,
        ),
        _aaronnet("aaronnet32", (33, 32, 32, 32, 32, 40), 48),
        _aaronnet("aaronnet48", (48,) * 6, 48),
        _aaronnet("aaronnet128", (129,) + (128,) * 5, 128),
    )
}


def named_config(name: str) -> NetConfig:
    """Return the configuration called `name`.

    Raises:
        BadInput: there is none; the message lists them.
    """
    if name not in CONFIGS:
        raise BadInput(f"unknown model {name!r}; choose one of {', '.join(CONFIGS)}")
    return CONFIGS[name]
