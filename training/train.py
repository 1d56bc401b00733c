"""Training runs: a folder with everything that is needed to continue, compare and use them.

out/run.json             what the run is (`training.runs`), written first
out/last.pth, best.pth   checkpoints as every command takes them, config and origin inside
out/state.ckpt           Lightning's state after the last finished epoch, for exact resume
out/metrics.csv          one row an epoch
out/tensorboard/         the same for TensorBoard
"""

import csv
import ctypes
import logging
import pickle
import platform
import shlex
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning.pytorch import callbacks as lightning_callbacks
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from models import checkpoint as checkpoints
from models.checkpoint import Checkpoint, digest_of
from models.console import Bar
from models.errors import BadInput
from models.files import atomic
from models.foreign import Config, ForeignConfig, facts_of
from models.networks import build_network
from training.data import LabelledData, RadioMLData, check_task
from training.distill import Distillation
from training.module import Classifier, Recipe
from training.processes import die_with_parent, end_when_told, started_by_a_run
from training.runs import Identity, Kind, open_run

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h

Precision = Literal["64-true", "32-true", "bf16-mixed", "16-mixed"]

STATE, LAST, BEST, METRICS = "state.ckpt", "last.pth", "best.pth", "metrics.csv"
MADE = (STATE, LAST, BEST, METRICS, "tensorboard")


def train(
    start: Config | Checkpoint,
    data: LabelledData,
    out_folder: str | Path,
    recipe: Recipe | None = None,
    *,
    distillation: Distillation | None = None,
    seed: int = 0,
    precision: Precision = "32-true",
    accelerator: str = "auto",
    devices: int | list[int] = 1,
    num_nodes: int = 1,
    batches_per_epoch: int | None = None,
    resume: bool = True,
    progress: bool = True,
    callbacks: Sequence[lightning.Callback] = (),
) -> Path:
    """Train a network and return the path of its best checkpoint.

    Weights that are exactly zero in `start` stay zero. Interrupted, even by kill -9, the same call
    goes on after the last finished epoch and ends with the same weights as an uninterrupted run.

    Args:
        start: a configuration to train from scratch, or a checkpoint to go on from.
        data: what to train and validate on.
        out_folder: for checkpoints and logs.
        recipe: how to train; None takes the published recipe.
        distillation: a teacher to learn from.
        seed: of the initial weights.
        precision: Lightning's name, e.g. `bf16-mixed`.
        accelerator: `cpu`, `gpu` or `auto`.
        devices: processes on this machine, or the indices of the devices to use.
        num_nodes: machines; start them with torchrun.
        batches_per_epoch: makes epochs, after each of which the run can be resumed, shorter than
            a pass over the training frames; each shuffles all of them anew.
        resume: go on from `state.ckpt` in `out_folder`; False starts anew.
        progress: show a progress bar on stderr.
        callbacks: more Lightning callbacks.

    Raises:
        BadInput: the folder cannot be written, holds another run or other people's files, the
            data is unusable or not of the network's sizes, or it cannot be trained in floating
            point.
    """
    recipe = recipe or Recipe()
    if not 0 <= seed < 2**32:
        raise BadInput(f"a seed lies between 0 and {2**32 - 1}, not {seed}")
    if started_by_a_run():
        die_with_parent()
    _quiet()
    _keep_memory()
    config, info = (start.config, start.info) if isinstance(start, Checkpoint) else (start, {})
    check_task(config, data.layout, "the data")
    if isinstance(config, ForeignConfig) and recipe.float_epochs:
        raise BadInput(
            f"{config.name} is a class of your own, whose quantizers cannot be left out: it is "
            "trained without --float-epochs"
        )
    data.prepare_data()
    data.setup("fit")
    identity = identity_of(
        *("training", start, data, asdict(recipe), distillation),
        seed=seed,
        precision=precision,
        devices=devices,
        num_nodes=num_nodes,
        batches_per_epoch=batches_per_epoch,
    )
    folder = open_run(out_folder, identity, MADE, resume)
    if distillation and distillation.kept and isinstance(data, RadioMLData):
        with Bar("asking the teacher") as told:
            data.ask(distillation.teacher, told)
    lightning.seed_everything(seed, verbose=False)
    network = build_network(config)
    if isinstance(start, Checkpoint):
        network.load_state_dict(start.network.state_dict())
    state = folder / STATE
    model = Classifier(network, recipe, fresh=identity.start is None, distillation=distillation)
    keeper = Keeper(folder, config, data, dict(info), identity)
    epoch, over = _progress(state) if resume and state.is_file() else (0, False)
    if over or epoch >= recipe.epochs:
        return _best(folder, recipe)
    data.first_epoch = epoch
    trainer = lightning.Trainer(
        max_epochs=recipe.epochs,
        accelerator=accelerator,
        devices=devices,
        num_nodes=num_nodes,
        # Ranges are unused in floating point, and the averaged weights always.
        strategy="ddp_find_unused_parameters_true" if identity.processes > 1 else "auto",
        precision=precision,
        gradient_clip_val=recipe.clip,
        callbacks=[*_stoppers(recipe), *_bar(progress), *callbacks, keeper],
        plugins=[WholeFiles()],
        # An interruption while it wakes its thread may lose the call: the thread looks that often.
        logger=TensorBoardLogger(folder, name="tensorboard", version="", flush_secs=2),
        enable_progress_bar=progress,
        enable_model_summary=False,
        enable_checkpointing=True,
        num_sanity_val_steps=0,
        # Our samplers share an epoch among processes themselves.
        use_distributed_sampler=False,
        limit_train_batches=batches_per_epoch,
        log_every_n_steps=50,
    )
    try:
        trainer.fit(model, datamodule=data, ckpt_path=state if epoch else None, weights_only=True)
    except SystemExit as end:
        if end.code == 1:  # how Lightning ends a process that was interrupted
            raise KeyboardInterrupt from None
        raise
    return _best(folder, recipe)


