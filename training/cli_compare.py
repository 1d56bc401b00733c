"""`aaronnet data compare`: real frames beside synthetic ones."""

from pathlib import Path
from typing import Annotated, Any

import typer

from models.cli import Json, Seed, checked_target


def compare(
    real: Annotated[
        Path, typer.Argument(help="Frames to be met: .npy, or HDF5 in RadioML 2018.01A's layout.")
    ],
    synthetic: Annotated[
        str, typer.Option("--with", help="The others: HDF5, or the number of a recipe.")
    ],
    modulation: Annotated[
        list[str] | None,
        typer.Option(help="Classes to compare; default BPSK and QPSK. A .npy is taken as it is."),
    ] = None,
    snr: Annotated[int, typer.Option(help="SNR of the frames, dB.")] = 30,
    frames: Annotated[
        int, typer.Option("--frames-per-cell", "--frames", min=2, help="Of a class, at most.")
    ] = 512,
    report: Annotated[
        Path | None,
        typer.Option(help="Write an HTML page with pictures.", callback=checked_target),
    ] = None,
    seed: Seed = 0,
    json: Json = None,
) -> None:
    """Compare real frames with synthetic ones: spectrum, amplitudes, timing, drift, cumulants."""
    from deploy.board.radioml import CLASSES, SNRS, class_index
    from models.console import print_table
    from models.errors import BadInput
    from models.files import check_apart, write_json
    from training.frame_comparison import (
        compare_frames,
        drawn_frames,
        look_at_both,
        read_frames,
        write_comparison,
    )

    if snr not in SNRS:
        raise BadInput(f"no SNR of {snr} dB; choose from {SNRS[0]}..{SNRS[-1]} in steps of 2")
    names = [CLASSES[class_index(name)] for name in modulation or ("BPSK", "QPSK")]
    other = None if synthetic.isdigit() else Path(synthetic)
    for number, path in enumerate((report, json)):
        check_apart(path, real, other, *((report,) if number else ()))
    found = read_frames(real, names, snr, frames, seed)
    if other is None:
        length = found.samples.shape[1]
        drawn = drawn_frames(int(synthetic), names, snr, frames, length, seed)
    else:
        drawn = read_frames(other, names, snr, frames, seed)
    looks = look_at_both(found, drawn)
    facts = compare_frames(found, drawn, looks, seed)
    if json:
        write_json(json, {"real": str(real), "with": synthetic, "modulations": names, **facts})
    if report:
        write_comparison(report, facts, looks)
    print_table(
        f"{facts['labels'][0]} beside {facts['labels'][1]}; {facts['length']} samples of "
        f"{facts['frames'][0]} and {facts['frames'][1]} frames, +- half of a 95 % interval",
        ("median over frames", "real", "synthetic", "differs"),
        (
            (row["name"], _shown(row["real"]), _shown(row["synthetic"]), "yes" * row["differs"])
            for row in facts["rows"]
        ),
    )
    shares: list[dict[int, float]] = facts["clipped"]
    print_table(
        "samples beyond +-2",
        ("dB", "real", "synthetic"),
        (
            (each, *("-" if each not in share else f"{share[each]:.4f}" for share in shares))
            for each in SNRS
        ),
    )


def _shown(one: dict[str, Any] | None) -> str:
    if one is None:
        return "-"
    return f"{one['value']:.4g} +-{(one['high'] - one['low']) / 2:.2g}"
