"""Commands on the bits of a trained network: `requantize`."""

from pathlib import Path
from typing import Annotated

import typer

from models.cli import DATA, BitsOption, CheckpointFile, Device, Json, Seed, checked_target

OUT = typer.Option("--out", "-o", help="The checkpoint to write (.pth).", callback=checked_target)


def requantize(
    checkpoint: CheckpointFile,
    out: Annotated[Path, OUT],
    bits: BitsOption,
    data: Annotated[
        Path | None, typer.Option(help=f"{DATA}; without one, frames are synthesised.")
    ] = None,
    norm_frames: Annotated[
        int,
        typer.Option(min=0, max=1 << 20, help="Frames to estimate batch norms on; 0: keep them."),
    ] = 1 << 15,
    device: Device = "auto",
    seed: Seed = 0,
    json: Json = None,
) -> None:
    """Give a trained network other bits, and say what is left of it and what it costs.

    Steps are chosen by least squares, batch norms estimated anew on training frames; pruned weights
    stay zero. `aaronnet train` goes on from the result.
    """
    from models import checkpoint as checkpoints
    from models.bits import read_bits
    from models.cli import torch_device
    from models.console import print_table
    from models.files import write_json
    from training.cli_quantize import source_of
    from training.requantize import requantize as run

    where = torch_device(device)
    original = checkpoints.load(checkpoint)
    wanted = read_bits(bits, original.config)
    wanted.of(original.config)
    result = run(
        *(original, source_of(data, 512, seed, None), wanted, out),
        norm_frames=norm_frames,
        seed=seed,
        device=where,
    )
    if json:
        write_json(json, result.to_dict())
    print_table(
        f"{result.made.config.name}, {out}",
        ("network", "accuracy, all SNRs", "official score"),
        [
            ("before", f"{result.before.accuracy:.2%}", f"{result.cost_before.score:.6f}"),
            ("after", f"{result.after.accuracy:.2%}", f"{result.cost_after.score:.6f}"),
        ],
    )
    print_table("", ("fact", "value"), [("tested on", result.after.data)])
