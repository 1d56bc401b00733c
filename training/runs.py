"""A run's folder: which run it holds, so that only the same one goes on in it, and what it made.

`run.json` is written before anything else. It marks the folder as ours: only what a run of ours
made there is ever replaced or removed, and only the run that it describes goes on there.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from models.errors import BadInput
from models.files import writable_folder, write_json
from training.processes import first_process

RECORD = "run.json"
Kind = Literal["training", "pruning", "search"]
GIVE_UP = "--no-resume starts anew, another -o leaves it alone"


@dataclass(frozen=True)
class Identity:
    """Everything that changes what a run ends with.

    Where its files lie, the kind of processor, and how many processes prepare batches do not.

    Attributes:
        kind: which work it is.
        network: the configuration (`NetConfig.to_dict`).
        start: `digest_of` (`models.checkpoint`) the network that it goes on from; None: scratch.
        how: the recipe; for pruning also method, plan and retraining.
        data: what it learns from (`LabelledData.identity`).
        teacher: whom it learns from (`Distillation.identity`).
        seed: of the initial weights.
        precision: Lightning's name of the arithmetic.
        processes: that share each step.
        batches_per_epoch: where epochs are shorter than the data.
    """

    kind: Kind
    network: dict[str, Any]
    start: str | None
    how: dict[str, Any]
    data: dict[str, Any]
    teacher: dict[str, Any] | None
    seed: int
    precision: str
    processes: int
    batches_per_epoch: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, as they come back from JSON."""
        return json.loads(json.dumps(asdict(self)))


def open_run(out: str | Path, identity: Identity, made: Sequence[str], resume: bool) -> Path:
    """Return the folder `out`, marked as holding this run, whether begun before or new.

    Args:
        out: the folder.
        identity: of the run.
        made: names and patterns of all that such a run writes there.
        resume: go on with what is there; False removes it first.

    Raises:
        BadInput: the folder holds another run or files that are none of ours, or is not writable.
    """
    folder = Path(out)
    if not first_process():
        return folder
    record = folder / RECORD
    if record.is_file():
        there = _read(record)
        if there["kind"] != identity.kind:
            raise BadInput(f"{folder} holds a {there['kind']} run; choose another folder with -o")
        if resume:
            if told := differences(there, identity.to_dict()):
                raise BadInput(f"{folder} holds a run with {told}; {GIVE_UP}")
            writable_folder(folder)
            return folder
        remove(folder, made)
    elif foreign := next(_there(folder, made), None):
        raise BadInput(
            f"{foreign} was not made by a run that {folder} has a {RECORD} of; choose another "
            "folder with -o"
        )
    write_json(writable_folder(folder) / RECORD, identity.to_dict())
    return folder


def remove(folder: Path, made: Sequence[str]) -> None:
    """Remove what a run of ours made in its folder; whatever else lies there stays."""
    for path in list(_there(folder, made)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def remove_run(folder: Path, made: Sequence[str]) -> None:
    """Remove a run's files, its record, and the folder if nothing else is in it."""
    if not (folder / RECORD).is_file():
        return
    remove(folder, made)
    (folder / RECORD).unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def differences(there: dict[str, Any], here: dict[str, Any]) -> str:
    """Name what differs between two identities, in a line; "" if nothing does."""
    one, other = dict(_flat("", there)), dict(_flat("", here))
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return ", ".join(
        f"{name} {_short(one.get(name))} instead of {_short(other.get(name))}" for name in names
    )


def _flat(prefix: str, values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{prefix} {key}" if prefix else key
        if isinstance(value, dict):
            yield from _flat(name.removeprefix("how "), value)
        else:
            yield name.removeprefix("how "), value


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."


def _read(record: Path) -> dict[str, Any]:
    try:
        found = json.loads(record.read_text())
        if isinstance(found, dict) and isinstance(found.get("kind"), str):
            return found
    except (OSError, ValueError):
        pass
    raise BadInput(f"{record} is damaged; choose another folder with -o, or remove this one")


def _there(folder: Path, made: Sequence[str]) -> Iterator[Path]:
    """Yield what is there of what a run makes, what a killed one left half-written included."""
    for pattern in made:
        yield from sorted(folder.glob(pattern))
        yield from sorted(folder.glob(f".{pattern}.*.tmp*"))
