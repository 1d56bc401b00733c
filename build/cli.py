"""Commands that build accelerators: `build` and `boards`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from models.cli import DATA, Code, Json, TrustRemembered, complete_network

SPARSE_TO = ("estimate", "hdl", "project", "bitfile")
"""Targets of a sparse build; it always writes its HDL."""


def complete_board(incomplete: str) -> list[str]:
    """Return the boards that a shell offers."""
    from build.boards import boards

    return [name for name in boards() if name.startswith(incomplete)]


def build(
    network: Annotated[
        str,
        typer.Argument(
            help="In hardware form: a checkpoint (.pth), a name of the zoo, or QONNX (.onnx).",
            autocompletion=complete_network,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything.")],
    board: Annotated[
        str, typer.Option(help="See `aaronnet boards`.", autocompletion=complete_board)
    ] = "ZCU104",
    style: Annotated[
        str | None,
        typer.Option(
            help="dense: FINN+'s multipliers; sparse: adders for each nonzero weight. By default "
            "sparse where it fits and is at least as fast, or what the other options need."
        ),
    ] = None,
    to: Annotated[
        str,
        typer.Option(
            help="How far: estimate, hdl, project (for Vivado elsewhere), bitfile (by Vivado), or "
            "stitched (FINN+'s IP); a sparse build always writes HDL."
        ),
    ] = "estimate",
    fps: Annotated[
        float | None, typer.Option(help="Frames/s to reach with the least resources.")
    ] = None,
    folding: Annotated[
        str | None, typer.Option(help="A folding JSON of FINN's to apply instead, or: tuned.")
    ] = None,
    clock: Annotated[float | None, typer.Option(help="MHz; by default the board's.")] = None,
    clocks: Annotated[
        str | None,
        typer.Option(
            help="Of a frame, of a sparse build: with --style sparse by default the least; more "
            "save area. auto: the least that leave 30 % of the board free, by an estimate."
        ),
    ] = None,
    logits: Annotated[
        bool,
        typer.Option("--logits", help="Output the logits (integers) instead of the class index."),
    ] = False,
    size_fifos: Annotated[
        bool, typer.Option("--size-fifos", help="Size FIFOs by simulating the HDL (minutes).")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(help=f"{DATA} to verify with; without one, synthetic or random frames."),
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", "--breakdown", help="One row a layer.")
    ] = False,
    trust: TrustRemembered = False,
    code: Code = None,
    json: Json = None,
) -> None:
    """Build an accelerator for a board, every step verified against the network.

    A dense build without --fps and --folding gets the fastest folding up to one sample a clock
    that leaves 30 % of the board free.
    """
    from build import flow
    from build.build_report import DENSE, SPARSE, show
    from build.source import Source
    from build.style import by_options, choose
    from models.errors import BadInput
    from models.files import check_target, write_json
    from models.user_code import Trust

    check_target(json)
    allowed = Trust(trust, code)
    if style not in (None, DENSE, SPARSE):
        raise BadInput(f"unknown style {style!r}; choose dense or sparse")
    dense = {"--fps": fps is not None, "--folding": folding is not None, "--logits": logits}
    dense |= {"--size-fifos": size_fifos, f"--to {to}": to not in SPARSE_TO}
    only_dense = [option for option, value in dense.items() if value]
    if style == SPARSE and only_dense:
        raise BadInput(
            f"{', '.join(only_dense)} and --style sparse do not go together: its rate is "
            "--clocks, it ends in the class and always writes its HDL"
        )
    if style == DENSE and clocks is not None:
        raise BadInput("--clocks goes with --style sparse; a dense build takes --fps or --folding")
    if clocks not in (None, "auto") and not clocks.isdecimal():
        raise BadInput(f"--clocks takes a number of clocks a frame or auto, not {clocks!r}")
    given: str | Source = network
    choice = None
    if style is None:
        choice = by_options(only_dense, ["--clocks"] if clocks is not None else [])
        if choice is None:
            given, choice = choose(network, board, _verbose(), allowed)
        style = choice.style
        if choice.clocks is not None:
            clocks = str(choice.clocks)
    result: flow.BuildResult
    if style == SPARSE:
        from build.sparse.sparse_build import build_sparse

        result = build_sparse(
            *(given, board, out),
            to="hdl" if to == "estimate" else to,
            clock=clock,
            clocks=clocks,
            frames=data,
            verbose=_verbose(),
            trust=allowed,
        )
    else:
        result = flow.build(
            given,
            board,
            out,
            to=to,
            fps=fps,
            folding=folding,
            clock=clock,
            logits=logits,
            size_fifos=size_fifos,
            frames=data,
            verbose=_verbose(),
            trust=allowed,
        )
    if json:
        write_json(json, result.report.to_dict())
    if choice is not None:
        print(choice)
    show(result.report, layers)


def _verbose() -> bool:
    """Whether -v was given: without it the command line switches library warnings off."""
    return logging.root.manager.disable < logging.WARNING


def boards(json: Json = None) -> None:
    """List the boards that FINN+ knows and what their devices hold."""
    import tempfile
    from dataclasses import asdict

    from build.environment import setup
    from models.console import print_table
    from models.files import write_json

    with tempfile.TemporaryDirectory() as folder:
        setup(Path(folder))
        from build.boards import RESOURCES
        from build.boards import boards as known
        from build.shell.systems import SYSTEMS

        found = known()
    if json:
        write_json(json, {name: asdict(board) for name, board in found.items()})
    print_table(
        "boards (MHz: default clock)",
        ("board", "MHz", "LUT", "FF", "DSP", "BRAM18", "URAM", "up to"),
        (
            [
                board.name,
                f"{board.clock:g}",
                *(board.resources[kind] for kind in RESOURCES),
                "bitfile" if board.name in SYSTEMS else "stitched",
            ]
            for board in found.values()
        ),
    )
