"""Verilator's runtime library, compiled once for all simulators.

It is the same for every design. What the first build has compiled is lent to the later ones.
"""

import shutil
from pathlib import Path

from models.files import atomic, sha256, write_text

OBJECTS = ("verilated.o", "verilated_dpi.o", "verilated_threads.o")


def whole(file: Path) -> bool:
    """Whether a cached file is there as it was built; its digest lies beside it."""
    try:
        return file.with_suffix(".sha256").read_text().strip() == sha256(file)
    except (OSError, ValueError):
        return False


def lend(kept: Path, work: Path) -> list[str]:
    """Put what there is of the runtime into a build's folder.

    Args:
        kept: folder in the cache, for these flags and this compiler.
        work: where make will look for objects; created.

    Returns:
        arguments for Verilator that keep make from compiling these again.
    """
    work.mkdir(parents=True, exist_ok=True)
    there = [name for name in OBJECTS if whole(kept / name)]
    for name in there:
        shutil.copy(kept / name, work)
    return [argument for name in there for argument in ("-MAKEFLAGS", f"-o {name}")]


def keep(kept: Path, work: Path) -> None:
    """Keep what a build has compiled of the runtime; another process may do so at the same time."""
    kept.mkdir(parents=True, exist_ok=True)
    for name in OBJECTS:
        if (work / name).exists() and not whole(kept / name):
            with atomic(kept / name) as temporary:
                shutil.copy(work / name, temporary)
            write_text((kept / name).with_suffix(".sha256"), sha256(work / name))
