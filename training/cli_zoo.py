"""`aaronnet zoo`: list the trained checkpoints that come with the project, or add one."""

from typing import Annotated

import typer

from models.cli import (
    CheckpointFile,
    Code,
    Data,
    Device,
    Json,
    TrustRemembered,
    torch_device,
)

app = typer.Typer(invoke_without_command=True)


@app.callback()
def zoo(context: typer.Context, json: Json = None) -> None:
    """List the trained checkpoints; every command takes their names instead of a file."""
    if context.invoked_subcommand:
        return
    from models.console import print_table
    from models.files import write_json
    from models.zoo import NAMES, entries

    found = entries()
    missing = [name for name in NAMES if name not in {entry.name for entry in found}]
    if json:
        write_json(json, {"zoo": [entry.card for entry in found], "missing": missing})
    columns = ("name", "accuracy", "score", "weights", "frames trained on", "trained on")
    print_table(
        "zoo",
        columns,
        [
            (
                entry.name,
                f"{entry.card['accuracy']:.4f}",
                f"{entry.card['score']:.6f}",
                f"{entry.card['nonzero_weights']:,}",
                f"{entry.card['frames']:,}",
                entry.card["data_label"],
            )
            for entry in found
        ]
        + [(name, *["-"] * 4, "not trained yet") for name in missing],
    )


@app.command()
def add(
    checkpoint: CheckpointFile,
    name: Annotated[str, typer.Argument(help="Its name in the zoo.")],
    data: Data,
    go_on: Annotated[str, typer.Option("--continue", help="What continues its training.")] = "",
    device: Device = "auto",
    trust: TrustRemembered = False,
    code: Code = None,
    json: Json = None,
) -> None:
    """Measure a checkpoint and put it into the zoo with its card."""
    from models.console import Bar, print_table
    from models.files import write_json
    from models.user_code import Trust
    from training.zoo import add as run

    with Bar("testing") as progress:
        card = run(
            *(checkpoint, name, data),
            go_on=go_on,
            device=torch_device(device),
            progress=progress,
            trust=Trust(trust, code),
        )
    if json:
        write_json(json, card)
    keys = ("accuracy", "score", "nonzero_weights", "frames", "data_label", "tested_on")
    print_table(f"{name} is in the zoo", ("fact", "value"), ((key, card[key]) for key in keys))
