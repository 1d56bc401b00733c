"""A build is made beside the one before and takes its place in the end.

Both lie in the folder that the user named, `-o .` too: the new one in a hidden workspace until it
is whole. Then a journal is written, entries are renamed, and the journal goes. Killed before the
journal, the former build is as it was; after it, whoever comes next ends the renaming.

Only what a build of ours lists in its marker is ever replaced or removed.
"""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx

from build.layout import MARKER, PACKAGE
from deploy.board.package import VIRTUAL
from models.children import workspace
from models.errors import BadInput, CheckFailed
from models.files import writable_folder, write_json

PREFIX = ".aaronnet-build-"
JOURNAL = ".aaronnet-swap.json"

NAMES = (
    *("finn", "finn-rtllib", "intermediate_models", "report", "package", "vivado"),
    *("stitched_ip", MARKER, "report.json", "folding.json", "finn_build.yaml"),
    *("balance.png", "network.onnx", "build_dataflow.log", "libraries.log"),
    "template_specialize_layers_config.json",
)
"""What builds leave at the top of their folders, FINN+'s own entries among it."""

# A virtual board writes its overlay into the package that it serves (deploy/virtual_board).
_SERVED = re.compile(rf"{PACKAGE}/{VIRTUAL}(/[0-9a-f]{{12}}\.(bit|hwh|json))?")


@contextlib.contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Yield an empty folder in `out`; what lies in it after the block takes its place there.

    A block that raises leaves `out` as it was. After an error that is neither the user's nor a
    failed check the folder stays for whoever looks for the cause, until the next build there.

    Args:
        out: absolute; created if needed, and removed again if the block raises.

    Raises:
        BadInput: `out` cannot be written to, or holds entries of a build's names that no build
            of ours made.
    """
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        writable_folder(out)
        finish(out)
        check_ours(out, NAMES)
        with workspace(out, PREFIX, (BadInput, CheckFailed, OSError)) as folder:
            new = folder / "new"
            new.mkdir()
            yield new
            _relocate(new, out)
            _mark(new)
            _swap(out, folder)
    except BaseException:
        for folder in missing:
            with contextlib.suppress(OSError):  # somebody else put something there
                folder.rmdir()
        raise


def check_ours(out: Path, names: Iterable[str]) -> None:
    """Check that entries of these names in `out`, down to the last file, are a build's of ours.

    Raises:
        BadInput: one is not.
    """
    ours = set(_marked(out))
    for name in names:
        top = out / name
        inside = top.rglob("*") if top.is_dir() and not top.is_symlink() else ()
        for path in (top, *inside):
            there = path.exists() or path.is_symlink()
            inner = path.relative_to(out).as_posix()
            if there and inner not in ours and not _SERVED.fullmatch(inner):
                raise BadInput(
                    f"{path} was made by no build of ours, and a build would replace it; move it "
                    "or choose another folder with -o"
                )


def _marked(out: Path) -> list[str]:
    """Return what the build in `out` lists as its own; nothing if there is none."""
    with contextlib.suppress(OSError, ValueError):
        facts = json.loads((out / MARKER).read_text())
        if isinstance(facts, dict) and isinstance(listed := facts.get("files"), list):
            return [name for name in listed if isinstance(name, str)]
    return []


def _mark(new: Path) -> None:
    """Add the list of everything in a finished build to its marker."""
    facts = json.loads((new / MARKER).read_text())
    facts["files"] = sorted(path.relative_to(new).as_posix() for path in new.rglob("*"))
    write_json(new / MARKER, facts)


def _swap(out: Path, folder: Path) -> None:
    """Put `folder`/new in the place of the build in `out`."""
    new = sorted(path.name for path in (folder / "new").iterdir())
    former = sorted({name.partition("/")[0] for name in _marked(out)})
    check_ours(out, {*new, *former})  # again: the build took its time
    write_json(out / JOURNAL, {"staged": folder.name, "former": former, "new": new})
    finish(out)


def finish(out: Path) -> None:
    """End a swap that was begun in `out`; where none was, nothing happens.

    Raises:
        BadInput: the journal is none of ours.
    """
    path = out / JOURNAL
    if not path.exists():
        return
    try:
        facts = json.loads(path.read_text())
        staged_name, former, new = (facts[key] for key in ("staged", "former", "new"))
        for name in (staged_name, *former, *new):
            if not re.fullmatch(r"[\w.-]+", name) or name in (".", ".."):
                raise ValueError(name)
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(f"{path} is not what a build of ours writes; remove it") from error
    folder = out / staged_name
    aside = folder / "former"
    if folder.is_dir():
        aside.mkdir(exist_ok=True)
        for name in former:  # each once: afterwards the new one has the name
            if (out / name).exists() and not (aside / name).exists():
                (out / name).rename(aside / name)
        for name in new:
            if (folder / "new" / name).exists():
                (folder / "new" / name).rename(out / name)
    path.unlink()


def _relocate(new: Path, out: Path) -> None:
    """Make the absolute paths that FINN+ wrote into graphs, HDL and Tcl those of `out`."""
    before, after = str(new).encode(), str(out).encode()
    for path in new.rglob("*"):
        if path.is_relative_to(new / PACKAGE):
            continue  # sealed, and without paths
        if path.is_symlink():
            target = str(path.readlink())
            if target.startswith(f"{new}/"):
                path.unlink()
                path.symlink_to(target.replace(str(new), str(out), 1))
        elif path.is_file() and before in (content := path.read_bytes()):
            if path.suffix == ".onnx":
                _relocate_graph(path, before, after)
            elif b"\0" not in content:
                path.write_bytes(content.replace(before, after))


def _relocate_graph(path: Path, before: bytes, after: bytes) -> None:
    model = onnx.load(path)
    for node in model.graph.node:
        for attribute in node.attribute:
            if before in attribute.s:
                attribute.s = attribute.s.replace(before, after)
            attribute.strings[:] = [text.replace(before, after) for text in attribute.strings]
    for entry in model.metadata_props:
        entry.value = entry.value.replace(before.decode(), after.decode())
    onnx.save(model, path)


def free_name(path: Path) -> Path:
    """Return `path`, or where something is there already a name beside it that is free."""
    number = 1
    chosen = path
    while chosen.exists():
        number += 1
        chosen = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return chosen
