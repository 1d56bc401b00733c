"""Commands in one process, and what they do to the folder they run in."""

import hashlib
import json
import logging
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aaronnet

LIMIT = 30  # seconds of a command: what is refused is refused quickly


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


class Commands:
    """Runs the command line in a folder, in this process."""

    def __init__(self, folder: Path, capture: Any):
        self.folder, self.capture = folder, capture

    def __call__(self, *words: str, main: Callable[[], None] = aaronnet.main) -> Done:
        """Run one command; what it raises besides SystemExit would be a traceback."""
        self.capture.readouterr()
        before, argv = signal.getsignal(signal.SIGPIPE), sys.argv
        signal.signal(signal.SIGALRM, _late)
        signal.alarm(LIMIT)
        sys.argv = ["aaronnet", *words]
        try:
            with warnings.catch_warnings():
                main()
        except SystemExit as end:
            code = 0 if end.code is None else int(end.code)
        else:
            code = 0
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGPIPE, before)
            sys.argv = argv
            logging.disable(logging.NOTSET)
        caught = self.capture.readouterr()
        return Done(code, caught.out, caught.err)


def _late(*_: object) -> None:
    raise TimeoutError(f"a command took more than {LIMIT} s")


def snapshot(folder: Path) -> dict[str, str]:
    """Return what a folder holds: every path with its kind, and files with their digest."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name == "caches" or name.endswith(".lock"):
            continue  # whose turn it is to make a cache
        if path.is_symlink() or not path.is_file():
            found[name] = "link" if path.is_symlink() else "folder"
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def temporary_files_in(folder: Path, monkeypatch: Any) -> None:
    """Have commands and those they start put temporary files into a folder."""
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


def copy(base: Path, names: tuple[str, ...], folder: Path) -> None:
    """Copy files and folders of the base."""
    for name in names:
        if (base / name).is_dir():
            shutil.copytree(base / name, folder / name)
        else:
            shutil.copy2(base / name, folder / name)


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file's content in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def refuse(command: Commands, line: str, culprit: str, main: Callable[[], None] = aaronnet.main):
    """Assert that a command refuses what it is given, in one line, and touches nothing.

    Args:
        command: runs it.
        line: its words.
        culprit: what the line has to name.
        main: the program.
    """
    before = snapshot(command.folder)
    done = command(*line.split(), main=main)
    lines = [line for line in done.err.splitlines() if "━" not in line]  # a bar is no word
    assert done.code == 2, f"exit code {done.code}: {done.err or done.out}"
    assert len(lines) == 1, done.err
    assert culprit in lines[0], lines[0]
    assert done.out == "", done.out
    assert snapshot(command.folder) == before
