"""Artefacts on disk: written whole or not at all, identified by their digest.

A board writes files too, so how that is done is on the ground floor.
"""

import hashlib
import os
from pathlib import Path

from deploy.board.files import atomic as atomic
from deploy.board.files import check_apart as check_apart
from deploy.board.files import check_target as check_target
from deploy.board.files import regular_target as regular_target
from deploy.board.files import special as special
from deploy.board.files import writable_folder as writable_folder
from deploy.board.files import write_json as write_json
from deploy.board.files import write_text as write_text
from models.errors import BadInput


def existing_file(path: str | Path, what: str = "file") -> Path:
    """Return `path` as a Path if it is a readable file.

    Raises:
        BadInput: there is no such file, or it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        kind = "does not exist"
        if path.is_dir():
            kind = "is a folder"
        elif path.exists():
            kind = "is no regular file; copy what it gives into one"
        raise BadInput(f"{what} {path} {kind}")
    if not os.access(path, os.R_OK):
        raise BadInput(f"{what} {path} is not readable; check its permissions")
    return path


def sha256(path: str | Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
