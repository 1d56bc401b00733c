"""Make a network's hardware form: fuse, calibrate, fine-tune, and keep the best.

out.pth            the result, written once it is known
out.pth.finetune/  fine-tuning on the way (`training.train`); interrupted, it goes on there
"""

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import torch

from models import checkpoint as checkpoints
from models.checkpoint import Checkpoint
from models.console import Bar
from models.cost import inference_cost
from models.errors import BadInput
from models.files import check_target
from models.friendly import make_friendly
from models.fuse import to_hardware
from models.hardware import HardwareAaronNet
from training.data import RadioMLData, SyntheticData, calibration_frames
from training.distill import Distillation
from training.evaluate import VALIDATION, Evaluation, evaluate
from training.module import Classifier, Recipe
from training.runs import remove_run
from training.train import MADE, commands_after, train

SHOWN_FROM = 10  # dB


@dataclass(frozen=True)
class Candidate:
    """A network on the way, measured.

    Attributes:
        name: what it is called in the table.
        checkpoint: the network.
        evaluation: on the test split.
        score: its official score.
        chosen_by: accuracy on the frames for validation; None where there is nothing to choose.
    """

    name: str
    checkpoint: Checkpoint
    evaluation: Evaluation
    score: float
    chosen_by: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        measured = self.evaluation
        return {
            "accuracy": measured.accuracy,
            "accuracy_from_10_db": self.accuracy_at_high_snrs,
            "accuracy_per_snr": measured.accuracy_per_snr,
            "score": self.score,
            "accuracy_on_validation": self.chosen_by,
        }

    @property
    def accuracy_at_high_snrs(self) -> float | None:
        """Mean over the SNRs from `SHOWN_FROM` on; None without frames there."""
        pairs = zip(self.evaluation.snrs, self.evaluation.accuracy_per_snr, strict=True)
        high = [share for snr, share in pairs if snr >= SHOWN_FROM and share is not None]
        return sum(high) / len(high) if high else None


@dataclass(frozen=True)
class Quantized:
    """What quantizing came to: the candidates, the original first, and the one that was kept."""

    candidates: list[Candidate]
    kept: Candidate
    path: Path
    data_label: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        made = self.kept.checkpoint
        config = made.ours("quantize")
        return {
            "checkpoint": str(self.path),
            "network": made.config.name,
            "bits": config.block_bits or config.act_bits,
            "data": self.data_label,
            "trained_on": made.data_label,
            "kept": self.kept.name,
            "chosen_on": made.info.get("chosen_on"),
            "networks": {each.name: each.to_dict() for each in self.candidates},
        }


def quantize(
    original: Checkpoint,
    source: RadioMLData | SyntheticData,
    out: str | Path,
    bits: int,
    *,
    frames: int = 2496,
    friendly_scales: bool = False,
    finetuning: Recipe | None = None,
    batches_per_epoch: int | None = None,
    resume: bool = True,
    seed: int = 0,
    device: str = "cpu",
) -> Quantized:
    """Write the hardware form of a network, the better of calibrated and fine-tuned.

    Which is better is told by the frames that `source` has for validation, as the best epoch is.
    A network that is in hardware form already is copied.

    Args:
        original: left as it is; the teacher of fine-tuning.
        source: to calibrate and train on, and to measure with.
        out: the checkpoint to write, once everything is done.
        bits: of the activations between the blocks.
        frames: about so many to calibrate on.
        friendly_scales: whether the scales of the convolutions' quantizers become sums of one or
            two powers of two (`models.friendly`), before and while fine-tuning.
        finetuning: how to train after calibration; None does not.
        batches_per_epoch: as `training.train.train`.
        resume: go on with interrupted fine-tuning.
        seed: of everything random.
        device: torch's name of where to compute.

    Raises:
        BadInput: the network has a hardware form of other bits, or one that there is nothing to
            fine-tune in; the result cannot be written, or the data is unusable.
    """
    out = Path(out)
    check_target(out)
    config = original.ours("quantize")
    if config.hardware_form and finetuning:
        raise BadInput(
            f"{config.name} is in hardware form already; train it on with `aaronnet train`"
        )
    if config.hardware_form and config.block_bits not in (None, bits):
        raise BadInput(
            f"{config.name} is a hardware form with {config.block_bits} bits already; quantize the "
            "checkpoint that it was made from"
        )
    if friendly_scales and config.family != "aaronnet":
        raise BadInput(f"{config.name} is no AaronNet: its scales stay as they are")
    source.prepare_data()
    source.setup("fit")

    def measured(name: str, network: Checkpoint) -> Candidate:
        with Bar(f"testing {name}") as progress:
            evaluation = evaluate(network, source, device=device, progress=progress)
        return Candidate(name, network, evaluation, inference_cost(network).score)

    def judged(candidate: Candidate) -> Candidate:
        with Bar(f"validating {candidate.name}") as progress:
            found = evaluate(
                candidate.checkpoint, source, VALIDATION, device=device, progress=progress
            )
        return replace(candidate, chosen_by=found.accuracy)

    parent = original.info.get("sha256", "")
    if config.hardware_form:
        name = "unchanged"
        made = replace(original, info={**original.info, "quantized_from": parent})
    else:
        name = f"{bits} bits"
        with one_thread():  # its sums, and so the network that fine-tuning starts from
            fused = to_hardware(original, bits, calibration_frames(source, frames, seed))
        told = {"quantized_from": parent, "calibrated_on": source.label}
        made = replace(fused, info={**fused.info, **told})
    made.info.pop("sha256", None)
    made.info["command"] = commands_after(original.info)
    if friendly_scales:
        made = with_friendly_scales(made)
        name = f"{name}, friendly scales"
    candidates = [measured("original", original), measured(name, made)]
    made.info["accuracy"] = candidates[-1].evaluation.accuracy
    work = out.with_name(f"{out.name}.finetune")
    if finetuning:
        best = train(
            *(made, source, work, finetuning),
            distillation=Distillation(original.network),
            seed=seed,
            accelerator="gpu" if device == "cuda" else "cpu",
            batches_per_epoch=batches_per_epoch,
            resume=resume,
            callbacks=[FriendlyScales()] if friendly_scales else [],
        )
        tuned = checkpoints.load(best)
        tuned.info.pop("sha256", None)
        candidates.append(measured(f"{name}, fine-tuned", tuned))
        candidates[1:] = [judged(each) for each in candidates[1:]]
    kept = max(candidates[1:], key=lambda each: each.chosen_by or 0.0)
    made = kept.checkpoint
    if kept.chosen_by is not None:
        made.info.update(accuracy=kept.chosen_by, chosen_on=source.chosen_on)
    checkpoints.save(out, made.network, made.config, made.info)
    remove_run(work, MADE)
    return Quantized(candidates, kept, out, source.label)


def with_friendly_scales(original: Checkpoint) -> Checkpoint:
    """Return a hardware form with the scales of `models.friendly`; `original` is left as it is."""
    network = copy.deepcopy(original.network)
    assert isinstance(network, HardwareAaronNet)
    make_friendly(network)
    return replace(original, network=network, info={**original.info, "friendly_scales": True})


class FriendlyScales(lightning.Callback):
    """Brings the scales back to friendly ones before every validation, and so every checkpoint."""

    def on_validation_start(
        self, trainer: lightning.Trainer, model: lightning.LightningModule
    ) -> None:
        """Change the network that counts, the same way in all processes."""
        assert isinstance(model, Classifier) and isinstance(model.evaluated, HardwareAaronNet)
        make_friendly(model.evaluated)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch add up in one order, however many processors there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
