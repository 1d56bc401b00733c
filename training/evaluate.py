"""Accuracy of a network: over all frames, per SNR, per class, and what it takes for what."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deploy.board.radioml import SNRS, snr_index
from deploy.board.records import to_json
from models.checkpoint import Checkpoint
from models.console import Progress
from models.errors import BadInput
from training.data import Batch, LabelledData, RadioMLData, check_task, kind_for

SPLITS = ("test", "train", "all")
VALIDATION = "validation"
"""What a data module keeps to choose the best epoch on; of a file none are kept."""
BATCH = 512


@dataclass(frozen=True)
class Evaluation:
    """What a network gets right.

    Attributes:
        accuracy: over all frames.
        frames: how many.
        split: which.
        network: its name.
        trained_on: label of what it was trained on.
        data: label of the frames.
        snrs: dB.
        accuracy_per_snr: None for an SNR without frames.
        classes: their names.
        accuracy_per_class: over all SNRs.
        confusion: [true][predicted] over all SNRs.
        counts: [snr][true][predicted].
    """

    accuracy: float
    frames: int
    split: str
    network: str
    trained_on: str
    data: str
    snrs: tuple[int, ...]
    accuracy_per_snr: tuple[float | None, ...]
    classes: tuple[str, ...]
    accuracy_per_class: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]
    counts: tuple[tuple[tuple[int, ...], ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return to_json(self)


def evaluate(
    checkpoint: Checkpoint,
    data: str | Path | LabelledData,
    split: str = "test",
    *,
    batch_size: int = BATCH,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Evaluation:
    """Classify frames and count.

    Args:
        checkpoint: the network.
        data: a file in RadioML's layout, or a data module; frames that are drawn know no `train`.
        split: which frames: the official test split, the training split, or all; of a data module
            also those for validation.
        batch_size: frames at a time.
        device: torch's name of where to compute.
        progress: told (frames done, frames in all).

    Raises:
        BadInput: the split is unknown or empty, or the data unusable.
    """
    known = SPLITS if isinstance(data, str | Path) else (*SPLITS, VALIDATION)
    if split not in known:
        raise BadInput(f"unknown split {split!r}; choose one of {', '.join(known)}")
    if isinstance(data, str | Path):
        data = RadioMLData(data, batch_size, kind=kind_for(checkpoint.config, data))
    check_task(checkpoint.config, data.layout, "the data")
    total, batches, label = _batches(data, split)
    network = checkpoint.network.to(device).eval()
    classes = data.layout.classes
    counts: np.ndarray = np.zeros(len(SNRS) * classes * classes, np.int64)
    done = 0
    with torch.inference_mode():
        for x, y, snr in batches:
            guessed = network(x.to(device, non_blocking=True)).argmax(1).cpu()
            cell = (torch.from_numpy(snr_index(snr.numpy())) * classes + y) * classes + guessed
            counts += np.bincount(cell.numpy(), minlength=len(counts))
            done += len(y)
            if progress:
                progress(done, total)
    network.cpu()  # where checkpoints are
    counts = counts.reshape(len(SNRS), classes, classes)
    confusion = counts.sum(axis=0)
    return Evaluation(
        accuracy=float(confusion.trace() / confusion.sum()),
        frames=int(confusion.sum()),
        split=split,
        network=checkpoint.config.name,
        trained_on=checkpoint.data_label,
        data=label,
        snrs=tuple(SNRS),
        accuracy_per_snr=_shares(counts.trace(axis1=1, axis2=2), counts.sum(axis=(1, 2))),
        classes=data.layout.class_names,
        accuracy_per_class=_shares(confusion.diagonal(), confusion.sum(axis=1)),
        confusion=_nested(confusion),
        counts=_nested(counts),
    )


def _shares(right: np.ndarray, total: np.ndarray) -> tuple[float | None, ...]:
    return tuple(int(r) / int(t) if t else None for r, t in zip(right, total, strict=True))


def _nested(counts: np.ndarray) -> Any:
    return tuple(map(_nested, counts)) if counts.ndim else int(counts)


def _batches(data: LabelledData, split: str) -> tuple[int, Iterator[Batch], str]:
    data.setup("test")
    if not isinstance(data, RadioMLData):
        if split not in ("test", VALIDATION):
            raise BadInput("frames drawn on the fly have a test split only")
        loader = data.test_dataloader() if split == "test" else data.val_dataloader()
        return len(loader) * data.batch_size, iter(loader), data.label
    if split == VALIDATION:
        rows = data.validated
    else:
        rows = np.arange(len(data.index)) if split == "all" else getattr(data.split, split)
    if not len(rows):
        raise BadInput(f"{data.path} has no frames in the {split} split")
    size = data.batch_size
    parts = (rows[first : first + size] for first in range(0, len(rows), size))
    return len(rows), (data.frames[part] for part in parts), data.label
