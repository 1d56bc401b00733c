"""`aaronnet data`: make, inspect and check data files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from models.cli import DATA, Device, Json, Seed, checked_target, torch_device
from training.cli_compare import compare

app = typer.Typer(no_args_is_help=True)
app.command()(compare)

File = Annotated[Path, typer.Argument(help=f"{DATA}.")]
PerCell = Annotated[
    int, typer.Option("--frames-per-cell", "--frames", help="Of each (class, SNR), at most.")
]
CacheDir = Annotated[
    Path | None,
    typer.Option(
        envvar="AARONNET_CACHE", help="Folder for caches; by default beside the data file."
    ),
]


def _report(json: Path | None, facts: dict) -> None:
    from models.files import write_json

    if json:
        write_json(json, facts)


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(help="File to write (HDF5).")],
    frames_per_cell: Annotated[
        int | None,
        typer.Option(
            help="Frames of each (class, SNR); default: the real file's, 4096 (2016.10a: 1000)."
        ),
    ] = None,
    seed: Seed = 2018,
    jobs: Annotated[int | None, typer.Option(help="Threads; by default one a core.")] = None,
    compress: Annotated[
        int | None, typer.Option(help="gzip level 1..9; needs room for both files meanwhile.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a finished file.")] = False,
    recipe: Annotated[
        str,
        typer.Option(help="1, 2 or 3 (closer to real frames), or 2016.10a, like that data set."),
    ] = "1",
    json: Json = None,
) -> None:
    """Synthesise a data set like RadioML's; run again, it goes on where it stopped."""
    import time

    from models.console import Bar, print_table
    from training.synthesis import write_dataset

    start = time.perf_counter()
    with Bar("synthesising") as progress:
        written = write_dataset(
            out,
            frames_per_cell,
            seed,
            jobs=jobs,
            compress=compress,
            overwrite=force,
            recipe=recipe,
            progress=progress,
        )
    seconds = time.perf_counter() - start
    pace = (written.frames - written.resumed_at) / seconds
    _report(json, written.to_dict() | {"seconds": seconds, "frames_per_second": pace})
    print_table(
        f"synthesised {out}",
        ("fact", "value"),
        [
            ("data", written.data_label),
            ("frames", f"{written.frames:,}"),
            ("of these found done", f"{written.resumed_at:,}"),
            ("size", f"{written.bytes / 1e9:.2f} GB"),
            ("time", f"{seconds:.1f} s"),
            ("frames/s", f"{pace:,.0f}"),
        ],
    )


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="RadioML 2016.10a's pickle (.pkl, .dat).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write (HDF5).")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file.")] = False,
    json: Json = None,
) -> None:
    """Turn RadioML 2016.10a's pickle into the layout that every command reads."""
    from models.console import Bar, print_table
    from models.files import check_apart
    from training.conversion import convert as run

    for path in (out, json):
        check_apart(path, file)
    with Bar("converting") as progress:
        facts = run(file, out, overwrite=force, progress=progress)
    _report(json, facts)
    print_table(
        f"converted {out}",
        ("fact", "value"),
        [
            ("data", facts["data_label"]),
            ("frames", f"{facts['frames']:,} of 2 x {facts['samples']} samples"),
            ("classes", ", ".join(facts["classes"])),
            ("SNRs", f"{facts['snrs'][0]}..{facts['snrs'][-1]} dB"),
        ],
    )


@app.command()
def info(
    file: File,
    frames: PerCell = 64,
    every: Annotated[bool, typer.Option("--all", help="Look at every frame.")] = False,
    json: Json = None,
) -> None:
    """Show what a data file holds: cells, power, clipping; complain where something is wrong."""
    from models.console import Bar, print_table
    from training.data_info import check_odd, describe

    with Bar("reading") as progress:
        facts = describe(file, None if every else frames, progress)
    _report(json, facts)
    print_table(
        f"{file}: {facts['data_label']}",
        ("class", "frames", "power", "beyond +-2", "... at the top SNR"),
        (
            [
                row["name"],
                f"{row['frames']:,}",
                _number(row["power"], ".3f"),
                _number(row["clipped"], ".2%"),
                _number(row["clipped_top"], ".2%"),
            ]
            for row in facts["classes"]
        ),
    )
    print_table(
        "beyond +-2, by SNR",
        ("dB", "all classes", "without AM-SSB"),
        (
            [row["snr"], _number(row["clipped"], ".2%"), _number(row["clipped_scaled"], ".2%")]
            for row in facts["snrs"]
            if row["clipped"] is not None
        ),
    )
    cells = facts["cells"]
    order = "by class, then SNR" if facts["in_order"] else "NOT by class, then SNR (Y and Z rule)"
    print_table(
        "file",
        ("fact", "value"),
        [
            ("data", facts["data_label"]),
            ("frames", f"{facts['frames']:,}"),
            ("looked at", f"{facts['frames_looked_at']:,}"),
            *((key, value) for key, value in facts["layout"].items()),
            ("order", order),
            ("frames a cell", f"{cells['frames_min']}..{cells['frames_max']}"),
            ("empty cells", cells["missing"]),
            ("complete", "yes" if facts["complete"] else "no"),
            ("beyond +-2, without AM-SSB", _number(facts["clipped"], ".2%")),
            ("... at the top SNR", _number(facts["clipped_top"], ".2%")),
        ],
    )
    check_odd(facts)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


