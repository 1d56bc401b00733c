"""One self-contained HTML file over a set of checkpoints, beside the published results."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from deploy.board.records import to_json
from models import checkpoint as checkpoints
from models import published
from models.checkpoint import Checkpoint
from models.console import Progress
from models.cost import Cost, inference_cost
from models.errors import BadInput
from models.published import Scored
from models.user_code import Trust
from training import pictures
from training.evaluate import Evaluation, evaluate
from training.page import write_page
from training.sparsity import Sparsity, layer_sparsity
from training.structured import parameters

TEMPLATE = Path(__file__).with_name("comparison.html.jinja")


@dataclass(frozen=True)
class Compared:
    """A network of a comparison.

    Attributes:
        name: unique among them.
        checkpoint: its file.
        measured: on the test split.
        cost: by the official rules.
        parameters: how many it has.
        sparsity: by layer.
    """

    name: str
    checkpoint: str
    measured: Evaluation
    cost: Cost
    parameters: int
    sparsity: tuple[Sparsity, ...]

    @property
    def scored(self) -> Scored:
        """What a table or a picture of several networks shows."""
        accuracy, cost = self.measured.accuracy, self.cost
        return Scored(self.name, accuracy, cost.score, cost.nonzero_weights)

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        cost = self.cost.to_dict()
        cost.pop("layers")
        rest = {field.name: to_json(getattr(self, field.name)) for field in fields(self)}
        return {**rest.pop("measured"), **cost, **{k: v for k, v in rest.items() if k != "cost"}}


@dataclass(frozen=True)
class Comparison:
    """Networks measured on the same frames."""

    networks: tuple[Compared, ...]

    @property
    def data(self) -> str:
        """Label of the frames."""
        return self.networks[0].measured.data

    @property
    def notes(self) -> tuple[str, ...]:
        """What the score is defined on, where a network is for other frames or classes."""
        return tuple(sorted({each.cost.note for each in self.networks} - {""}))

    @property
    def frames(self) -> int:
        """How many."""
        return self.networks[0].measured.frames

    @property
    def snrs(self) -> tuple[int, ...]:
        """Their SNRs in dB."""
        return self.networks[0].measured.snrs

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        facts = {"data": self.data, "frames": self.frames, "snrs": list(self.snrs)}
        return {**facts, "networks": [network.to_dict() for network in self.networks]}


def measure(
    paths: Sequence[str | Path],
    data: str | Path,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
    trust: Trust = Trust(),
) -> Comparison:
    """Test and count checkpoints.

    Args:
        paths: the checkpoints.
        data: RadioML file; its official test split is used.
        device: torch's name of where to compute.
        progress: told (frames done, frames in all) of each.
        trust: which code may run, where a network is a class of the user's.

    Raises:
        BadInput: there is no checkpoint, or one of them or the data is unusable.
    """
    if not paths:
        raise BadInput("there is nothing to report on: name at least one checkpoint")
    # All first: a bad one costs no time.
    loaded = [checkpoints.load(path, trust=trust) for path in paths]
    return Comparison(
        tuple(
            Compared(
                name=name,
                checkpoint=str(path),
                measured=evaluate(checkpoint, data, device=device, progress=progress),
                cost=inference_cost(checkpoint, str(path)),
                parameters=parameters(checkpoint.network),
                sparsity=layer_sparsity(checkpoint),
            )
            for path, name, checkpoint in zip(paths, _names(paths, loaded), loaded, strict=True)
        )
    )


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


def write_report(found: Comparison, path: str | Path) -> None:
    """Write the HTML file; everything is inside, pictures too."""
    networks, data = found.networks, found.data
    rows = [network.scored for network in networks]
    drawn = {
        "accuracy": pictures.data_uri(
            pictures.accuracy_over_snr({each.name: each.measured for each in networks}, data)
        ),
        "compression": pictures.data_uri(pictures.compression(rows)),
        "cost": pictures.data_uri(pictures.accuracy_over_cost(rows, data)),
        "confusion": [
            pictures.data_uri(pictures.confusion_matrix(each.measured, each.name))
            for each in networks
        ],
        "sparsity": [
            pictures.data_uri(pictures.sparsity(each.sparsity, each.name)) for each in networks
        ],
    }
    write_page(
        path,
        TEMPLATE,
        found=found,
        pictures=drawn,
        published=published.RESULTS,
        published_label=published.DATA_LABEL,
    )
