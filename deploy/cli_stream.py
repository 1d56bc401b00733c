"""`aaronnet deploy --stream`: where the samples come from, and what is shown."""

import os
import stat
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from deploy.cli import ROOT, Kind, board_environment, board_python, served

if TYPE_CHECKING:
    from rich.table import Table

    from deploy.board.package import Package
    from deploy.stream import Counts, Room
    from training.recordings.prepared import Block

STDIN = "-"


@dataclass(frozen=True)
class Stream:
    """What `aaronnet deploy --stream` is told; see its options.

    Attributes:
        source: a recording, a pipe's path, or STDIN.
        most: frames after which it ends; None: when the source does.
        batch: most frames a transfer.
        room: frames that wait for the board at most.
    """

    source: str
    type: str | None = None
    rate: float | None = None
    symbol_rate: float | None = None
    decimate: int = 1
    shift: float = 0.0
    normalize: str | None = None
    step: int | None = None
    realtime: bool = False
    most: int | None = None
    batch: int = 64
    room: int = 1024

    @property
    def is_pipe(self) -> bool:
        """Whether it can only be read from its beginning to its end."""
        if self.source == STDIN:
            return True
        path = Path(self.source)
        return path.exists() and not (path.is_file() or path.is_dir())


def stream_to_board(
    package: Path, asked: Stream, board: str | None, address: str, kind: Kind, json: Path | None
) -> None:
    """Classify a source's frames until it ends, or Ctrl-C; show the classes.

    Raises:
        BadInput: package or source are unusable.
        typer.Exit: the board's process failed and has said why; with its exit code.
    """
    from rich.live import Live

    from deploy.board.package import read_package
    from deploy.stream import Counts, Room, run, summary
    from models.console import err, print_line, print_table
    from models.files import check_apart, write_json

    sources = [] if asked.is_pipe else [Path(asked.source)]
    check_apart(json, package, *sources)
    python = board_python()
    read = read_package(package)
    blocks = _blocks(asked, read)
    room, counts = Room(asked.room, waits=not asked.realtime), Counts()
    command = [str(python), "-m", "deploy.board.streaming", str(package.absolute())]
    command += ["--batch-size", str(asked.batch)]
    names = read.classes
    with ExitStack() as stack:
        if board is None:
            stack.enter_context(served(package, address, kind))
        live = Live(
            console=err,
            get_renderable=lambda: _table(counts, room, names),
            refresh_per_second=4,
            transient=True,
        )
        stack.enter_context(live if err.is_terminal else nullcontext())
        where = board_environment(board or address)
        code, interrupted = run(command, where, ROOT, blocks, room, asked.batch, counts)
    found = summary(asked.source, room, counts, names, interrupted)
    if json is not None:
        write_json(json, asdict(found))
    total = max(found.classified, 1)
    if found.classified:
        print_table(
            f"{asked.source}: {found.classified:,} frames classified by {read.network.name}",
            ("class", "frames", "share"),
            ((name, f"{count:,}", f"{count / total:.1%}") for name, count in found.classes.items()),
        )
    accelerator, virtual = found.accelerator_frames_per_second, found.board.get("virtual")
    print_line(
        f"{found.frames_per_second:,.0f} frames/s on the host"
        + (" (remote procedure calls and simulator, not a board's)" if virtual else "")
        + (f", {accelerator:,.0f} in the accelerator ({found.times})" if accelerator else "")
    )
    print_line(
        f"offered {found.offered:,}: classified {found.classified:,}, dropped {found.dropped:,}, "
        f"silent {found.rejected:,}, unfinished {found.unfinished:,}"
        + (" (ended by Ctrl-C)" if interrupted else "")
    )
    if code:
        raise typer.Exit(abs(code))


def _blocks(asked: Stream, package: "Package") -> "Callable[[threading.Event], Iterable[Block]]":
    """Return the source: frames until it ends or the event is set."""
    from deploy.stream import first, paced
    from models.errors import BadInput
    from training.recordings.formats import open_recording
    from training.recordings.piped import Piped
    from training.recordings.prepared import Preparation, Prepared
    from training.recordings.raw import TYPES, sample_type

    length, width = package.input.frame
    if width != 2:
        raise BadInput(f"{package.folder} takes {width} channels, samples have I and Q")
    if asked.is_pipe:
        if asked.type is None:
            raise BadInput(f"samples of a pipe need their --type, one of {', '.join(TYPES)}")
        if asked.shift or asked.symbol_rate is not None or asked.decimate != 1:
            raise BadInput(
                "samples of a pipe are taken as they come; shift and resample them before "
                "(about 8 samples a symbol)"
            )
        type_ = sample_type(asked.type)
        normalize = asked.normalize or "frame"
        Piped(-1, type_, length, asked.step, normalize)  # refuses before anything runs

        def from_pipe(stopped: threading.Event) -> "Iterable[Block]":
            pipe = sys.stdin.fileno() if asked.source == STDIN else _opened(asked.source)
            frames = Piped(pipe, type_, length, asked.step, normalize, stopped)
            return first(frames, asked.most)

        return from_pipe
    recording = open_recording(asked.source, asked.type, asked.rate)
    normalize = asked.normalize or recording.normalize
    how = Preparation(asked.shift, asked.symbol_rate, asked.decimate, normalize, asked.step)
    prepared = Prepared(recording, how, length)
    if asked.realtime and not recording.rate_known:
        raise BadInput("real time needs a rate; give --rate in samples a second")

    def from_file(stopped: threading.Event) -> "Iterable[Block]":
        frames = first(prepared, asked.most)
        return paced(frames, prepared.source.rate, length, stopped) if asked.realtime else frames

    return from_file


def _opened(path: str) -> int:
    from models.errors import BadInput

    try:
        # Also without a writer; one may come later.
        flags = os.O_RDWR if stat.S_ISFIFO(Path(path).stat().st_mode) else os.O_RDONLY
        return os.open(path, flags)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error


def _table(counts: "Counts", room: "Room", names: tuple[str, ...]) -> "Table":
    """Return what is shown while it runs."""
    from rich.table import Table

    seconds = max(time.monotonic() - counts.began, 1e-9) if counts.began else 0.0
    table: Any = Table(title_justify="left")
    if not seconds:
        table.title = "the board loads"
        return table
    table.title = (
        f"{counts.classified:,} frames, {counts.classified / seconds:,.0f} a second; "
        f"dropped {sum(count for _, count in list(room.dropped)):,} of {room.offered:,}"
    )
    for name in ("class", "frames", "share"):
        table.add_column(name, justify="left" if name == "class" else "right")
    classified = max(counts.classified, 1)
    for index, count in Counter(counts.classes).most_common():
        table.add_row(names[index], f"{count:,}", f"{count / classified:.1%}")
    return table
