"""Files written whole or not at all; what is no regular file is written to, never replaced."""

import contextlib
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.board.errors import BadInput


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block succeeds.

    Parent folders are created. When the block raises, the temporary file goes and whatever was at
    `path` before stays. A link keeps pointing where it does: what it points to is written. A
    device, a pipe or an open file (/dev/stdout) gets the bytes once they are all there.

    Raises:
        BadInput: `path` cannot be written to.
    """
    path = Path(path)
    try:
        with contextlib.ExitStack() as stack:
            if special(path):
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                temporary = folder / f"content{path.suffix}"
                yield temporary
                _pour(temporary, path)
            else:
                target = Path(os.path.realpath(path))
                if target.is_dir():
                    raise BadInput(f"cannot write {path}: it is a folder")
                name = f".{target.name}.{os.getpid()}.tmp{target.suffix}"
                temporary = writable_folder(target.parent) / name
                stack.callback(temporary.unlink, missing_ok=True)
                yield temporary
                temporary.replace(target)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror or error}") from error


def special(path: str | Path) -> bool:
    """Return whether `path` is written to as it is: a device, a pipe, a descriptor of ours."""
    path = Path(path)
    if _descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def check_target(path: str | Path | None) -> None:
    """Find out before any work, and without touching anything, that a file cannot be written.

    Raises:
        BadInput: `path` is a folder, or its folder cannot be written to or created.
    """
    if path is None or special(path):
        return  # to open a pipe would wait for its reader
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise BadInput(f"cannot write {path}: it is a folder")
    folder = next(above for above in target.parents if os.path.lexists(above))
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise BadInput(f"cannot write {path}: {folder} is no folder that can be written to")


def check_apart(path: str | Path | None, *read: str | Path | None) -> None:
    """Find out before any work that a file to write is none of those that are read.

    Args:
        path: the file to write; None is none.
        read: files, and folders of whose files none may be written.

    Raises:
        BadInput: it is one of them, or lies in one of them.
    """
    if path is None:
        return
    target = Path(os.path.realpath(path))
    for other in read:
        if other is None:
            continue
        kept = Path(os.path.realpath(other))
        if kept in (target, *target.parents):
            raise BadInput(f"cannot write {path}: {other} is read; choose another file")


def regular_target(path: str | Path, what: str = "file") -> Path:
    """Return where `path` leads to, for what is written in place, piece by piece.

    Raises:
        BadInput: a device, a pipe or a folder is there.
    """
    path = Path(path)
    if special(path) or path.is_dir():
        kind = "a folder" if path.is_dir() else "no regular file"
        raise BadInput(f"{what} {path} is {kind}; give the file to write")
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def writable_folder(path: str | Path) -> Path:
    """Create the folder `path` if needed and return it once a file could be created in it.

    Raises:
        BadInput: the folder cannot be created or written to.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        # Asking the file system beats reading permission bits: it knows read-only mounts too.
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise BadInput(f"cannot write to folder {path}: {reason}; choose another") from error
    return path


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, see `atomic`; it ends with a new line."""
    with atomic(path) as temporary:
        temporary.write_text(text + "\n")


def write_json(path: str | Path, facts: dict[str, Any]) -> None:
    """Write `facts` to `path`, keys sorted; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(facts, indent=2, sort_keys=True, allow_nan=False))


def _pour(source: Path, path: Path) -> None:
    """Copy a finished file into what is no regular file."""
    descriptor = _descriptor(path)
    if descriptor is None:
        opened = os.open(path, os.O_WRONLY)
    else:
        sys.stdout.flush()  # what was printed before stays before
        opened = os.dup(descriptor)  # shares the position: opening it again would start over
    with source.open("rb") as file, os.fdopen(opened, "wb") as out:
        shutil.copyfileobj(file, out)


def _descriptor(path: Path) -> int | None:
    """Return which open file of this process a path like /dev/stdout or /dev/fd/3 names."""
    for _ in range(40):  # as many links as Linux follows
        if os.path.realpath(path.parent) == f"/proc/{os.getpid()}/fd" and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None
