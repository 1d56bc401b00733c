"""What all commands share on the terminal: facts on stdout, progress on stderr."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich import progress
from rich.console import Console
from rich.table import Table

# What is printed may come from a file: it is text, never markup.
out = Console(highlight=False, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)

Progress = Callable[[int, int], None]
"""What long work tells how far it is: (done, in all)."""


class Bar:
    """A progress bar on stderr, for a `with` statement; it shows once it is told something.

    A bar that never moved would only stand beside the message that says why. It may be told from
    several threads.

    Args:
        description: what is going on.
        total: how many there are, if that is known from the start.
    """

    def __init__(self, description: str, total: int | None = None):
        self._display = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            console=err,
        )
        self._task = self._display.add_task(printable(description), total=total)
        self._begun = False

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_error: object) -> None:
        if self._begun:
            self._display.stop()
        elif self._display.live.is_started:  # half begun: that rich cannot stop
            err.show_cursor()

    def __call__(self, done: int, total: int) -> None:
        """Show how many are done of how many: what `Progress` parameters take."""
        self._show(completed=done, total=total)

    def advance(self, count: int = 1) -> None:
        """Show that so many more are done."""
        self._show(advance=count)

    def describe(self, description: str) -> None:
        """Show what is going on now."""
        self._show(description=printable(description))

    def _show(self, **changes: Any) -> None:
        if not self._begun:
            self._display.start()
            self._begun = True
        self._display.update(self._task, **changes)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as a table on stdout; the first column reads left, numbers read right."""
    table = Table(title=printable(title), title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(printable(column), justify="right" if index else "left", no_wrap=not index)
    for row in rows:
        table.add_row(*(printable(str(cell)) for cell in row))
    out.print(table)


def print_markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as a Markdown table on stdout, as docs/ has them."""

    def line(cells: Sequence[object]) -> str:
        return f"| {' | '.join(f'{c:,}' if isinstance(c, int) else str(c) for c in cells)} |"

    print_line(line(columns))
    print_line(f"|{'|'.join('--:' if index else '---' for index in range(len(columns)))}|")
    for row in rows:
        print_line(line(row))


def print_line(text: object, to: Console = out) -> None:
    """Print one line, never wrapped; what is not printable in it is spelled out."""
    to.print(printable(str(text)), soft_wrap=True)


def printable(text: str) -> str:
    """Return one line in which control characters are spelled out as Python writes them.

    Text from a file must neither steer the terminal nor look like a line of ours.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
