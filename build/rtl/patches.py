"""Patches to finn-rtllib 1.6.1 that Verilator and Yosys need: the files in `finn_patches/`.

FINN's sources themselves stay as installed. `patched` reads one of them and returns the text with
our edits, which goes into the folder where a simulator or a netlist is built. Every patch says in
its first lines why it is needed and changes no behaviour. A patch is a unified diff, applied more
strictly than `patch` does: each hunk must find its old lines exactly once, so that another version
of FINN fails loudly instead of being half-patched.
"""

import dataclasses
import functools
from pathlib import Path

from models.errors import CheckFailed

FOLDER = Path(__file__).parent / "finn_patches"


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
def patches() -> tuple[Patch, ...]:
    """Return all patches."""
    return tuple(parse(path.read_text()) for path in sorted(FOLDER.glob("*.patch")))


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
    if path.resolve().is_relative_to(rtllib()):
        name = str(path.resolve().relative_to(rtllib()))
        for patch in patches():
            if patch.file == name:
                text = apply(text, patch)
    return text
