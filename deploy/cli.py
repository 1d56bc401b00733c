"""Commands around a board: serve a virtual one, prepare a comparison, validate a package."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from models.cli import Data, Json, checked_target

app = typer.Typer(no_args_is_help=True)

PackageFolder = Annotated[Path, typer.Argument(help="Folder of an accelerator package.")]
Count = Annotated[
    int | None, typer.Option("-n", "--frames", min=1, help="About this many, evenly; default all.")
]
Graph = Annotated[
    bool, typer.Option("--graph", help="Execute the graph, not the RTL; cycles are estimates.")
]
Fast = Annotated[
    bool, typer.Option("--fast", help="A faster, equivalent model of FINN's matrix unit.")
]
WithoutDmas = Annotated[
    bool,
    typer.Option(
        "--without-dmas", help="Simulate the accelerator's RTL alone; a model plays FINN's DMAs."
    ),
]
Address = Annotated[
    str, typer.Option(help="Local address; whoever reaches it can use the board. Port 7967.")
]
LOOPBACK = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[1]
BOARD_PYTHON = Path(".venv-board") / "bin" / "python"


@app.command()
def serve(
    package: PackageFolder,
    address: Address = LOOPBACK,
    memory: Annotated[int, typer.Option(min=1, help="MiB for buffers.")] = 512,
    graph: Graph = False,
    fast: Fast = False,
    without_dmas: WithoutDmas = False,
    json: Json = None,
) -> None:
    """Serve a virtual board with a package's accelerator, for the unmodified pynq."""
    from models.console import out
    from models.files import check_apart, write_json

    check_apart(json, package)
    with served(package, address, Kind(graph, fast, without_dmas), memory) as (facts, line):
        if json:
            write_json(json, asdict(facts))
        out.print(
            f"{line}\nlistening on {facts.listening}; in another shell: "
            f"PYNQ_REMOTE_DEVICES={address} {BOARD_PYTHON} -m deploy.board.validate {package}",
            soft_wrap=True,
            markup=False,
        )
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        stopped.wait()


@dataclass(frozen=True)
class Kind:
    """Of a virtual board, by its options: what of the accelerator is simulated."""

    graph: bool = False
    fast: bool = False
    without_dmas: bool = False


@dataclass(frozen=True)
class Served:
    """A virtual board at work: where it listens, what pynq loads, and what it carries.

    Attributes:
        cycles: where they come from, "simulated" or "estimated".
        dmas: "simulated", their RTL; or "played" by a model.
    """

    listening: str
    overlay: str
    package: str
    board: str
    clock_mhz: float
    cycles: str
    dmas: str


@contextmanager
def served(
    folder: Path, address: str, kind: Kind, memory: int = 512
) -> Iterator[tuple[Served, str]]:
    """Serve a package's accelerator with `memory` MiB for buffers.

    Yields the facts and one line on the board.
    """
    from deploy.board.package import read_package
    from deploy.virtual_board.board import Board, describe
    from deploy.virtual_board.choose import choose
    from deploy.virtual_board.overlay import write_overlay
    from deploy.virtual_board.server import check_address, serve
    from models.console import err

    read = read_package(folder)
    check_address(address)
    with err.status("building the simulator"):
        fabric = choose(read, kind.graph, kind.fast, kind.without_dmas)
    overlay = write_overlay(read)
    board = Board(read, fabric, memory << 20)
    with closing(fabric), serve(board, address) as listening:
        facts = Served(
            listening,
            str(overlay),
            read.digest,
            read.board,
            read.clock_mhz,
            fabric.source,
            "simulated" if fabric.own_dmas else "played",
        )
        yield facts, describe(board)


@app.command()
def expect(
    package: PackageFolder,
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File to write (HDF5).", callback=checked_target)
    ],
    frames: Count = None,
    json: Json = None,
) -> None:
    """Write test frames with the network's classes, for the validation to compare with."""
    from deploy.board.package import read_package
    from deploy.virtual_board.accelerator import GraphAccelerator
    from deploy.virtual_board.expect import expect
    from models.console import Bar, print_line
    from models.files import check_apart, write_json

    for path in (out, json):
        check_apart(path, package, data)
    read = read_package(package)
    with Bar("frames") as progress:
        found = expect(read, GraphAccelerator(read), data, out, frames, progress)
    if json:
        write_json(json, asdict(found))
    print_line(
        f"{found.frames} frames ({found.label}), accuracy of the network "
        f"{'unknown' if found.accuracy is None else f'{found.accuracy:.4f}'}: {out}"
    )


def board_python() -> Path:
    """Return the interpreter of .venv-board.

    Raises:
        BadInput: there is none.
    """
    from models.errors import BadInput

    python = ROOT / BOARD_PYTHON
    if not python.exists():
        raise BadInput("there is no .venv-board with pynq; create it with: make board-env")
    return python


def board_environment(address: str) -> dict[str, str]:
    """Return the environment of a program that uses the board at `address`."""
    # Ours must be found whatever else is called `deploy` there.
    return os.environ | {"PYTHONPATH": str(ROOT), "PYNQ_REMOTE_DEVICES": address}


def run_on_board(command: list[object], address: str) -> None:
    """Run a module of `deploy.board` with the unmodified pynq; `address` is that of the board.

    Raises:
        CheckFailed: it was ended by a signal.
        typer.Exit: it failed and has said why; with its exit code.
    """
    from models.errors import CheckFailed

    words = [str(board_python()), "-m", *map(str, command)]
    code = subprocess.run(words, cwd=ROOT, env=board_environment(address)).returncode
    if code < 0:
        raise CheckFailed(f"the driver was ended by signal {-code}")
    if code:
        raise typer.Exit(code)
