"""Patches to finn-rtllib 1.6.1: the files in `finn_patches/`.

Most only help Verilator and Yosys to read a file; one repairs a fault, so hardware wants it too.
FINN's installed sources stay as they are. `install` makes a patched copy of the library in a build
folder and lets FINN generate from it; `patched` reads a single file, patched if FINN still uses
its own library. Every patch says in its first lines why it is needed. It is a unified diff, applied
more strictly than `patch` does: each hunk must find its old lines exactly once, so that another
version of FINN fails loudly instead of being half-patched.
"""

import dataclasses
import functools
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from build.environment import RTLLIB
from models.errors import CheckFailed

FOLDER = Path(__file__).parent / "finn_patches"
YOSYS = FOLDER / "yosys"
STAMP = "patched-by-aaronnet"
UNUSED = {"tb", "doc", "__pycache__"}


@dataclasses.dataclass(frozen=True)
class Patch:
    """A patch to one file of finn-rtllib."""

    file: str  # path inside finn-rtllib
    why: str
    hunks: tuple[tuple[str, str], ...]  # old text, new text


def parse(text: str) -> Patch:
    """Parse a unified diff of one file with `#` lines in front."""
    why = " ".join(line[1:].strip() for line in text.splitlines() if line.startswith("#"))
    target = next(line for line in text.splitlines() if line.startswith("--- a/"))
    hunks = []
    for hunk in text.split("\n@@ ")[1:]:
        lines = hunk.splitlines(keepends=True)[1:]
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        hunks.append((old, new))
    return Patch(target.removeprefix("--- a/"), why, tuple(hunks))


@functools.cache
def patches(folder: Path = FOLDER) -> tuple[Patch, ...]:
    """Return all patches of a folder."""
    return tuple(parse(path.read_text()) for path in sorted(folder.glob("*.patch")))


def apply(text: str, patch: Patch) -> str:
    """Return the text of a file with a patch applied.

    Raises:
        CheckFailed: the old lines of a hunk do not occur exactly once.
    """
    for old, new in patch.hunks:
        count = text.count(old)
        if count != 1:
            raise CheckFailed(
                f"finn-rtllib/{patch.file} is not the one our patch was made for (finn-plus 1.6.1):"
                f" found {count} times instead of once: {old.strip().splitlines()[0].strip()!r}"
            )
        text = text.replace(old, new)
    return text


def rtllib() -> Path:
    """Return the folder of FINN's RTL library as FINN is configured."""
    from finn.util.settings import get_settings

    return Path(get_settings().finn_rtllib).resolve()


def patched(path: Path) -> str:
    """Return the text of an HDL file, patched if there is a patch for it.

    Raises:
        CheckFailed: the patch does not fit the file.
    """
    text = path.read_text()
    if path.resolve().is_relative_to(rtllib()) and not (rtllib() / STAMP).exists():
        text = _apply_all(text, str(path.resolve().relative_to(rtllib())), patches())
    return text


def patched_for_yosys(name: str, text: str) -> str:
    """Return the (patched) text of a file of that name with the patches that only Yosys needs.

    They give it shift registers in the form it recognises, and are for counting resources only.
    """
    known = [patch for patch in patches(YOSYS) if Path(patch.file).name == name]
    return _apply_all(text, known[0].file, known) if known else text


def _apply_all(text: str, name: str, candidates: Iterable[Patch]) -> str:
    for patch in candidates:
        if patch.file == name:
            text = apply(text, patch)
    return text


def install(folder: Path) -> Path:
    """Copy finn-rtllib, patched, to `folder` and let FINN and its Tcl use the copy from now on.

    Raises:
        CheckFailed: a patch does not fit.
        OSError: as the disk is full (ENOSPC), say.
    """
    from finn.util.settings import get_settings

    source = rtllib()
    if (source / STAMP).exists():
        os.environ[RTLLIB] = str(source)
        return source
    texts = {patch.file: patched(source / patch.file) for patch in patches()}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # Not shutil.copytree: of a full disk it makes an error that no longer says so.
    for path in source.rglob("*"):
        inside = path.relative_to(source)
        if path.is_file() and UNUSED.isdisjoint(inside.parts):
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / inside)
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / STAMP).touch()
    get_settings().finn_rtllib = folder
    os.environ[RTLLIB] = str(folder)
    return folder


def step_patch_rtllib(model: Any, cfg: Any) -> Any:
    """Builder step before HDL generation: generate from a patched copy of finn-rtllib."""
    install(Path(cfg.output_dir).absolute() / "finn-rtllib")
    return model