def identity_of(
    kind: Kind,
    start: Config | Checkpoint,
    data: LabelledData,
    how: dict[str, Any],
    distillation: Distillation | None,
    *,
    seed: int = 0,
    precision: str = "32-true",
    devices: int | list[int] = 1,
    num_nodes: int = 1,
    batches_per_epoch: int | None = None,
    **_: Any,
) -> Identity:
    """Return what tells a run from others; the arguments are those of `train`.

    Args:
        how: the recipe, or what else there is to say about how it works.
    """
    return Identity(
        kind=kind,
        network=facts_of(start.config if isinstance(start, Checkpoint) else start),
        start=digest_of(start.network) if isinstance(start, Checkpoint) else None,
        how=how,
        data=data.identity(),
        teacher=None if distillation is None else distillation.identity(),
        seed=seed,
        precision=precision,
        processes=(devices if isinstance(devices, int) else len(devices)) * num_nodes,
        batches_per_epoch=batches_per_epoch,
    )


def _best(folder: Path, recipe: Recipe) -> Path:
    best = folder / BEST
    if best.is_file():
        return best
    if recipe.float_epochs == recipe.epochs:
        raise BadInput(
            f"{folder} has no quantized checkpoint: train for more than the "
            f"{recipe.float_epochs} epochs in floating point"
        )
    raise BadInput(f"{best} is gone, though the run is over; --no-resume trains anew")


class WholeFiles(TorchCheckpointIO):
    """Writes Lightning's state beside the former one, then swaps."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write the state, whole or not at all."""
        with atomic(path) as temporary:
            temporary.write_bytes(checkpoints.packed(checkpoint))


