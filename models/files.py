"""Artefacts on disk: written whole or not at all, identified by their digest."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.errors import BadInput


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that becomes `path` when the block succeeds.

    Parent folders are created. When the block raises, the temporary file goes and whatever was at
    `path` before stays.

    Raises:
        BadInput: `path` cannot be written to.
    """
    path = Path(path)
    temporary = writable_folder(path.parent) / f".{path.name}.{os.getpid()}.tmp{path.suffix}"
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


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


def check_target(path: str | Path | None) -> None:
    """Find out before any work, and without touching anything, that a file cannot be written.

    Raises:
        BadInput: `path` is a folder, or its folder cannot be written to or created.
    """
    if path is None:
        return
    path = Path(path)
    if path.is_dir():
        raise BadInput(f"cannot write {path}: it is a folder")
    folder = path.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise BadInput(f"cannot write {path}: {folder} is no folder that can be written to")


def existing_file(path: str | Path, what: str = "file") -> Path:
    """Return `path` as a Path if it is a readable file.

    Raises:
        BadInput: there is no such file, or it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "does not exist"
        raise BadInput(f"{what} {path} {kind}")
    if not os.access(path, os.R_OK):
        raise BadInput(f"{what} {path} is not readable; check its permissions")
    return path


def write_json(path: str | Path, facts: dict[str, Any]) -> None:
    """Write `facts` to `path`, keys sorted; NaN is refused, since JSON has none."""
    with atomic(path) as temporary:
        text = json.dumps(facts, indent=2, sort_keys=True, allow_nan=False)
        temporary.write_text(text + "\n")


def sha256(path: str | Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
