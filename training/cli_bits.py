"""Commands on the bits of a trained network: `requantize` and `search`."""

from pathlib import Path
from typing import Annotated

import typer

from models.cli import (
    DATA,
    BitsOption,
    CheckpointFile,
    Data,
    Device,
    Json,
    OutCheckpoint,
    Seed,
)


def requantize(
    checkpoint: CheckpointFile,
    out: OutCheckpoint,
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
    original = checkpoints.load(checkpoint, only_ours="requantize")
    config = original.ours("requantize")
    wanted = read_bits(bits, config)
    wanted.of(config)
    result = run(
        *(original, source_of(config, data, 512, seed, None), wanted, out),
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


def search(
    checkpoint: CheckpointFile,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the search's files.")],
    target_score: Annotated[float, typer.Option(help="Official score to end at.")],
    data: Data,
    frames: Annotated[
        int,
        typer.Option("-n", "--frames", min=24, max=1 << 17, help="To measure each step on."),
    ] = 4096,
    resume: Annotated[bool, typer.Option(help="Go on with the search that --out holds.")] = True,
    seed: Seed = 0,
    json: Json = None,
) -> None:
    """Take bits and weights where they are missed least, until a network costs so much.

    Each step is measured without training; `aaronnet train OUT/best.pth` makes good what was lost.
    Interrupted, run it again.
    """
    from models import checkpoint as checkpoints
    from models.console import Bar, err, print_table
    from models.files import write_json
    from training.data import RadioMLData, kind_for
    from training.search import Row
    from training.search import search as run

    start = checkpoints.load(checkpoint, only_ours="search")
    with Bar("caching") as caching:
        kind = kind_for(start.config, data)
        source = RadioMLData(data, 512, seed=seed, validation=1 << 14, progress=caching, kind=kind)
        source.setup()

    def told(row: Row) -> None:
        err.print(
            f"{row.step}: {row.layer} {row.what}: score {row.score:.6f}, "
            f"accuracy {row.accuracy:.2%}"
        )

    with Bar("measuring each step") as progress:
        rows = run(
            *(start, source, out, target_score),
            frames=frames,
            seed=seed,
            resume=resume,
            report=told,
            progress=progress,
        )
    first, last = rows[0], rows[-1]
    if json:
        write_json(json, {"start": vars(first), "end": vars(last), "steps": len(rows) - 1})
    print_table(
        f"{out}: {len(rows) - 1} steps",
        ("network", "accuracy", "official score", "weights"),
        [
            (name, f"{row.accuracy:.2%}", f"{row.score:.6f}", f"{row.nonzero_weights:,}")
            for name, row in (("start", first), ("end, not trained", last))
        ],
    )
    print_table("", ("fact", "value"), [("measured on", f"{source.chosen_on} of {source.label}")])
