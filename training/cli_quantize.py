"""The command that makes a network's hardware form: `quantize`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.cli import (
    DATA,
    CheckpointFile,
    Device,
    Json,
    OutCheckpoint,
    Seed,
    ValidationFrames,
    torch_device,
)

if TYPE_CHECKING:
    from models.config import NetConfig
    from training.data import RadioMLData, SyntheticData


def quantize(
    checkpoint: CheckpointFile,
    out: OutCheckpoint,
    bits: Annotated[
        int, typer.Option(min=2, max=8, help="Bits of the activations between the blocks.")
    ] = 8,
    friendly_scales: Annotated[
        bool,
        typer.Option(
            "--friendly-scales",
            help="Scales of one or two powers of two: sparse hardware adds instead of looking up.",
        ),
    ] = False,
    finetune: Annotated[
        int, typer.Option(min=0, help="Epochs of training, distilled from the original.")
    ] = 0,
    data: Annotated[
        Path | None, typer.Option(help=f"{DATA}; without one, frames are synthesised.")
    ] = None,
    frames: Annotated[
        int,
        typer.Option("-n", "--frames", min=24, max=1 << 17, help="About so many to calibrate on."),
    ] = 2496,
    batch_size: Annotated[
        int, typer.Option(min=1, max=1 << 16, help="Frames a batch of fine-tuning.")
    ] = 256,
    epoch_frames: Annotated[
        int | None, typer.Option(min=1, help="Frames of an epoch of fine-tuning; by default all.")
    ] = None,
    validation_frames: ValidationFrames = 1 << 14,
    lr: Annotated[float, typer.Option(help="Peak learning rate of fine-tuning.")] = 0.001,
    resume: Annotated[bool, typer.Option(help="Go on with interrupted fine-tuning.")] = True,
    device: Device = "auto",
    seed: Seed = 0,
    json: Json = None,
) -> None:
    """Turn a network into the form that dataflow hardware can run, and say what that costs.

    The branches of the first layer are fused exactly; quantizers are put between the blocks and
    calibrated on training frames. After fine-tuning the better one is kept. Interrupted while
    fine-tuning, run it again.
    """
    from models import checkpoint as checkpoints
    from models.console import err, print_table
    from models.files import write_json
    from training.module import Recipe
    from training.quantize import SHOWN_FROM
    from training.quantize import quantize as run

    where = torch_device(device)
    original = checkpoints.load(checkpoint, only_ours="quantize")
    recipe = Recipe(finetune, lr=lr, t0=0) if finetune else None
    validation = validation_frames if finetune else 0  # where there is something to choose
    config = original.ours("quantize")
    result = run(
        *(original, source_of(config, data, batch_size, seed, epoch_frames, validation), out, bits),
        frames=frames,
        friendly_scales=friendly_scales,
        finetuning=recipe,
        batches_per_epoch=max(epoch_frames // batch_size, 1) if data and epoch_frames else None,
        resume=resume,
        seed=seed,
        device=where,
    )
    if json:
        write_json(json, result.to_dict())
    print_table(
        f"{result.kept.checkpoint.config.name}, {out}",
        ("network", "accuracy, all SNRs", f"{SHOWN_FROM} dB and above", "official score", ""),
        (
            [
                each.name,
                f"{each.evaluation.accuracy:.2%}",
                "-" if (high := each.accuracy_at_high_snrs) is None else f"{high:.2%}",
                f"{each.score:.6f}",
                "kept" if each is result.kept else "",
            ]
            for each in result.candidates
        ),
    )
    told = [("tested on", result.data_label)]
    if chosen := result.kept.checkpoint.info.get("chosen_on"):
        told.append(("chosen on", chosen))
    print_table("", ("fact", "value"), told)
    if friendly_scales and not finetune:
        err.print("the scales were moved without training; --finetune 2 makes good what that cost")


def source_of(
    config: "NetConfig",
    data: Path | None,
    batch_size: int,
    seed: int,
    epoch_frames: int | None,
    validation: int = 0,
) -> "RadioMLData | SyntheticData":
    """Return the frames of a file for a network, or fresh ones, set up."""
    from deploy.board.radioml import Layout
    from models.console import Bar
    from training.data import RadioMLData, SyntheticData, check_task, kind_for

    if data is None:
        check_task(config, Layout(), "what is synthesised")
        return SyntheticData(batch_size, frames_per_epoch=epoch_frames or 1 << 17, seed=seed)
    with Bar("caching") as progress:
        source = RadioMLData(
            *(data, batch_size),
            seed=seed,
            validation=validation,
            progress=progress,
            kind=kind_for(config, data),
        )
        source.setup()
    return source
