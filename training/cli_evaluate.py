"""Commands that measure what was trained: `test`, `calibrate` and `report`."""

from pathlib import Path
from typing import Annotated

import typer

from models.cli import (
    CheckpointFile,
    Code,
    Data,
    Device,
    Json,
    OutCheckpoint,
    TrustRemembered,
    checked_target,
    complete_network,
    torch_device,
)
from training.cli import Batch


def test(
    checkpoint: CheckpointFile,
    data: Data,
    split: Annotated[str, typer.Option(help="test, train or all.")] = "test",
    batch_size: Batch = 512,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for accuracy.png and confusion.png.")
    ] = None,
    device: Device = "auto",
    trust: TrustRemembered = False,
    code: Code = None,
    json: Json = None,
) -> None:
    """Measure a network's accuracy: over all frames, per SNR and per class."""
    from models import checkpoint as checkpoints
    from models.console import Bar, print_table
    from models.files import atomic, check_target, write_json
    from models.user_code import Trust
    from training.evaluate import evaluate

    loaded = checkpoints.load(checkpoint, trust=Trust(trust, code))
    for name in ("accuracy.png", "confusion.png"):
        check_target(pictures and pictures / name)
    with Bar("testing") as progress:
        measured = evaluate(
            loaded,
            data,
            split,
            batch_size=batch_size,
            device=torch_device(device),
            progress=progress,
        )
    if json:
        write_json(json, {**measured.to_dict(), "checkpoint": str(checkpoint)})
    if pictures:
        from training.pictures import accuracy_over_snr, confusion_matrix

        drawn = {
            "accuracy.png": accuracy_over_snr({loaded.config.name: measured}, measured.data),
            "confusion.png": confusion_matrix(measured),
        }
        for name, png in drawn.items():
            with atomic(pictures / name) as temporary:
                temporary.write_bytes(png)

    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    pairs = zip(measured.snrs, measured.accuracy_per_snr, strict=True)
    known = ((snr, share(a)) for snr, a in pairs if a is not None)
    print_table("accuracy over SNR", ("dB", "accuracy"), known)
    named = zip(measured.classes, measured.accuracy_per_class, strict=True)
    print_table("accuracy by class", ("class", "accuracy"), ((c, share(a)) for c, a in named))
    print_table(
        f"{loaded.config.name} on the {split} split",
        ("fact", "value"),
        (
            ("accuracy", share(measured.accuracy)),
            ("frames", f"{measured.frames:,}"),
            ("data", measured.data),
            ("trained on", measured.trained_on),
        ),
    )


def calibrate(
    checkpoint: CheckpointFile,
    data: Data,
    out: OutCheckpoint,
    frames: Annotated[
        int,
        typer.Option(
            "--frames", "-n", min=100, help="Of the validation and of the test split, at most."
        ),
    ] = 1 << 14,
    device: Device = "auto",
    json: Json = None,
) -> None:
    """Make a network's probabilities honest, and learn what is familiar to it."""
    from models import checkpoint as checkpoints
    from models.console import Bar, print_line, print_table
    from models.files import check_apart, write_json
    from training.temperature import STRANGE, save_calibrated
    from training.temperature import calibrate as fitted

    for path in (out, json):
        check_apart(path, data)
    loaded = checkpoints.load(checkpoint)
    with Bar("asking the network") as progress:
        found = fitted(loaded, data, frames, device=torch_device(device), progress=progress)
    save_calibrated(out, loaded, found)
    if json:
        write_json(json, {"checkpoint": str(out), **found.to_dict()})
    print_table(
        f"{out}: temperature {found.temperature:.3f}, fitted on {found.frames:,} frames of "
        f"the validation split of {found.data}, measured on {found.measured:,} test frames, "
        f"accuracy {found.accuracy:.4f}",
        ("fact", "before", "after"),
        (
            (name, f"{before:.4f}", f"{after:.4f}")
            for name, (before, after) in (
                ("mean probability of the answer", found.confidence),
                ("expected calibration error", found.error),
                ("loss", found.loss),
            )
        ),
    )
    print_line(f"less familiar than {STRANGE}: {found.strange:.4f} of the test frames")


def report(
    checkpoints: Annotated[
        list[str],
        typer.Argument(help="Checkpoints to compare.", autocompletion=complete_network),
    ],
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The HTML file to write.", callback=checked_target)
    ],
    device: Device = "auto",
    trust: TrustRemembered = False,
    code: Code = None,
    json: Json = None,
) -> None:
    """Compare checkpoints in one self-contained HTML file, beside the published results.

    Their accuracy is that on the data's official test split.
    """
    from models.console import Bar, print_line, print_table
    from models.files import write_json
    from models.user_code import Trust
    from training.comparison import measure, write_report

    with Bar("testing") as progress:
        where, allowed = torch_device(device), Trust(trust, code)
        found = measure(checkpoints, data, device=where, progress=progress, trust=allowed)
    write_report(found, out)
    if json:
        write_json(json, found.to_dict())
    print_table(
        f"report {out} ({found.data})",
        ("network", "accuracy", "score", "weights"),
        (
            (
                row.network,
                f"{row.accuracy:.4f}",
                f"{row.score:.6f}",
                f"{row.nonzero_weights:,}",
            )
            for row in (network.scored for network in found.networks)
        ),
    )
    for note in found.notes:
        print_line(note)
