"""Which style a build takes where its user names none: what fits the board and is faster."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from build.build_report import DENSE, SPARSE
from build.environment import quiet, setup
from build.source import Source, open_source
from build.sparse.room import Area
from models.errors import BadInput
from models.user_code import Trust


@dataclass(frozen=True)
class Choice:
    """A style and the reason in a few words; of a sparse build the clocks of a frame and what it
    takes, about, where they were asked for."""

    style: str
    reason: str
    clocks: int | None = None
    area: Area | None = None

    def __str__(self) -> str:
        return f"{self.style}: {self.reason}"


def by_options(dense: list[str], sparse: list[str]) -> Choice | None:
    """Return the style of the options that only one style has; None without such options.

    Args:
        dense: those given that only dense builds have.
        sparse: those given that only sparse builds have.

    Raises:
        BadInput: there are some of both.
    """
    if dense and sparse:
        raise BadInput(f"{', '.join(dense)} and {', '.join(sparse)} do not go together: dense "
                       "builds have the first, sparse ones the second")  # fmt: skip
    for style, options in ((DENSE, dense), (SPARSE, sparse)):
        if options:
            return Choice(style, f"{', '.join(options)} decides, which only {style} builds have")
    return None


def choose(
    given: str | Path, board: str, verbose: bool = False, trust: Trust = Trust()
) -> tuple[Source, Choice]:
    """Return an opened network, and the style for it.

    Sparse where its hardware is known, takes a frame in no more clocks than a dense build at its
    best, and leaves as much of the board free as a dense one would, by an estimate. A checkpoint
    of a class of the user's is opened by the code that `trust` lets run.

    Raises:
        BadInput: there is no such network or board.
    """
    with tempfile.TemporaryDirectory() as folder, quiet(Path(os.devnull), verbose):
        setup(Path(folder))
        from build.boards import find_board
        from build.sparse.area import fastest, least_clocks
        from build.sparse.compose import compose
        from build.sparse.fold import fold
        from build.sparse.from_graph import network_of

        chosen = find_board(board)
        source = open_source(given, integers=True, trust=trust)
        try:
            network = network_of(source.model)
        except BadInput as error:
            return source, Choice(DENSE, str(error))
        least = least_clocks(network)
        try:
            clocks, area = fastest(fold(compose(fold(network))), chosen, least)
        except BadInput as error:
            reason = f"{error}, by an estimate; a dense build takes {least:,} clocks at best"
            return source, Choice(DENSE, reason)
    return source, Choice(
        SPARSE,
        f"{clocks:,} clocks a frame, {area.of(chosen)}, estimated; a dense build takes {least:,} "
        "clocks at best",
        clocks,
        area,
    )
