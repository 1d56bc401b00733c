"""Probabilities that mean what they say: one temperature for a network's outputs.

The logits are divided by a temperature that makes the frames' true classes most likely (Guo et al.,
"On Calibration of Modern Neural Networks", ICML 2017). Answers stay what they are. On the same
frames is learned what scores are familiar (`training/familiarity.py`). Both are kept in the
checkpoint together with the digest of the weights that they were fitted for; `calibrated.py` reads
them.
"""

import json
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from deploy.board.radioml import open_file, read_index, read_rows
from deploy.board.split import official_split
from models import checkpoint as checkpoints
from models.checkpoint import Checkpoint, digest_of
from models.console import Progress
from models.errors import BadInput
from training.data import VALIDATION_FRAMES, kind_for, validation_rows
from training.familiarity import Familiarity, fit_familiarity
from training.train import commands_after
from training.twin import Twin

FEWEST = 100  # frames to fit with, and to measure on
STRANGE = 0.05  # familiarity below which this share of known frames should be
_BATCH = 256
_BINS = 15  # of the calibration error, as Guo et al.
_RANGE = (0.05, 20.0)


@dataclass(frozen=True)
class Calibration:
    """What was fitted, and what it gives on frames that it was not fitted on.

    Attributes:
        temperature: that the logits are divided by.
        frames: of the validation split, fitted on.
        measured: of the test split, measured on.
        data: label of the frames.
        loss: mean -log of the true class's probability, before and after.
        error: expected calibration error, before and after.
        confidence: mean probability of the answers, before and after.
        accuracy: share of right answers, the same before and after.
        strange: share of frames whose familiarity is below `STRANGE`.
        familiarity: what scores of known frames are like.
    """

    temperature: float
    frames: int
    measured: int
    data: str
    loss: tuple[float, float]
    error: tuple[float, float]
    confidence: tuple[float, float]
    accuracy: float
    strange: float
    familiarity: Familiarity

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain types for JSON."""
        facts = {key: value for key, value in vars(self).items() if key != "familiarity"}
        return json.loads(json.dumps(facts))


def calibrate(
    checkpoint: Checkpoint,
    data: str | Path,
    most: int = VALIDATION_FRAMES,
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Calibration:
    """Fit a temperature on the validation split, and measure it on the official test split.

    The validation split is the training frames that `train` keeps to choose the best epoch on. By
    default it is the same as by train's default: frames of that file that the network did not learn
    from, if it was trained so.

    Args:
        checkpoint: the network.
        data: file in RadioML's layout.
        most: frames of either split, at most.
        seed: of the choice of test frames.
        device: torch's name of where to compute.
        progress: told (frames done, frames in all).

    Raises:
        BadInput: the data is unusable, or too little.
    """
    layout = kind_for(checkpoint.config, data).layout
    index = read_index(data, layout.classes, layout.frame)
    fitted = validation_rows(index, most)
    test = np.random.default_rng(seed).permutation(official_split(index).test)[:most]
    if min(len(fitted), len(test)) < FEWEST:
        raise BadInput(
            f"{data} has {len(fitted)} frames for validation and {len(test)} for testing; "
            f"{FEWEST} of each are needed"
        )
    fitted, test = np.sort(fitted), np.sort(test)
    network = Twin(checkpoint.network.to(device)).eval()  # the same numbers, faster
    parts = []
    opened = open_file(data, layout.classes, layout.frame)
    with opened as file, torch.inference_mode():
        parts_of = (read_rows(file["X"], rows, _BATCH) for rows in (fitted, test))
        for _, frames in chain.from_iterable(parts_of):
            x = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 2, 1)))
            parts.append(network(x.to(device)).double().cpu())
            if progress:
                progress(sum(map(len, parts)), len(fitted) + len(test))
    checkpoint.network.cpu()  # where checkpoints are
    logits = torch.cat(parts)
    labels = torch.from_numpy(index.labels[np.concatenate([fitted, test])])
    temperature = fit(logits[: len(fitted)], labels[: len(fitted)])
    familiarity = fit_familiarity(logits[: len(fitted)].numpy())
    left, true = logits[len(fitted) :], labels[len(fitted) :]
    return Calibration(
        temperature=temperature,
        frames=len(fitted),
        measured=len(test),
        data=index.label,
        loss=(loss(left, true), loss(left / temperature, true)),
        error=(calibration_error(left, true), calibration_error(left / temperature, true)),
        confidence=(_confidence(left), _confidence(left / temperature)),
        accuracy=float((left.argmax(1) == true).double().mean()),
        strange=float((familiarity.of(left.numpy()) < STRANGE).mean()),
        familiarity=familiarity,
    )


def fit(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the temperature of the least loss of logits (N, C) with classes (N,)."""
    low, high = np.log(_RANGE)
    found = minimize_scalar(
        lambda log: loss(logits / np.exp(log), labels), bounds=(low, high), method="bounded"
    )
    return float(np.exp(found.x))


def loss(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return mean -log of the true class's probability."""
    return float(torch.nn.functional.cross_entropy(logits, labels))


def calibration_error(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the mean difference between probability and share of right answers, by probability."""
    sure, answer = torch.softmax(logits, 1).max(1)
    right = (answer == labels).double()
    place = torch.clamp((sure * _BINS).long(), max=_BINS - 1)
    off = [
        abs(float((sure[place == b] - right[place == b]).sum())) for b in place.unique().tolist()
    ]
    return sum(off) / len(sure)


def _confidence(logits: torch.Tensor) -> float:
    return float(torch.softmax(logits, 1).max(1).values.mean())


def save_calibrated(out: Path, checkpoint: Checkpoint, found: Calibration) -> None:
    """Write the checkpoint with what was fitted.

    Raises:
        BadInput: `out` cannot be written.
    """
    info = {
        **checkpoint.info,
        "temperature": found.temperature,
        "temperature_of": digest_of(checkpoint.network),
        "temperature_on": found.data,
        "familiarity": found.familiarity.to_dict(),
        "command": commands_after(checkpoint.info),
    }
    info.pop("sha256", None)  # of the file that `checkpoint` came from
    checkpoints.save(out, checkpoint.network, checkpoint.config, info)
