"""`aaronnet demo`: the whole chain with one command."""

from pathlib import Path
from typing import Annotated

import typer

from models.cli import Json, Seed


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for all artefacts.")] = Path(
        "out/demo"
    ),
    board: Annotated[str, typer.Option(help="Board to build for, by FINN's name.")] = "ZCU104",
    model: Annotated[str, typer.Option(help="Configuration to train.")] = "aaronnet32",
    frames_per_cell: Annotated[
        int, typer.Option(min=2, help="Frames of each of the 24 x 26 (modulation, SNR).")
    ] = 64,
    float_epochs: Annotated[int, typer.Option(min=0, help="In floating point, first.")] = 5,
    quantized_epochs: Annotated[int, typer.Option(min=1, help="Quantized, after them.")] = 4,
    seed: Seed = 2018,
    json: Json = None,
) -> None:
    """Run the whole chain on synthetic data: train, prune, score, build, run, report.

    Interrupted, the same command goes on; what is finished is reused.
    """
    from deploy.board.records import to_json
    from deploy.demo.chain import run_demo
    from deploy.demo.demo_report import Settings, print_summary
    from models.console import out as console
    from models.files import write_json

    settings = Settings(
        model=model,
        frames_per_cell=frames_per_cell,
        float_epochs=float_epochs,
        quantized_epochs=quantized_epochs,
        board=board,
        seed=seed,
    )
    report = run_demo(out, settings)
    if json:
        write_json(json, to_json(report))
    print_summary(report)
    console.print(
        f"report: {out / 'report.html'} and {out / 'report.json'}", soft_wrap=True, markup=False
    )
