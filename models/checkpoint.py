"""Checkpoints: one .pth file with the weights, the configuration and where they came from.

Format (`torch.save`, loads with `weights_only=True`):

    {"format": 1, "config": NetConfig.to_dict(), "info": {...}, "state_dict": {name: tensor}}

`info` holds plain types; `info["data_label"]` says what the network was trained on. A bare state
dict, as the original authors published them, loads too: its configuration is read off the shapes.
"""

import io
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from brevitas.core.scaling import ParameterFromRuntimeStatsScaling
from torch import nn

from models.aaronnet import KERNELS
from models.config import CONFIGS, NetConfig
from models.errors import BadInput
from models.files import atomic, existing_file, sha256
from models.networks import build_network
from models.zoo import FOLDER as ZOO
from models.zoo import find

FORMAT = 1
UNKNOWN_DATA = "unknown (a bare state dict says nothing about its data)"


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: `network` is in eval mode, on the CPU, and matches `config`."""

    network: nn.Module
    config: NetConfig
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def data_label(self) -> str:
        """What the network was trained on, for every place that shows its results."""
        return self.info.get("data_label", UNKNOWN_DATA)


def save(path: str | Path, network: nn.Module, config: NetConfig, info: dict[str, Any]) -> None:
    """Write a checkpoint that `load` reads back, whole or not at all.

    Args:
        path: the file to write.
        network: a network of configuration `config` that has seen at least one training batch:
            before it, its activations have no quantization steps to save.
        config: its configuration.
        info: plain types only: `data_label`, seed, metrics, whatever explains the weights.
    """
    state = {key: tensor.detach().cpu() for key, tensor in network.state_dict().items()}
    content = {"format": FORMAT, "config": config.to_dict(), "info": info, "state_dict": state}
    with atomic(path) as temporary:
        temporary.write_bytes(packed(content))


def packed(content: Any) -> bytes:
    """Return what `torch.save` writes; its own writer raises no OSError on a full disk."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def load(path: str | Path, config: NetConfig | None = None) -> Checkpoint:
    """Load a checkpoint of ours or a published bare state dict.

    Args:
        path: the .pth file, or a name of the zoo.
        config: what the network is expected to be; without it the file says.

    Raises:
        BadInput: the file is missing, damaged, unsafe, or does not fit `config`.
    """
    path = existing_file(find(path), "checkpoint")
    content = _read(path)
    if "state_dict" in content:
        if content.get("format") != FORMAT:
            raise BadInput(f"checkpoint {path} has format {content.get('format')!r}, not {FORMAT}")
        state, info = content["state_dict"], dict(content["info"])
        own = NetConfig.from_dict(content["config"])
    else:
        state, info, own = content, {}, infer_config(content, path)
    if path.parent == ZOO:
        # A pruned variant has its parent's configuration; in reports it goes by its own name.
        own = own.changed(name=path.stem)
    info["sha256"] = sha256(path)
    config = config or own
    network = build_network(config)
    check_state(state, network, config, path)
    network.load_state_dict(state, strict=True)
    return Checkpoint(network.eval(), config, info)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadInput(
            f"checkpoint {path} is no checkpoint, or holds more than tensors and plain values"
        ) from error
    except (RuntimeError, EOFError, OSError, LookupError, ValueError, zipfile.BadZipFile) as error:
        raise BadInput(f"checkpoint {path} is truncated or damaged; copy it again") from error
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
        return int(state[key].shape[0])

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


def check_state(
    state: Mapping[str, torch.Tensor], network: nn.Module, config: NetConfig, path: Path
) -> None:
    """Compare keys and shapes before loading, for a message that names the first difference.

    Raises:
        BadInput: a key is missing or unexpected, a shape differs, or a value is not finite.
    """
    expected = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    # Brevitas lists a learned activation step only once the first training batch has set it.
    expected |= {
        f"{name}.value": ()
        for name, module in network.named_modules()
        if isinstance(module, ParameterFromRuntimeStatsScaling)
    }
    problem = None
    if missing := sorted(expected.keys() - state.keys()):
        problem = f"{missing[0]} is missing"
    elif unexpected := sorted(state.keys() - expected.keys()):
        problem = f"{unexpected[0]} is unexpected"
    else:
        for key, tensor in state.items():
            if tuple(tensor.shape) != expected[key]:
                problem = f"{key} has shape {tuple(tensor.shape)}, not {expected[key]}"
                break
            if tensor.is_floating_point() and not tensor.isfinite().all():
                problem = f"{key} holds values that are not finite"
                break
    if problem:
        raise BadInput(
            f"checkpoint {path} does not fit {config.name} (filters {list(config.filters)}): "
            f"{problem}"
        )
