"""A folding in FINN's JSON: how parallel each node is."""

from pathlib import Path
from typing import Any

from deploy.board.records import read_json
from models.errors import BadInput
from models.files import existing_file

COUNTS = ("PE", "SIMD")


def read_folding(path: str | Path) -> dict[str, dict[str, Any]]:
    """Read a folding: node name -> attributes, of which PE and SIMD are whole numbers.

    Raises:
        BadInput: it is missing or no folding file.
    """
    content = read_json(existing_file(path, "folding file"))
    for node, attributes in content.items():
        if not isinstance(attributes, dict):
            raise BadInput(f"{path} is no folding file: {ascii(node)} has no attributes")
        for name in attributes.keys() & set(COUNTS):
            value = attributes[name]
            # FINN's "Defaults" are lists of a value and the nodes that it is for.
            if node != "Defaults" and (type(value) is not int or value < 1):
                raise BadInput(
                    f"{path} is no folding file: {name} of {ascii(node)} is {ascii(value)[:40]}, "
                    "expected a whole number from 1 on"
                )
    return content
