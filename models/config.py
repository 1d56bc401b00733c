"""Network configurations as data: one small typed record a variant.

The published networks are listed in `CONFIGS`. Their pruned variants (32+, 32++, 48+, 48++) share
the architecture of their parent and differ in the weights alone.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from models.errors import BadInput

Family = Literal["aaronnet", "vgg10"]
BLOCKS: dict[str, int] = {"aaronnet": 6, "vgg10": 7}  # length of `filters`

FRAME_CHANNELS = 2  # I and Q
FRAME_LENGTH = 1024  # samples
NUM_CLASSES = 24


@dataclass(frozen=True)
class NetConfig:
    """Everything that fixes a network's architecture.

    Attributes:
        name: what the network is called in reports.
        family: which module builds it.
        filters: output channels of the MSC and of the five blocks (aaronnet), or of the seven
            convolutions (vgg10).
        dense: width of the two hidden dense layers.
        input_bits: bits of the input quantizer over the constant range [-2, 2].
        weight_bits: bits of all weights, per tensor.
        act_bits: bits of all quantized ReLUs.
        block_bits: bits of the signed activations between AaronNet's blocks; None leaves them in
            floating point, as published. Dataflow hardware needs a number.
    """

    name: str
    family: Family
    filters: tuple[int, ...]
    dense: int
    input_bits: int
    weight_bits: int
    act_bits: int
    block_bits: int | None = None

    def __post_init__(self):
        if self.family not in get_args(Family):
            raise BadInput(f"{self.name}: unknown family {self.family!r}; use aaronnet or vgg10")
        if len(self.filters) != BLOCKS[self.family]:
            raise BadInput(
                f"{self.name}: {self.family} takes {BLOCKS[self.family]} filter counts, "
                f"not {len(self.filters)}"
            )
        if any(filters < 1 for filters in (*self.filters, self.dense)):
            raise BadInput(f"{self.name}: filters and dense widths must be positive")
        if self.family == "aaronnet" and self.filters[0] % 3:
            raise BadInput(
                f"{self.name}: the first filter count is shared by three branches and must be a "
                f"multiple of 3, not {self.filters[0]}"
            )
        bits = (self.input_bits, self.weight_bits, self.act_bits, self.block_bits or 2)
        if any(not 2 <= width <= 16 for width in bits):
            raise BadInput(f"{self.name}: bit widths must lie between 2 and 16, got {bits}")

    @property
    def hardware_form(self) -> bool:
        """Whether every activation is quantized, as dataflow hardware needs it."""
        return self.family == "vgg10" or self.block_bits is not None

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, fit for JSON and for `weights_only` checkpoints."""
        return {**asdict(self), "filters": list(self.filters)}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "NetConfig":
        """Undo `to_dict`.

        Raises:
            BadInput: a field is missing, unknown or out of range.
        """
        try:
            return NetConfig(**{**values, "filters": tuple(values["filters"])})
        except (TypeError, KeyError) as error:
            raise BadInput(f"not a network configuration: {error}") from error

    def changed(self, **changes: Any) -> "NetConfig":
        """Return a copy with the given fields changed; None means unchanged."""
        return replace(self, **{key: value for key, value in changes.items() if value is not None})


def _aaronnet(name: str, filters: tuple[int, ...], dense: int) -> NetConfig:
    return NetConfig(name, "aaronnet", filters, dense, input_bits=6, weight_bits=6, act_bits=6)


CONFIGS: dict[str, NetConfig] = {
    config.name: config
    for config in (
        NetConfig("vgg10", "vgg10", (64,) * 7, 128, input_bits=8, weight_bits=8, act_bits=8),
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