class Keeper(lightning_callbacks.Checkpoint):
    """Writes the run's files after each epoch, each of them whole or not at all."""

    def __init__(
        self,
        folder: Path,
        config: Config,
        data: LabelledData,
        info: dict[str, Any],
        identity: Identity,
    ):
        self.folder, self.config, self.data = folder, config, data
        self.info, self.identity = info, identity
        self.best = -1.0
        self.seconds = 0.0
        self.over = False
        self._started = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return what outlives an interruption."""
        return {"best": self.best, "seconds": self.seconds, "over": self.over}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Undo `state_dict`."""
        self.best, self.seconds = state_dict["best"], state_dict["seconds"]

    def on_train_start(self, trainer: lightning.Trainer, model: lightning.LightningModule) -> None:
        """Take the signal from Lightning, which has taken it by now."""
        end_when_told()

    def on_train_epoch_start(
        self, trainer: lightning.Trainer, model: lightning.LightningModule
    ) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, model: lightning.LightningModule
    ) -> None:
        """Write checkpoints, metrics and state, in this order: the state counts the others done."""
        assert isinstance(model, Classifier)
        row = model.history[-1]
        row["seconds"] = round(time.monotonic() - self._started, 3)
        self.seconds += row["seconds"]
        if trainer.is_global_zero:
            if not model.in_float:
                self._save(LAST, trainer, model)
                if row["val_accuracy"] > self.best:
                    self.best = row["val_accuracy"]
                    self._save(BEST, trainer, model)
            self._write_metrics(model.history)
        self.over = trainer.should_stop  # the early stoppers come before this one
        trainer.save_checkpoint(self.folder / STATE)  # all processes take part

    def _save(self, name: str, trainer: lightning.Trainer, model: Classifier) -> None:
        before = self.info
        info = {
            **before,
            "data_label": self.data.label,
            **_named(self.data),
            "accuracy": model.history[-1]["val_accuracy"],
            "chosen_on": self.data.chosen_on,
            "seed": self.identity.seed,
            "command": commands_after(before),
            "device": f"{trainer.num_devices} x {_device_name(trainer)}",
            "recipe": self.identity.how,
            "epochs": before.get("epochs", 0) + len(model.history),
            "frames": before.get("frames", 0) + sum(row["frames"] for row in model.history),
            "wall_seconds": round(before.get("wall_seconds", 0) + self.seconds, 1),
            "history": [*before.get("history", []), *model.history],
        }
        info.pop("sha256", None)
        checkpoints.save(self.folder / name, model.evaluated, self.config, info)

    def _write_metrics(self, history: list[dict[str, Any]]) -> None:
        with atomic(self.folder / METRICS) as temporary, temporary.open("w") as file:
            writer = csv.DictWriter(file, history[0])
            writer.writeheader()
            writer.writerows(history)


def _named(data: LabelledData) -> dict[str, list[str]]:
    """Return what a checkpoint says of the names of its classes, where there is need to."""
    return {"class_names": list(data.layout.names)} if data.layout.names else {}


def commands_after(info: dict[str, Any]) -> str:
    """Return the commands that led to a checkpoint made now from one with `info`, in a line."""
    now = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    before = info.get("command") or ""
    if f"; {before}".endswith(f"; {now}"):  # a later iteration of the same pruning
        return before
    return f"{before}; {now}" if before else now


def _progress(state: Path) -> tuple[int, bool]:
    """Return how many epochs a state has behind it, and whether the run stopped there."""
    try:
        content = torch.load(state, map_location="cpu", weights_only=True)
        (over,) = (kept["over"] for kept in content["callbacks"].values() if "over" in kept)
        return len(content["history"]), over
    except (RuntimeError, EOFError, LookupError, ValueError, pickle.UnpicklingError) as error:
        raise BadInput(f"{state} is damaged; use --no-resume to start anew") from error


def _stoppers(recipe: Recipe) -> list[lightning.Callback]:
    if recipe.patience is None and recipe.stop_above is None:
        return []
    return [
        lightning_callbacks.EarlyStopping(
            "val_accuracy",
            mode="max",
            patience=recipe.epochs if recipe.patience is None else recipe.patience,
            stopping_threshold=recipe.stop_above,
            strict=False,  # there is none while in floating point
            check_on_train_epoch_end=True,
        )
    ]


def _bar(progress: bool) -> list[lightning.Callback]:
    if not progress:
        return []
    return [lightning_callbacks.RichProgressBar(console_kwargs={"stderr": True})]


def _device_name(trainer: lightning.Trainer) -> str:
    if isinstance(trainer.accelerator, lightning.pytorch.accelerators.CUDAAccelerator):
        return torch.cuda.get_device_name()
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"


def _keep_memory() -> None:
    """Make glibc keep what tensors leave: each step's are as large as those of the step before.

    Giving the pages back and faulting them in anew took a fifth (AaronNet48) to a third (VGG10) of
    the time on CPUs. Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 << 20)  # the largest that glibc accepts
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 64 << 20)


def _quiet() -> None:
    """Silence what Lightning says to those who did not read the manual."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    for text in (".*does not have many workers.*", ".*is smaller than the logging interval.*"):
        warnings.filterwarnings("ignore", text)
    warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
