"""Checkpoints: one .pth file with the weights, the configuration and where they came from.

Format (`torch.save`, loads with `weights_only=True`):

    {"format": 1, "config": NetConfig.to_dict(), "info": {...}, "state_dict": {name: tensor},
     "digest": SHA-256 of the three}

`info` holds plain types; `info["data_label"]` says what the network was trained on. A bare state
dict, as the original authors published them, loads too: its configuration is read off the shapes.
What a file may hold is in `models/schema.py`. A network of a class of the user's own has no code
in its file: `models/user_code.py` says which code runs, and when.
"""

import hashlib
import io
import json
import logging
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deploy.board.radioml import Layout
from models.aaronnet import KERNELS
from models.config import CONFIGS, NetConfig
from models.console import printable
from models.errors import BadInput
from models.files import atomic, existing_file, sha256
from models.foreign import Config, ForeignConfig, frame_of_config, ours, read_config
from models.networks import build_network
from models.schema import STATE, check, check_content, check_state
from models.user_code import Trust, admit
from models.zoo import FOLDER as ZOO
from models.zoo import find

LOG = logging.getLogger(__name__)
FORMAT = 1
UNKNOWN_DATA = "unknown (a bare state dict says nothing about its data)"


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: `network` is in eval mode, on the CPU, and matches `config`."""

    network: nn.Module
    config: Config
    info: dict[str, Any] = field(default_factory=dict)

    def ours(self, command: str) -> NetConfig:
        """Return the configuration of a network of this project; `command` wants it.

        Raises:
            BadInput: it is a class of the user's.
        """
        return ours(self.config, command)

    @property
    def data_label(self) -> str:
        """What the network was trained on, for every place that shows its results."""
        return self.info.get("data_label", UNKNOWN_DATA)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the network's outputs, as the data had them that it was trained on."""
        channels, length, classes = frame_of_config(self.config)
        names = tuple(self.info.get("class_names", ()))
        return Layout(length, channels, classes, names).class_names


def save(path: str | Path, network: nn.Module, config: Config, info: dict[str, Any]) -> None:
    """Write a checkpoint that `load` reads back, whole or not at all.

    Args:
        path: the file to write.
        network: a network of configuration `config` that has seen at least one training batch:
            before it, its activations have no quantization steps to save.
        config: its configuration.
        info: plain types only: `data_label`, seed, metrics, whatever explains the weights.
    """
    with atomic(path) as temporary:
        temporary.write_bytes(packed(to_content(network.state_dict(), config, info)))


def to_content(
    state: Mapping[str, torch.Tensor], config: Config, info: dict[str, Any]
) -> dict[str, Any]:
    """Return what a checkpoint file holds, its digest included."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "config": config.to_dict(),
        "info": {
            key: printable(value) if isinstance(value, str) else value
            for key, value in info.items()
        },
        "state_dict": {key: tensor.detach().cpu() for key, tensor in state.items()},
    }
    return content | {"digest": digest(content)}


def digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a checkpoint's configuration, info and tensors, whatever the order."""
    facts = {key: content[key] for key in ("format", "config", "info")}
    whole = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for key, tensor in sorted(content["state_dict"].items()):
        whole.update(f"{key} {tensor.dtype} {list(tensor.shape)}".encode())
        whole.update(tensor.contiguous().numpy().tobytes())
    return whole.hexdigest()


def digest_of(network: nn.Module) -> str:
    """Identify a network by its weights: files differ in when they were written."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def packed(content: Any) -> bytes:
    """Return what `torch.save` writes; its own writer raises no OSError on a full disk."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def load(
    path: str | Path,
    config: Config | None = None,
    *,
    trust: Trust = Trust(),
    only_ours: str | None = None,
) -> Checkpoint:
    """Load a checkpoint of ours or a published bare state dict.

    Args:
        path: the .pth file, or a name of the zoo.
        config: what the network is expected to be; without it the file says.
        trust: which code may run, where the network is a class of the user's.
        only_ours: the command that cannot do anything with such a network, and refuses it.

    Raises:
        BadInput: the file is missing, damaged, unsafe, needs code that may not run, or does not fit
            `config`.
    """
    path = existing_file(find(path), "checkpoint")
    content = _read(path)
    what = f"checkpoint {path}"
    if "state_dict" in content:
        if content.get("format") != FORMAT:
            raise BadInput(f"{what} has format {content.get('format')!r}, not {FORMAT}")
        check_content(content, what)
        state, info = content["state_dict"], dict(content["info"])
        own = read_config(content["config"], what)
        names = info.get("class_names")
        if names and len(names) != frame_of_config(own)[2]:
            raise BadInput(f"{what} names {len(names)} classes and has {frame_of_config(own)[2]}")
    else:
        check(STATE, dict(content), what)
        state, info, own = content, {}, infer_config(content, path)
    if only_ours is not None:
        ours(own, only_ours)
    if path.parent == ZOO:
        # A pruned variant has its parent's configuration; in reports it goes by its own name.
        own = own.changed(name=path.stem)
    config = config or own
    if isinstance(config, ForeignConfig):
        config = config.changed(origin=admit(config.origin, trust, path))
    network = build_network(config)
    check_state(state, network, config, what)
    if content.get("digest") is None:
        LOG.warning("%s has no digest: a change of its values would not be noticed", what)
    elif content["digest"] != digest(content):
        raise BadInput(f"{what} is damaged: its digest does not fit its contents; copy it again")
    info["sha256"] = sha256(path)
    network.load_state_dict(state, strict=True)
    return Checkpoint(network.eval(), config, info)


def _read(path: Path) -> Mapping[str, Any]:
    damaged = f"checkpoint {path} is truncated or damaged; copy it again"
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:  # torch does not compare the checksums
                    raise BadInput(damaged)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except BadInput:
        raise
    except pickle.UnpicklingError as error:
        raise BadInput(
            f"checkpoint {path} is no checkpoint, or holds more than tensors and plain values"
        ) from error
    except Exception as error:  # what a broken pickle makes torch do knows no bounds
        raise BadInput(damaged) from error
    if not isinstance(content, Mapping) or not content:
        raise BadInput(f"checkpoint {path} holds no state dict")
    return content


def infer_config(state: Mapping[str, torch.Tensor], path: Path) -> NetConfig:
    """Read the configuration of a bare state dict off its keys and shapes.

    Bit widths leave no trace in a state dict: the published ones are assumed (8 for VGG10, 6 for
    AaronNet). The name is the published variant's if the widths match one.

    Raises:
        BadInput: it belongs to neither family.
    """

    def width(key: str) -> int:
        shape = state[key].shape
        if not shape:
            raise BadInput(f"checkpoint {path}: {key} is a number, not an array")
        return int(shape[0])

    try:
        if "expand.branch1.0.weight" in state:
            filters = (
                sum(width(f"expand.branch{i + 1}.0.weight") for i in range(len(KERNELS))),
                *(width(f"feats.{i}.block.3.weight") for i in range(5)),
            )
            found = CONFIGS["aaronnet32"].changed(
                name="aaronnet", filters=filters, dense=width("classifier.0.weight")
            )
        elif "1.weight" in state:
            filters = tuple(width(f"{4 * i + 1}.weight") for i in range(7))
            found = CONFIGS["vgg10"].changed(name="vgg", filters=filters, dense=width("30.weight"))
        else:
            raise KeyError("expand.branch1.0.weight or 1.weight")
    except KeyError as error:
        raise BadInput(
            f"checkpoint {path} is neither an AaronNet nor a VGG10: it has no {error}"
        ) from error
    for config in CONFIGS.values():
        if found.changed(name=config.name) == config:
            return config
    return found
