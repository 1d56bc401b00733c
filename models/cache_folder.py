"""Where what is expensive to make is kept, and how processes take turns at making it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from models.errors import BadInput


def cache_folder(named: str | Path | None = None, default: str | Path | None = None) -> Path:
    """Return the absolute folder for caches; nothing is created.

    It is what the user named, else the environment variable AARONNET_CACHE, else `default`, else
    the user's own folder for caches: $XDG_CACHE_HOME/aaronnet or ~/.cache/aaronnet.

    Raises:
        BadInput: there is no home to put in the place of ~.
    """
    folder = named or os.environ.get("AARONNET_CACHE") or default
    if not folder:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "aaronnet"
    try:
        return Path(folder).expanduser().absolute()
    except RuntimeError as error:
        raise BadInput(
            f"cannot tell where {folder} is: {error}; name a folder for caches in AARONNET_CACHE"
        ) from error


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a file or folder of a cache: other processes that ask for it wait meanwhile.

    The lock is a file beside `path`, which may itself be replaced. It stays there, empty; a process
    that dies gives up what it held.

    Raises:
        BadInput: the lock cannot be made.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(
            f"cannot lock {path}: {reason}; name another folder for caches in AARONNET_CACHE"
        ) from error
    try:
        yield
    finally:
        lock.release()
