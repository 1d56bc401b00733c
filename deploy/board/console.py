"""What the board's two commands share: progress, exit codes."""

import os
import sys
from typing import NoReturn

from deploy.board.errors import BadInput, CheckFailed

BOARD_FAILURES = (BadInput, CheckFailed)


def progress(what: str, done: int, total: int) -> None:
    """Show how far something is, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r{what}: {done}/{total}", end="\n" if done == total else "", file=sys.stderr)


def leave(command: str, error: Exception) -> int:
    """Print why a command failed; return its exit code."""
    print(f"{command}: {error}", file=sys.stderr)
    return 2 if isinstance(error, BadInput) else 1


def end(code: int) -> NoReturn:
    """End the process now.

    pynq's buffers talk to the board when they are collected; one that hangs must not keep the
    program from ending.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
