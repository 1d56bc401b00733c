"""`aaronnet deploy`: a package on a board, validated or streamed to."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli import (
    LOOPBACK,
    Count,
    Fast,
    Graph,
    Kind,
    PackageFolder,
    WithoutDmas,
    board_python,
    run_on_board,
    served,
)
from deploy.cli_stream import Stream, stream_to_board
from models.cli import DATA, Json, checked_target

STREAM = "With --stream"


def deploy(
    package: PackageFolder,
    data: Annotated[
        Path | None, typer.Option(help=f"{DATA}; without one, the package's samples.")
    ] = None,
    frames: Count = None,
    board: Annotated[
        str | None, typer.Option(help="IP address of a PYNQ board; without it a virtual one.")
    ] = None,
    graph: Graph = False,
    fast: Fast = False,
    without_dmas: WithoutDmas = False,
    address: Annotated[str, typer.Option(help="Loopback address of the virtual board.")] = LOOPBACK,
    json: Json = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write the report to this file (Markdown).", callback=checked_target),
    ] = None,
    stream: Annotated[
        str | None,
        typer.Option(
            help="Classify this recording's frames, or those of a pipe (- is stdin), as they come; "
            "until it ends, or Ctrl-C. With -n: so many frames.",
            rich_help_panel=STREAM,
        ),
    ] = None,
    type_: Annotated[
        str | None,
        typer.Option("--type", help="Of raw samples: cf32, ci16, cu8, ...", rich_help_panel=STREAM),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Samples a second, where the file is silent.", rich_help_panel=STREAM),
    ] = None,
    symbol_rate: Annotated[
        float | None,
        typer.Option(help="Symbols a second; resamples to 8 a symbol.", rich_help_panel=STREAM),
    ] = None,
    decimate: Annotated[
        int, typer.Option(help="Divide the rate, without a symbol rate.", rich_help_panel=STREAM)
    ] = 1,
    shift: Annotated[
        float, typer.Option(help="Hz that are brought to zero.", rich_help_panel=STREAM)
    ] = 0,
    normalize: Annotated[
        str | None,
        typer.Option(
            help="To unit power: frame, file, or none; default: frame, a data set's none.",
            rich_help_panel=STREAM,
        ),
    ] = None,
    step: Annotated[
        int | None, typer.Option(help="Samples from frame to frame.", rich_help_panel=STREAM)
    ] = None,
    realtime: Annotated[
        bool,
        typer.Option(
            "--realtime",
            help="The source does not wait: frames that find no room are dropped, and counted.",
            rich_help_panel=STREAM,
        ),
    ] = False,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Most frames a transfer.", rich_help_panel=STREAM)
    ] = 64,
    room: Annotated[
        int, typer.Option(min=1, help="Most frames that wait.", rich_help_panel=STREAM)
    ] = 1024,
) -> None:
    """Validate a package on a board, or on a virtual one that is started for it; or stream to it.

    The driver runs in .venv-board (`make board-env`), with the unmodified pynq.
    """
    from deploy.board.data_file import open_frames
    from deploy.board.package import read_package
    from models.errors import BadInput
    from models.files import check_apart

    board_python()
    kind = Kind(graph, fast, without_dmas)
    if board is not None and (kind != Kind() or address != LOOPBACK):
        raise BadInput(
            "--graph, --fast, --without-dmas and --address are for a virtual board, not with "
            "--board"
        )
    of_a_stream = Stream(
        stream or "", type_, rate, symbol_rate, decimate, shift, normalize, step, realtime, frames,
        batch_size, room,
    )  # fmt: skip
    if stream is not None:
        if data is not None or report is not None:
            raise BadInput("--data and --report are of a validation; leave them out of a stream")
        stream_to_board(package, of_a_stream, board, address, kind, json)
        return
    if of_a_stream != Stream("", most=frames):
        raise BadInput("options of a stream without --stream SOURCE")
    for path in (json, report):
        check_apart(path, package, data)
    # What the driver would refuse is refused before the simulator is built.
    read = read_package(package)
    if data is not None:
        open_frames(data, len(read.classes), read.input.frame)
    command: list[object] = ["deploy.board.validate", package.absolute()]
    for option, value in (("--data", data), ("--json", json), ("--report", report)):
        command += [] if value is None else [option, value.absolute()]
    command += [] if frames is None else ["--frames", frames]
    with ExitStack() as stack:
        if board is None:
            stack.enter_context(served(package, address, kind))
        run_on_board(command, board or address)
