"""The configuration of a network of the user's own: a class, and the frames that it takes."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from brevitas.quant_tensor import QuantTensor
from torch import Tensor, nn

from models.config import FRAME_CHANNELS, NAME, NetConfig
from models.errors import BadInput
from models.user_code import Origin, class_of, made

CONFIG = "_aaronnet_config"
"""Attribute of a network of a user's class that holds its configuration."""

MOST = 1 << 20  # channels, samples, classes
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class ForeignConfig:
    """Everything that fixes a network of the user's own.

    Attributes:
        name: what it is called in reports; the class, unless said otherwise.
        origin: the class.
        channels: C of its frames.
        length: L, samples of a frame.
        classes: how many it tells apart.
        spelling: the shape in which it takes a frame: (C, L), or (1, C, L) or (C, 1, L) for
            two-dimensional convolutions.
    """

    family: ClassVar[Literal["foreign"]] = "foreign"
    hardware_form: ClassVar = True  # asked before its first training (`models.probe`)

    name: str
    origin: Origin
    channels: int
    length: int
    classes: int
    spelling: tuple[int, ...]

    def __post_init__(self):
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise BadInput(f"{self.name!r} is no name of a network")
        file, cls, digest = self.origin.file, self.origin.cls, self.origin.digest
        if not isinstance(file, str) or not file.isprintable() or not 0 < len(file) <= 4096:
            raise BadInput(f"{self.name}: {file!r} is no file's name")
        if not isinstance(cls, str) or not cls.isidentifier():
            raise BadInput(f"{self.name}: {cls!r} is no name of a class")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise BadInput(f"{self.name}: {digest!r} is no SHA-256")
        for number in (self.channels, self.length, self.classes):
            if type(number) is not int or not 1 <= number <= MOST:
                raise BadInput(f"{self.name}: a size lies between 1 and {MOST}, not {number!r}")
        if self.spelling not in spellings(self.channels, self.length):
            raise BadInput(
                f"{self.name}: {self.spelling!r} does not spell frames of "
                f"{self.channels} x {self.length}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, fit for JSON and for `weights_only` checkpoints."""
        values = asdict(self)
        return {
            "family": self.family,
            "name": self.name,
            **values["origin"],
            "frame": [self.channels, self.length],
            "classes": self.classes,
            "spelling": list(self.spelling),
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any], what: str) -> "ForeignConfig":
        """Undo `to_dict`; `what` is what the messages call it.

        Raises:
            BadInput: a field is missing, unknown, of another type or out of range.
        """
        known = {"family", "name", "file", "cls", "digest", "frame", "classes", "spelling"}
        if wrong := sorted(map(str, values.keys() ^ known)):
            kind = "unknown" if wrong[0] in values else "missing"
            raise BadInput(f"{what} holds no network configuration: {wrong[0]!r} is {kind}")
        frame, spelling = values["frame"], values["spelling"]
        if not isinstance(frame, list) or len(frame) != 2 or not isinstance(spelling, list):
            raise BadInput(f"{what} holds no network configuration: {frame!r} is no frame")
        origin = Origin(values["file"], values["cls"], values["digest"])
        try:
            sizes = (frame[0], frame[1], values["classes"])
            return ForeignConfig(values["name"], origin, *sizes, tuple(spelling))
        except BadInput as error:
            raise BadInput(f"{what}: {error}") from error

    def changed(self, *, name: str | None = None, origin: Origin | None = None) -> "ForeignConfig":
        """Return a copy with the given fields changed; None means unchanged."""
        return replace(self, name=name or self.name, origin=origin or self.origin)


Config = NetConfig | ForeignConfig
"""Of any network that is trained here."""


def without_place(config: Config) -> Config:
    """Return a configuration for files that are passed on: the class's file by its name alone.

    Its place says something about the machine of whoever trained it, and nothing to others. Code is
    then found beside the checkpoint, or named by `--code`.
    """
    if isinstance(config, NetConfig):
        return config
    origin = replace(config.origin, file=Path(config.origin.file).name)
    return config.changed(origin=origin)


def spellings(channels: int, length: int) -> list[tuple[int, ...]]:
    """Return the shapes in which networks take a frame, one-dimensional first."""
    return [(channels, length), (1, channels, length), (channels, 1, length)]


def read_config(values: Any, what: str = "the configuration") -> Config:
    """Undo a configuration's `to_dict`; `what` is what the messages call it.

    Raises:
        BadInput: it is none.
    """
    if isinstance(values, dict) and values.get("family") == ForeignConfig.family:
        return ForeignConfig.from_dict(values, what)
    return NetConfig.from_dict(values, what)


def config_of(network: nn.Module) -> Config:
    """Return the configuration of a network that `models.networks.build_network` made."""
    own: Any = getattr(network, CONFIG, None)
    return network.config if own is None else own  # type: ignore[return-value]


def is_foreign(network: nn.Module) -> bool:
    """Whether a network is of a class of the user's."""
    return hasattr(network, CONFIG)


def facts_of(config: Config) -> dict[str, Any]:
    """Return plain types that tell a configuration from others: where its code lies does not."""
    return {key: value for key, value in config.to_dict().items() if key != "file"}


def ours(config: Config, command: str) -> NetConfig:
    """Return the configuration of a network of this project.

    Args:
        config: of any.
        command: what wants it, for the message.

    Raises:
        BadInput: it is a class of the user's.
    """
    if isinstance(config, NetConfig):
        return config
    raise BadInput(
        f"{config.name} is a class of your own ({config.origin.cls} of {config.origin.file}); "
        f"{command} knows the networks of this project only"
    )


def frame_of_config(config: Config) -> tuple[int, int, int]:
    """Return channels and samples of the frames that a network takes, and how many classes."""
    if isinstance(config, ForeignConfig):
        return config.channels, config.length, config.classes
    return FRAME_CHANNELS, config.length, config.classes


def build_foreign(config: ForeignConfig) -> nn.Module:
    """Return an untrained network: frames (N, C, L) -> class scores (N, classes).

    Raises:
        BadInput: its code was not admitted (`models.user_code`), or raises.
    """
    network = made(class_of(config.origin))
    setattr(network, CONFIG, config)
    network.register_forward_pre_hook(partial(_spelled, config.spelling))
    network.register_forward_hook(_plain)
    return network


def _spelled(shape: tuple[int, ...], network: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    (frames,) = inputs
    return inputs if tuple(frames.shape[1:]) == shape else (frames.reshape(-1, *shape),)


def _plain(network: nn.Module, inputs: tuple[Tensor, ...], scores: Any) -> Any:
    return scores.value if isinstance(scores, QuantTensor) else scores
