"""Trained checkpoints that come with the project: `models/zoo/NAME.pth` and its card NAME.json.

A card says how the checkpoint came about and what it reaches; `training.zoo.add` writes it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import BadInput

FOLDER = Path(__file__).with_name("zoo")
NAMES = (
    "vgg10",
    *("aaronnet32", "aaronnet32+", "aaronnet32++"),
    *("aaronnet48", "aaronnet48+", "aaronnet48++"),
    *("aaronnet32++-hw8", "aaronnet32++-hw6", "aaronnet48+-hw8", "aaronnet48+-hw6"),
)
"""What the zoo is to hold; a name whose checkpoint is missing has not been trained yet."""

LARGEST_SCORE = {
    "aaronnet32+": 0.0307,
    "aaronnet32++": 0.0157,
    "aaronnet48+": 0.0432,
    "aaronnet48++": 0.0236,
}
"""Official cost that a pruned variant may have at most: the published one's."""


@dataclass(frozen=True)
class Entry:
    """A checkpoint of the zoo.

    Attributes:
        name: what commands take instead of a path.
        path: the checkpoint.
        card: plain types: `data_label`, `accuracy`, `accuracy_per_snr`, `tested_on`, `score`,
            `nonzero_weights`, `parameters`, `seed`, `command`, `continue`, `frames`, `epochs`,
            `wall_seconds`, `device`, `sha256`.
    """

    name: str
    path: Path
    card: dict[str, Any]


def entries(folder: Path = FOLDER) -> list[Entry]:
    """Return the checkpoints that are there, in the order of `NAMES`, then others by name.

    Raises:
        BadInput: a card is missing or damaged.
    """
    found = {path.stem: path for path in folder.glob("*.pth")}
    known = [name for name in NAMES if name in found]
    return [_entry(name, found[name]) for name in [*known, *sorted(found.keys() - set(known))]]


def _entry(name: str, path: Path) -> Entry:
    card = path.with_name(f"{name}.json")
    try:
        return Entry(name, path, json.loads(card.read_text()))
    except (OSError, ValueError) as error:
        raise BadInput(f"{name} has no readable card {card.name} beside it: {error}") from error


def find(text: str | Path, folder: Path = FOLDER) -> Path:
    """Return the path of a checkpoint given by path or zoo name; paths that exist come first.

    Raises:
        BadInput: the name is one of the zoo's, but its checkpoint is not there.
    """
    path = Path(text)
    if path.exists() or path.name != str(text) or path.suffix == ".pth":
        return path
    inside = folder / f"{text}.pth"
    if inside.is_file():
        return inside
    if str(text) in NAMES:
        here = ", ".join(entry.name for entry in entries(folder)) or "nothing yet"
        raise BadInput(f"the zoo has no trained {text}; it holds {here}")
    return path
