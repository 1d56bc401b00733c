"""What a network said about a recording: a row a frame, runs of equal answers, shares."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.checkpoint import Checkpoint
from models.console import Progress
from models.files import write_text
from training.recordings.prepared import Prepared
from training.temperature import temperature_of

_TIE = 1e-6  # of the largest logit: some roundings of float32

UNKNOWN, REJECTED = "unknown", "rejected"
"""Answers besides the classes: no class is probable enough; the frame is silent or noise."""


@dataclass(frozen=True)
class Row:
    """One frame.

    Attributes:
        sample: its first one, in the recording as it is stored.
        count: samples of the recording that it covers.
        time: seconds from the recording's begin; None where the rate is not known.
        centre: Hz from the recording's middle, of the channel.
        answer: the class, `UNKNOWN` or `REJECTED`.
        probability: of the most probable class; None where none was computed.
        power: mean |x|^2 in dB of full scale.
    """

    sample: int
    count: int
    time: float | None
    centre: float
    answer: str
    probability: float | None
    power: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return asdict(self)


def classify(
    checkpoint: Checkpoint,
    prepared: Prepared,
    classes: tuple[str, ...],
    *,
    threshold: float = 0.0,
    temperature: float | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Iterator[Row]:
    """Ask a network about every frame.

    Args:
        checkpoint: the network.
        prepared: the frames.
        classes: names of the network's outputs.
        threshold: probability below which the answer is `UNKNOWN`.
        temperature: logits are divided by it; None takes the checkpoint's
            (`training.temperature`).
        device: torch's name of where to compute.
        progress: told (frames done, frames in all).
    """
    if temperature is None:
        temperature = temperature_of(checkpoint)
    network = checkpoint.network.to(device).eval()
    done = 0
    with torch.inference_mode():
        for block in prepared:
            logits = network(torch.from_numpy(block.frames).to(device)) / temperature
            sure_of = torch.softmax(logits.double(), 1)
            best, found = sure_of.max(1).values.tolist(), first_of_ties(logits).tolist()
            answers = [
                REJECTED if not kept else classes[c] if p >= threshold else UNKNOWN
                for kept, p, c in zip(block.kept, best, found, strict=True)
            ]
            sure = [p if kept else None for p, kept in zip(best, block.kept, strict=True)]
            yield from make_rows(prepared, block.starts, block.power, answers, sure)
            done += len(answers)
            if progress:
                progress(done, len(prepared))
    network.cpu()


def first_of_ties(logits: torch.Tensor) -> torch.Tensor:
    """Return int64 (N,), the class of the largest of logits (N, C); of those that tie the first.

    Quantized scores tie exactly. Float32 rounds them apart, which an accelerator does not.
    """
    scores = logits.double()
    least = scores.max(1, keepdim=True).values - _TIE * scores.abs().amax(1, keepdim=True)
    return (scores >= least).to(torch.int8).argmax(1)


def make_rows(
    prepared: Prepared,
    starts: np.ndarray,
    power: np.ndarray,
    answers: Iterable[str],
    probabilities: Iterable[float | None],
) -> Iterator[Row]:
    """Yield the rows of some frames: positions are turned into those of the stored recording."""
    recording = prepared.recording
    ratio = recording.rate / prepared.source.rate
    count = round(prepared.length * ratio)
    for start, p, answer, probability in zip(starts, power, answers, probabilities, strict=True):
        sample = round(int(start) * ratio)
        time = sample / recording.rate if recording.rate_known else None
        decibels = float(10 * np.log10(max(p, 1e-20)))
        yield Row(sample, count, time, prepared.centre, answer, probability, decibels)


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write a line a frame."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(Row)])
    writer.writeheader()
    writer.writerows(row.to_dict() for row in rows)
    write_text(path, text.getvalue())


@dataclass(frozen=True)
class Run:
    """Frames in a row with one answer.

    Attributes:
        sample, end: first sample of the recording, and the one after the last.
        centre: Hz from the recording's middle, of their channel.
        answer: of all of them.
        frames: how many.
        probability: mean of theirs.
    """

    sample: int
    end: int
    centre: float
    answer: str
    frames: int
    probability: float | None


def runs(rows: Iterable[Row]) -> list[Run]:
    """Join a channel's neighbours of one answer; of frames that overlap the later one counts."""
    joined: list[Run] = []
    for (centre, answer), group in groupby(rows, key=lambda row: (row.centre, row.answer)):
        part = list(group)
        known = [row.probability for row in part if row.probability is not None]
        mean = float(np.mean(known)) if known else None
        end = part[-1].sample + part[-1].count
        if joined and joined[-1].centre == centre and joined[-1].end > part[0].sample:
            joined[-1] = replace(joined[-1], end=part[0].sample)
        joined.append(Run(part[0].sample, end, centre, answer, len(part), mean))
    return joined


def shares(rows: Iterable[Row]) -> dict[str, float]:
    """Return the share of frames of each answer, the most frequent first."""
    counts = Counter(row.answer for row in rows)
    total = sum(counts.values())
    return {answer: count / total for answer, count in counts.most_common()}
