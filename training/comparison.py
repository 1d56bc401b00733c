"""One self-contained HTML file over a set of checkpoints, beside the published results."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from models import checkpoint as checkpoints
from models import published
from models.checkpoint import Checkpoint
from models.console import Progress
from models.cost import inference_cost
from models.errors import BadInput
from training import pictures
from training.evaluate import evaluate
from training.module import prunable
from training.page import write_page
from training.structured import parameters
from training.twin import quantized_weight

TEMPLATE = Path(__file__).with_name("comparison.html.jinja")


def measure(
    paths: Sequence[str | Path],
    data: str | Path,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Test and count checkpoints.

    Args:
        paths: the checkpoints.
        data: RadioML file; its official test split is used.
        device: torch's name of where to compute.
        progress: told (frames done, frames in all) of each.

    Returns:
        Plain types: `data` (label), `frames`, `snrs`, and `networks`, a list of what `evaluate` and
        `inference_cost` say, with `name`, `checkpoint`, `parameters` and `sparsity` (a list of
        `name`, `weights`, `nonzero` by layer).

    Raises:
        BadInput: there is no checkpoint, or one of them or the data is unusable.
    """
    if not paths:
        raise BadInput("there is nothing to report on: name at least one checkpoint")
    loaded = [checkpoints.load(path) for path in paths]  # all first: a bad one costs no time
    networks = []
    for path, name, checkpoint in zip(paths, _names(paths, loaded), loaded, strict=True):
        measured = evaluate(checkpoint, data, device=device, progress=progress)
        cost = inference_cost(checkpoint, str(path)).to_dict()
        cost.pop("layers")
        networks.append(
            {
                **measured.to_dict(),
                **cost,
                "name": name,
                "checkpoint": str(path),
                "parameters": parameters(checkpoint.network),
                "sparsity": layer_sparsity(checkpoint),
            }
        )
    first = networks[0]
    return {
        "data": first["data"],
        "frames": first["frames"],
        "snrs": first["snrs"],
        "networks": networks,
    }


def _names(paths: Sequence[str | Path], loaded: Sequence[Checkpoint]) -> list[str]:
    """Name networks by their configuration, or by their file where that is ambiguous."""
    count = Counter(checkpoint.config.name for checkpoint in loaded)
    return [
        checkpoint.config.name if count[checkpoint.config.name] == 1 else _short(path)
        for path, checkpoint in zip(paths, loaded, strict=True)
    ]


def _short(path: str | Path) -> str:
    path = Path(path)
    return "/".join(path.with_suffix("").parts[-2:])


def layer_sparsity(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """Count each layer's weights and those that are not zero once quantized."""
    layers = dict(checkpoint.network.named_modules())
    result = []
    with torch.no_grad():
        for name, weight in prunable(checkpoint.network):
            layer = name.removesuffix(".weight")
            quantized, _ = quantized_weight(layers[layer])
            nonzero = int((quantized != 0).sum())
            result.append({"name": layer, "weights": weight.numel(), "nonzero": nonzero})
    return result


def write_report(facts: dict[str, Any], path: str | Path) -> None:
    """Write the HTML file; everything is inside, pictures too.

    Args:
        facts: from `measure`.
        path: the file.
    """
    networks, data = facts["networks"], facts["data"]
    drawn = {
        "accuracy": pictures.data_uri(
            pictures.accuracy_over_snr({row["name"]: row for row in networks}, data)
        ),
        "compression": pictures.data_uri(pictures.compression(networks)),
        "cost": pictures.data_uri(pictures.accuracy_over_cost(networks, data)),
        "confusion": [
            pictures.data_uri(pictures.confusion_matrix({**row, "network": row["name"]}))
            for row in networks
        ],
        "sparsity": [
            pictures.data_uri(pictures.sparsity(row["sparsity"], row["name"])) for row in networks
        ],
    }
    write_page(
        path,
        TEMPLATE,
        **facts,
        pictures=drawn,
        published=published.RESULTS,
        published_label=published.DATA_LABEL,
    )
