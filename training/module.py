"""What one training step is: loss, optimizer and schedule, as a Lightning module."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import lightning
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from models.errors import BadInput
from models.foreign import is_foreign
from training.data import Batch, RadioMLData, SyntheticData
from training.distill import Distillation
from training.norms import estimation_batches, reestimate_norms
from training.twin import Twin, initialise_ranges


@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults are the published ones.

    Attributes:
        epochs: in all.
        lr: peak learning rate of Adam.
        t0: epochs of one cosine cycle, after which the rate starts anew at `lr` (Loshchilov and
            Hutter, "SGDR", 2017); 0 makes each phase one cycle.
        float_epochs: the first so many epochs run in floating point, the rest quantized, starting
            from calibrated ranges: cheaper, and quantization then has little left to repair.
        quantized_lr: peak of the quantized phase; by default `lr`.
        weight_decay: decoupled (AdamW), on convolutions and dense layers only.
        label_smoothing: 0 to 1.
        clip: bound of the gradient's norm; None leaves it alone.
        ema: decay a step of a running average of the weights, which is then what is evaluated and
            saved; None trains without.
        patience: stop after so many epochs without a better accuracy; None never does.
        stop_above: stop as soon as the test accuracy exceeds this.
        norm_frames: after each epoch, estimate batch norms' means and variances anew on so many
            training frames, for the weights that are evaluated and saved; None keeps those that
            were gathered while training.
        turns: turn each training frame by a quarter circle, chosen at random, 0 to 3 times; None
            (as before there was a choice) and False leave it.
    """

    epochs: int = 50
    lr: float = 0.01
    t0: int = 5
    float_epochs: int = 0
    quantized_lr: float | None = None
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    clip: float | None = None
    ema: float | None = None
    patience: int | None = None
    stop_above: float | None = None
    norm_frames: int | None = None
    turns: bool | None = None

    def __post_init__(self):
        if self.epochs < 1 or not 0 <= self.float_epochs <= self.epochs:
            raise BadInput(
                f"{self.epochs} epochs, {self.float_epochs} of them in floating point: there must "
                "be at least one, and no more in floating point than in all"
            )
        for rate in (self.lr, self.quantized_lr):
            if rate is not None and not 0 < rate < math.inf:
                raise BadInput(f"a learning rate is a positive number, not {rate}")
        if (
            self.t0 < 0
            or not 0 <= self.weight_decay < math.inf
            or not 0 <= self.label_smoothing < 1
        ):
            raise BadInput("t0 and weight decay must not be negative, label smoothing below 1")
        if self.clip is not None and not 0 < self.clip < math.inf:
            raise BadInput(
                f"the bound of the gradient's norm is a positive number, not {self.clip}"
            )
        if self.ema is not None and not 0 < self.ema < 1:
            raise BadInput(f"the decay of the average must lie between 0 and 1, not {self.ema}")
        if self.patience is not None and self.patience < 1:
            raise BadInput(f"patience lasts at least one epoch, not {self.patience}")
        if self.stop_above is not None and not self.stop_above < 1:
            raise BadInput(f"no accuracy exceeds {self.stop_above}: the threshold lies below 1")
        if self.norm_frames is not None and self.norm_frames < 1:
            raise BadInput(f"batch norms are estimated on at least a frame, not {self.norm_frames}")

    def rate(self, epoch: float) -> float:
        """Return the learning rate at a fractional epoch, as a share of `lr`."""
        quantized = epoch >= self.float_epochs
        position = epoch - self.float_epochs if quantized else epoch
        length = self.epochs - self.float_epochs if quantized else self.float_epochs
        cycle = self.t0 or max(length, 1)
        peak = (self.quantized_lr or self.lr) / self.lr if quantized else 1.0
        return peak * 0.5 * (1 + math.cos(math.pi * (position % cycle) / cycle))


