"""`aaronnet classify`: what is in a recording, by a network in software or by an accelerator."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli import LOOPBACK, Fast, Graph, Kind, WithoutDmas
from models.cli import (
    Code,
    Device,
    Json,
    TrustRemembered,
    checked_target,
    complete_network,
    torch_device,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np

    from deploy.board.package import Package
    from training.recordings.prepared import Preparation, Prepared
    from training.recordings.recording import Recording
    from training.recordings.rows import Row

_SHOWN = 40  # runs on the terminal; files get all


def classify(
    recording: Annotated[
        Path,
        typer.Argument(help="SigMF, .npy, .npz, .wav, RadioML's files, or raw samples (--type)."),
    ],
    network: Annotated[
        str,
        typer.Option(help="Checkpoint or name of the zoo.", autocompletion=complete_network),
    ] = "aaronnet48",
    type_: Annotated[
        str | None, typer.Option("--type", help="Of raw samples: cf32, cf64, ci16, ci8, cu8, ...")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Samples a second, where the file does not say.")
    ] = None,
    symbol_rate: Annotated[
        float | None, typer.Option(help="Symbols a second; resampled to 8 samples a symbol.")
    ] = None,
    decimate: Annotated[int, typer.Option(help="Divide the rate, without a symbol rate.")] = 1,
    shift: Annotated[float, typer.Option(help="Hz from the middle that are brought to zero.")] = 0,
    auto: Annotated[
        bool, typer.Option("--auto", help="Estimate shift and symbol rate; says what it chose.")
    ] = False,
    channels: Annotated[
        int | None, typer.Option(min=1, help="As --auto, for so many signals at most.")
    ] = None,
    normalize: Annotated[
        str | None,
        typer.Option(
            help="To unit power: frame, file, or none; default: frame, a data set's none."
        ),
    ] = None,
    step: Annotated[
        int | None, typer.Option(help="Samples from frame to frame; default: its length.")
    ] = None,
    gate: Annotated[
        float | None, typer.Option(help="Reject frames so many dB below the strongest.")
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Less probable answers are `unknown`.")
    ] = 0.0,
    familiar: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Answers by scores stranger than those of all but this share of known frames are "
            "`unknown`; for a calibrated network.",
        ),
    ] = 0.0,
    temperature: Annotated[
        float | None,
        typer.Option(
            min=1e-3, max=1e3, help="Logits are divided by it; default: the checkpoint's, or 1."
        ),
    ] = None,
    package: Annotated[
        Path | None, typer.Option(help="Accelerator package that classifies, not a checkpoint.")
    ] = None,
    board: Annotated[
        str | None, typer.Option(help="IP address of a PYNQ board for --package; else virtual.")
    ] = None,
    graph: Graph = False,
    fast: Fast = False,
    without_dmas: WithoutDmas = False,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", help="Write a row a frame to this file.", callback=checked_target),
    ] = None,
    sigmf: Annotated[
        Path | None,
        typer.Option(help="Write SigMF annotations (.sigmf-meta).", callback=checked_target),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write an HTML page with pictures.", callback=checked_target),
    ] = None,
    trust: TrustRemembered = False,
    code: Code = None,
    device: Device = "auto",
    json: Json = None,
) -> None:
    """Classify a recording, frame by frame."""
    from itertools import chain

    from deploy.board.package import read_package
    from models import checkpoint as checkpoints
    from models.console import Bar, print_line, print_table
    from models.errors import BadInput
    from models.files import check_apart, write_json
    from models.foreign import frame_of_config
    from models.user_code import Trust
    from training.recordings.annotations import annotated, write_annotations
    from training.recordings.formats import open_recording
    from training.recordings.prepared import Preparation, Prepared
    from training.recordings.rows import Rows, runs, shares, write_csv

    kind = Kind(graph, fast, without_dmas)
    if package is None and (board is not None or kind != Kind()):
        raise BadInput(
            "--board, --graph, --fast and --without-dmas are for an accelerator; give its --package"
        )
    if package is not None and (threshold or familiar or temperature is not None):
        raise BadInput(
            "an accelerator gives classes without scores; leave --threshold, --familiar and "
            "--temperature out"
        )
    most = channels or (1 if auto else None)
    if most and (symbol_rate is not None or shift or decimate != 1):
        raise BadInput(
            "--auto and --channels estimate shift and rate; leave --shift and the rates out"
        )
    targets = [path for path in (csv, sigmf, report, json) if path is not None]
    for number, path in enumerate(targets):
        check_apart(path, recording, package, *targets[:number])
    opened = open_recording(recording, type_, rate)
    how = Preparation(shift, symbol_rate, decimate, normalize or opened.normalize, step, gate)
    if package is None:
        loaded = checkpoints.load(network, trust=Trust(trust, code))
        width, length, _ = frame_of_config(loaded.config)
        name, trained_on, ask = _network(
            loaded, torch_device(device), threshold, familiar, temperature
        )
    else:
        read = read_package(package)
        length, width = read.input.frame
        name, trained_on, ask = _accelerator(read, board, kind)
    if width != 2:
        raise BadInput(f"{package or network} takes {width} channels, a recording has I and Q")
    wanted = _estimated(opened, how, most) if most else [(how, "as given")]
    prepared = [Prepared(opened, each, length) for each, _ in wanted]
    answers: list[Rows] = []
    known_rate = opened.rate if opened.rate_known else None
    for (_, chosen), frames in zip(wanted, prepared, strict=True):
        if most:
            print_line(f"estimated: {chosen}")
        with Bar("classifying") as progress:
            answers.append(Rows(ask(frames, progress), known_rate))
    joined, of_all = runs(chain(*answers)), shares(chain(*answers))
    facts: dict[str, Any] = {
        "recording": str(recording),
        "type": opened.type,
        "samples": opened.samples,
        "rate": known_rate,
        "centre": opened.centre,
        "network": name,
        "trained_on": trained_on,
        "channels": [
            vars(each) | {"chosen": chosen, "rate": frames.source.rate, "shares": shares(channel)}
            for (each, chosen), frames, channel in zip(wanted, prepared, answers, strict=True)
        ],
        "shares": of_all,
    }
    if json:
        write_json(json, facts | {"frames": [row.to_dict() for row in chain(*answers)]})
    if csv:
        write_csv(csv, chain(*answers))
    if sigmf:
        widths = {p.centre: min(p.source.rate, opened.source.rate) for p in prepared}
        write_annotations(sigmf, annotated(opened, recording, joined, widths, name))
    if report:
        from training.recordings.recording_report import write_recording_report  # what draws is big

        done = [(key, str(facts[key])) for key in ("type", "samples", "rate", "centre")]
        for number, channel in enumerate(facts["channels"]):
            told = (f"{key} {value}" for key, value in channel.items() if key != "shares")
            done.append((f"channel {number}", ", ".join(told)))
        each = list(zip(prepared, answers, strict=True))
        write_recording_report(report, recording.name, name, trained_on, opened, each, joined, done)
    unit = "s" if opened.rate_known else "samples"
    print_table(
        f"{recording}: the first {_SHOWN} of {len(joined)} runs"
        if len(joined) > _SHOWN
        else f"{recording}",
        ("answer", "centre, Hz", f"from, {unit}", f"to, {unit}", "frames", "mean probability"),
        (
            (
                run.answer,
                f"{run.centre:.6g}",
                f"{run.sample / opened.rate:.6g}",
                f"{run.end / opened.rate:.6g}",
                run.frames,
                "-" if run.probability is None else f"{run.probability:.3f}",
            )
            for run in joined[:_SHOWN]
        ),
    )
    print_table(
        f"{sum(map(len, answers)):,} frames by {name}, trained on {trained_on}",
        ("answer", "share"),
        ((answer, f"{share:.1%}") for answer, share in of_all.items()),
    )


def _estimated(
    recording: "Recording", how: "Preparation", most: int
) -> list[tuple["Preparation", str]]:
    from dataclasses import replace

    from models.errors import BadInput
    from training.recordings.estimate import estimate

    if recording.row is not None:
        raise BadInput("a file of separate frames is prepared already; leave --auto out")
    if not recording.rate_known:
        raise BadInput("estimates need a rate; give --rate in samples a second")
    return [
        (replace(how, shift=found.centre, symbol_rate=found.symbol_rate), str(found))
        for found in estimate(recording.source, most)
    ]


Asked = tuple[str, str, "Callable[[Prepared, Any], Iterable[Row]]"]


def _network(
    checkpoint: Any, device: str, threshold: float, familiar: float, temperature: float | None
) -> Asked:
    from training.recordings.rows import classify as ask

    def run(prepared: "Prepared", progress: Any) -> "Iterable[Row]":
        return ask(
            checkpoint,
            prepared,
            checkpoint.class_names,
            threshold=threshold,
            familiar=familiar,
            temperature=temperature,
            device=device,
            progress=progress,
        )

    return checkpoint.config.name, checkpoint.data_label, run


def _accelerator(package: "Package", board: str | None, kind: Kind) -> Asked:
    from contextlib import ExitStack
    from tempfile import TemporaryDirectory

    import numpy as np

    from deploy.cli import board_python, run_on_board, served
    from training.recordings.rows import REJECTED, make_rows

    board_python()  # before any work
    folder = package.folder

    def run(prepared: "Prepared", progress: Any) -> "Iterable[Row]":
        with TemporaryDirectory(prefix="aaronnet-classify-") as work, ExitStack() as stack:
            frames, classes = Path(work) / "frames.npy", Path(work) / "classes.npy"
            starts, power, kept = _store(prepared, frames)
            if board is None:
                stack.enter_context(served(folder, LOOPBACK, kind))
            run_on_board(
                ["deploy.board.frames", folder.absolute(), frames, classes], board or LOOPBACK
            )
            found = np.load(classes)
        answers = [package.classes[c] if k else REJECTED for c, k in zip(found, kept, strict=True)]
        progress(len(answers), len(answers))
        nothing = [None] * len(answers)
        return make_rows(prepared, starts, power, answers, nothing, nothing)

    name = f"{package.network.name} on {package.board}"
    return name, package.network.label or "unknown data", run


def _store(prepared: "Prepared", path: Path) -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
    """Write all frames as a board takes them; return starts, power, and which were kept."""
    import numpy as np

    shape = (len(prepared), prepared.length, 2)
    frames = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    blocks, done = [], 0
    for block in prepared:
        frames[done : done + len(block.frames)] = block.frames.swapaxes(1, 2)
        done += len(block.frames)
        blocks.append((block.starts, block.power, block.kept))
    frames.flush()
    starts, power, kept = zip(*blocks, strict=True)
    return np.concatenate(starts), np.concatenate(power), np.concatenate(kept)
