"""What a network said about a recording: a row a frame, runs of equal answers, shares."""

import csv
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.checkpoint import Checkpoint
from models.console import Progress
from models.errors import BadInput
from models.files import atomic
from training.calibrated import familiarity_of, temperature_of
from training.recordings.prepared import Prepared

_TIE = 1e-6  # of the largest logit: some roundings of float32

UNKNOWN, REJECTED = "unknown", "rejected"
"""Answers besides the classes: none is likely or familiar enough; the frame is silent or noise."""


@dataclass(frozen=True, slots=True)
class Row:
    """One frame.

    Attributes:
        sample: its first one, in the recording as it is stored.
        count: samples of the recording that it covers.
        time: seconds from the recording's begin; None where the rate is not known.
        centre: Hz from the recording's middle, of the channel.
        answer: the class, `UNKNOWN` or `REJECTED`.
        probability: of the most probable class; None where none was computed.
        familiarity: of the network's scores (`training/familiarity.py`); None where that was not
            computed.
        power: mean |x|^2 in dB of full scale.
    """

    sample: int
    count: int
    time: float | None
    centre: float
    answer: str
    probability: float | None
    familiarity: float | None
    power: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return asdict(self)


class Rows:
    """The rows of one channel, in some 40 bytes each: a long recording has millions.

    Args:
        rows: what is kept of, in order; all of one channel.
        rate: of the recording; None where it is not known.
    """

    def __init__(self, rows: Iterable[Row], rate: float | None):
        self._rate = rate
        self._count, self._centre = 0, 0.0
        self._names: dict[str, int] = {}
        self._answers, self._samples = array("H"), array("q")
        self._probabilities, self._familiarities = array("d"), array("d")
        self._powers = array("d")
        for row in rows:
            self._count, self._centre = row.count, row.centre
            self._answers.append(self._names.setdefault(row.answer, len(self._names)))
            self._samples.append(row.sample)
            self._probabilities.append(_stored(row.probability))
            self._familiarities.append(_stored(row.familiarity))
            self._powers.append(row.power)

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Row]:
        names, rate = list(self._names), self._rate
        columns = self._samples, self._answers, self._probabilities, self._familiarities
        for sample, answer, sure, familiar, power in zip(*columns, self._powers, strict=True):
            yield Row(
                sample,
                self._count,
                None if rate is None else sample / rate,
                self._centre,
                names[answer],
                None if isnan(sure) else sure,
                None if isnan(familiar) else familiar,
                power,
            )


def _stored(value: float | None) -> float:
    return nan if value is None else value


def classify(
    checkpoint: Checkpoint,
    prepared: Prepared,
    classes: tuple[str, ...],
    *,
    threshold: float = 0.0,
    familiar: float = 0.0,
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
        familiar: familiarity below which it is, too.
        temperature: logits are divided by it; None takes the checkpoint's
            (`training.temperature`).
        device: torch's name of where to compute.
        progress: told (frames done, frames in all).

    Raises:
        BadInput: `familiar` is above 0, and the checkpoint was not calibrated; or it is damaged.
    """
    if temperature is None:
        temperature = temperature_of(checkpoint)
    known = familiarity_of(checkpoint)
    if familiar and known is None:
        raise BadInput(
            "this network does not know what is familiar; make one that does: "
            "aaronnet calibrate NETWORK --data FILE -o CALIBRATED"
        )
    network = checkpoint.network.to(device).eval()
    done = 0
    with torch.inference_mode():
        for block in prepared:
            logits = network(torch.from_numpy(block.frames).to(device)).double().cpu()
            sure = torch.softmax(logits / temperature, 1).max(1).values.tolist()
            near = known.of(logits.numpy()).tolist() if known else [None] * len(sure)
            answers = [
                classes[c] if p >= threshold and (f is None or f >= familiar) else UNKNOWN
                for p, f, c in zip(sure, near, first_of_ties(logits).tolist(), strict=True)
            ]
            for number in np.flatnonzero(~block.kept):
                answers[number], sure[number], near[number] = REJECTED, None, None
            yield from make_rows(prepared, block.starts, block.power, answers, sure, near)
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
    familiarities: Iterable[float | None],
) -> Iterator[Row]:
    """Yield the rows of some frames: positions are turned into those of the stored recording."""
    recording = prepared.recording
    ratio = recording.rate / prepared.source.rate
    count = round(prepared.length * ratio)
    of_each = zip(starts, power, answers, probabilities, familiarities, strict=True)
    for start, p, answer, probability, familiarity in of_each:
        sample = round(int(start) * ratio)
        time = sample / recording.rate if recording.rate_known else None
        decibels = float(10 * np.log10(max(p, 1e-20)))
        centre = prepared.centre
        yield Row(sample, count, time, centre, answer, probability, familiarity, decibels)


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write a line a frame."""
    with atomic(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(row.to_dict() for row in rows)


@dataclass(frozen=True, slots=True)
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
    known, total = 0, 0.0
    for row in rows:
        last = joined[-1] if joined and joined[-1].centre == row.centre else None
        same = last is not None and last.answer == row.answer
        if not same:
            known, total = 0, 0.0
        if row.probability is not None:
            known, total = known + 1, total + row.probability
        mean, end = total / known if known else None, row.sample + row.count
        if last is None or not same:
            if last is not None and last.end > row.sample:
                joined[-1] = replace(last, end=row.sample)
            joined.append(Run(row.sample, end, row.centre, row.answer, 1, mean))
        else:
            joined[-1] = replace(last, end=end, frames=last.frames + 1, probability=mean)
    return joined


def shares(rows: Iterable[Row]) -> dict[str, float]:
    """Return the share of frames of each answer, the most frequent first."""
    counts = Counter(row.answer for row in rows)
    total = sum(counts.values())
    return {answer: count / total for answer, count in counts.most_common()}