@app.command()
def show(
    file: File,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write.")] = Path("data.png"),
    snr: Annotated[int, typer.Option(help="SNR of the frames shown, dB.")] = 30,
    seed: Seed = 0,
    json: Json = None,
) -> None:
    """Draw frames of every modulation: I and Q over time, I/Q plane, spectrum."""
    from models.console import print_table
    from training.data_info import draw

    facts = draw(file, out, snr, seed)
    _report(json, facts)
    print_table(
        f"drew {out}", ("fact", "value"), [(key, facts[key]) for key in ("data_label", "snr")]
    )


@app.command()
def fidelity(
    file: File,
    checkpoint: Annotated[
        list[str],
        typer.Option(help="Network trained on the real data; FILE=NAME says which published one."),
    ],
    frames: PerCell = 64,
    every: Annotated[bool, typer.Option("--all", help="Take every frame.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Picture to write (.png, .svg, .pdf).")
    ] = None,
    device: Device = "auto",
    json: Json = None,
) -> None:
    """Ask networks trained on the real data about a file; compare with what was published."""
    from models.console import Bar, print_table
    from models.errors import CheckFailed
    from training.fidelity import fidelity as measure
    from training.pictures import check_picture, deviations

    if out:
        check_picture(out)
    with Bar("classifying") as progress:
        facts = measure(file, checkpoint, None if every else frames, progress, torch_device(device))
    _report(json, facts)
    if out:
        deviations(facts, out)
    networks, title = facts["networks"], f"{file}: {facts['data_label']}"
    heads = [head for network in networks for head in (network["network"], "published")]
    curves = [(network["published"] or {}).get("curve") or {} for network in networks]
    rows = [["all", *_pairs((network["accuracy"], _published(network)) for network in networks)]]
    for i, snr in enumerate(facts["snrs"]):
        pairs = [
            (network["accuracy_per_snr"][i], curve.get(snr))
            for network, curve in zip(networks, curves, strict=True)
        ]
        rows.append([f"{snr} dB", *_pairs(pairs)])
    print_table(f"{title}, accuracy", ("SNR", *heads), rows)
    print_table(
        f"{title}, deviation from the published accuracy",
        ("network", "deviation", "within tolerance"),
        (
            (network["network"], _verdict(network), "yes" if network["ok"] else "NO")
            for network in networks
            if network["deviation"]
        ),
    )
    print_table(
        f"{title}, accuracy from 10 dB on, and the most frequent mistake",
        ("class", *(head for n in networks for head in (n["network"], "taken for"))),
        (
            [
                name,
                *_pairs((n["accuracy_per_class_high"][i], n["mistaken_for"][i]) for n in networks),
            ]
            for i, name in enumerate(facts["classes"])
        ),
    )
    for network in networks:
        if network["ok"] is False:
            raise CheckFailed(
                f"{file} is not like {network['trained_on']}: "
                f"{network['network']} is off by {_verdict(network)}"
            )


def _verdict(network: dict) -> str:
    off = network["deviation"]
    text = f"{100 * off['mean']:+.1f} points in the mean"
    if off["at"] is not None:
        text += f", by {100 * off['snr']:+.1f} (sampling: +-{100 * off['standard_error']:.1f})"
        text += f" at {off['at']} dB"
    return text


def _published(network: dict) -> float | None:
    return network["published"] and network["published"]["accuracy"]


def _pairs(pairs: Iterable[tuple[float | None, float | str | None]]) -> list[str]:
    values = [value for pair in pairs for value in pair]
    return [value if isinstance(value, str) else _number(value, ".3f") for value in values]


@app.command()
def cache(file: File, cache_dir: CacheDir = None, json: Json = None) -> None:
    """Make the cache that training reads, which it would otherwise make on first use."""
    import time

    from deploy.board.radioml import layout_of
    from models.console import Bar, print_table
    from training.cache import CacheKind, cache_of, open_cache

    start = time.perf_counter()
    kind = CacheKind(layout_of(file))
    with Bar("caching") as progress:
        opened = open_cache(file, cache_dir, progress, kind)
    facts = {
        "path": str(file),
        "cache": str(cache_of(file, cache_dir, kind)),
        "frames": len(opened),
        "data_label": opened.index.label,
        "in_order": opened.index.in_order,
        "seconds": time.perf_counter() - start,
    }
    _report(json, facts)
    print_table(f"cached {file}", ("fact", "value"), facts.items())


@app.command()
def record(
    out: Annotated[
        Path,
        typer.Argument(
            help="The .sigmf-meta to write; samples beside it.", callback=checked_target
        ),
    ],
    plan: Annotated[Path, typer.Option(help="Who sends what, where and when (YAML).")],
    seed: Seed = 2018,
    json: Json = None,
) -> None:
    """Synthesise a wide recording with known emitters."""
    from dataclasses import asdict

    from models.console import Bar, print_table
    from models.errors import BadInput
    from models.files import check_apart, check_target
    from training.recordings.emitters import read_plan, write_recording
    from training.recordings.sigmf_files import DATA, META

    if out.suffix != META:
        raise BadInput(f"{out}: a SigMF recording's name ends in {META}")
    check_target(out.with_suffix(DATA))
    for path in (out, out.with_suffix(DATA), json):
        check_apart(path, plan)
    read = read_plan(plan)
    with Bar("emitters") as progress:
        label = write_recording(out, read, seed, progress)
    _report(json, {"path": str(out), "data_label": label, **asdict(read)})
    print_table(
        f"recorded {out}, {label}",
        ("emitter", "symbols/s", "centre, Hz", "dB", "from, s", "to, s"),
        (
            (e.modulation, f"{e.symbol_rate:g}", f"{e.centre:g}", f"{e.snr:g}", e.start, e.stop)
            for e in read.emitters
        ),
    )