class Classifier(lightning.LightningModule):
    """Trains a network; weights that are exactly zero at the start stay zero.

    Args:
        network: what to train.
        recipe: how.
        fresh: the network is untrained: its quantizers have no ranges yet.
        distillation: a teacher to learn from.

    Attributes:
        network: carries the weights.
        average: the running average of `network`, or None.
        history: one dict an epoch, plain numbers.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        *,
        fresh: bool = False,
        distillation: Distillation | None = None,
    ):
        super().__init__()
        self.network, self.recipe = network, recipe
        self.distillation = distillation
        self.history: list[dict[str, Any]] = []
        if fresh and not is_foreign(network):
            initialise_ranges(network)
        self.twin = Twin(network)
        self.average = None
        if recipe.ema is not None:
            decay = torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.ema)
            self.average = torch.optim.swa_utils.AveragedModel(
                network, multi_avg_fn=decay, use_buffers=True
            )
        self._uncalibrated = fresh
        self._masks: dict[str, Tensor] = {}
        self._sums: dict[str, Tensor] = {}

    @property
    def evaluated(self) -> nn.Module:
        """The network that counts: the average if there is one."""
        return self.network if self.average is None else self.average.module

    @property
    def in_float(self) -> bool:
        """Whether this epoch runs in floating point."""
        return self.current_epoch < self.recipe.float_epochs

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores (N, classes) of frames (N, C, L)."""
        return self.twin(x)

    def on_fit_start(self) -> None:
        """Remember which weights are pruned; resuming restores the same zeros before this."""
        self._masks = {
            name: (weight != 0)
            for name, weight in prunable(self.network)
            if bool((weight == 0).any())
        }
        if self.distillation is not None:
            self.distillation.teacher.to(self.device).eval()

    def on_train_start(self) -> None:
        """Make the first epoch after resuming draw its own frames.

        Lightning 2.6 passes `processed` to the samplers as the epoch, and forgets to count the
        epoch at whose end the state was saved.
        """
        progress: Any = self.trainer.fit_loop.epoch_progress.current  # typed without `processed`
        progress.processed = self.current_epoch

    def on_train_epoch_start(self) -> None:
        """Pick the phase."""
        self.twin.quantized = not self.in_float
        self._reset()

    def training_step(self, batch: Batch, number: int) -> Tensor:
        """Return the loss of one batch."""
        x, y, _, *taught = batch
        if self.recipe.turns:
            # The same after an interruption, and others in another process.
            seed = [self.current_epoch, number, self.global_rank]
            x = quarter_turns(x, np.random.default_rng(seed))
        if self._uncalibrated and not self.in_float:
            self._calibrate(x)
        scores = _full_precision(self(x))
        loss = F.cross_entropy(scores, y, label_smoothing=self.recipe.label_smoothing)
        if self.distillation is not None:
            loss = self.distillation.loss(x, scores, loss, *taught)
        self._count("train", scores.detach(), y, loss.detach())
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        """Keep pruned weights at zero, then average."""
        parameters = dict(prunable(self.network))
        with torch.no_grad():
            for name, mask in self._masks.items():
                parameters[name].mul_(mask)
        if self.average is not None and not self.in_float:
            self.average.update_parameters(self.network)

    def on_validation_epoch_start(self) -> None:
        """Evaluate the weights that count, in this phase's arithmetic."""
        self._validated = Twin(self.network if self.in_float else self.evaluated)
        self._validated.quantized = not self.in_float
        self.evaluated.eval()
        if self.recipe.norm_frames and not self.in_float and not is_foreign(self.network):
            data = getattr(self.trainer, "datamodule", None)  # typed without it
            assert isinstance(data, RadioMLData | SyntheticData)
            batches = estimation_batches(data, self.recipe.norm_frames)
            reestimate_norms(self.evaluated, (batch.to(self.device) for batch in batches))

    def validation_step(self, batch: Batch, number: int) -> None:
        """Count what is right."""
        x, y, _ = batch
        scores = _full_precision(self._validated(x))
        self._count("val", scores, y, F.cross_entropy(scores, y))

    def on_validation_epoch_end(self) -> None:
        """Report accuracy over all frames for validation, over all processes."""
        loss, accuracy, _ = self._totals("val")
        self.log("val_loss", loss, prog_bar=True)
        # Early stopping and the best checkpoint look at quantized accuracy only.
        name = "float_accuracy" if self.in_float else "val_accuracy"
        self.log(name, accuracy, prog_bar=True)

    def on_train_epoch_end(self) -> None:
        """Add a row to the history (validation has run by now)."""
        loss, accuracy, frames = self._totals("train")
        if not math.isfinite(loss):
            raise BadInput(
                f"training diverged: the loss of epoch {self.current_epoch} is {loss}; take a "
                "lower learning rate, or bound the gradient (--clip)"
            )
        val_loss, val_accuracy, _ = self._totals("val")
        self.history.append(
            {
                "epoch": self.current_epoch,
                "phase": "float" if self.in_float else "quantized",
                "lr": self.trainer.optimizers[0].param_groups[0]["lr"],
                "train_loss": loss,
                "train_accuracy": accuracy,
                "val_loss": val_loss,
                "val_accuracy": val_accuracy,
                "frames": frames,
            }
        )
        self.log("train_loss", loss)
        self.log("train_accuracy", accuracy)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam with cosine warm restarts, stepped each batch."""
        decayed = [weight for _, weight in prunable(self.network)]
        others = [p for p in self.network.parameters() if all(p is not d for d in decayed)]
        groups = [
            {"params": decayed, "weight_decay": self.recipe.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.recipe.lr, fused=True)
        steps = max(self.trainer.estimated_stepping_batches // self.recipe.epochs, 1)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.recipe.rate(step / steps)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is not in the weights."""
        checkpoint["history"] = self.history
        checkpoint["uncalibrated"] = self._uncalibrated

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore it."""
        self.history = checkpoint["history"]
        self._uncalibrated = checkpoint["uncalibrated"]

    def _calibrate(self, x: Tensor) -> None:
        if self.trainer.world_size > 1:
            # Everyone's frames, in the order of one process with the whole batch: the same ranges.
            x = self._gathered(x).flatten(0, 1)
        self.network.eval()
        self.twin.calibrate(x)
        self.network.train()
        if self.average is not None:
            # The average starts here: what came before was another network.
            self.average.module.load_state_dict(self.network.state_dict())
            self.average.n_averaged.zero_()
        self._uncalibrated = False

    def _gathered(self, values: Tensor) -> Tensor:
        """Return the values (...) of all processes, (processes, ...)."""
        gathered = self.all_gather(values)
        assert isinstance(gathered, Tensor), "it returns what it is given"
        return gathered

    def _reset(self) -> None:
        self._sums = {}

    def _count(self, split: str, scores: Tensor, y: Tensor, loss: Tensor) -> None:
        counted = torch.stack(
            [
                loss.double() * len(y),
                (scores.argmax(1) == y).sum().double(),
                loss.new_tensor(len(y)),
            ]
        )
        self._sums[split] = self._sums.get(split, 0) + counted

    def _totals(self, split: str) -> tuple[float, float, int]:
        """Return mean loss, accuracy and frames of a split in this epoch, over all processes."""
        sums = self._sums.get(split)
        if sums is None:
            raise BadInput(f"there are no {split} frames: the data holds too few for one batch")
        if self.trainer.world_size > 1:
            sums = self._gathered(sums).sum(0)
        loss, right, frames = sums.tolist()
        return loss / frames, right / frames, int(frames)


def quarter_turns(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Return frames (N, 2, L) turned by 0, 90, 180 or 270 degrees each, at random.

    A receiver's phase is any, so that the frame is as likely as before and of the same class: what
    a teacher says of the one holds for the other. Of all angles these alone leave the clipping of
    I and Q what it is.
    """
    quarters = torch.from_numpy(rng.integers(4, size=len(x))).to(x.device)
    odd = (quarters % 2 == 1).view(-1, 1, 1)
    signs = x.new_tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]])[quarters].unsqueeze(2)
    return torch.where(odd, x.flip(1), x) * signs


def _full_precision(scores: Tensor) -> Tensor:
    """Return scores that mixed precision computed in 16 bits in 32; others as they are."""
    return scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores


def prunable(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the named weights of all convolutions and dense layers."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            yield f"{name}.weight" if name else "weight", layer.weight
