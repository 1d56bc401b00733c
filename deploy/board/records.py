"""JSON files read into dataclasses: every key, type and number is checked, nothing is believed.

Types of fields: str (one printable line), int, float (finite), bool, dataclasses, classes that
`parse` a text, `X | None`, `int | str`, tuple[X, ...], tuple[X, Y], dict[X, Y], Any. A field
without a default must be there. What else a value has to be, `__post_init__` says by a ValueError.
"""

import dataclasses
import json
import math
import re
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from deploy.board.errors import BadInput

T = TypeVar("T")
LARGEST = 16 << 20
"""Bytes; ours have some thousand."""
_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


class _Text(str):
    """A text of a pattern."""

    pattern, what = "", ""

    @classmethod
    def parse(cls: "type[S]", text: str) -> "S":
        """Return the text.

        Raises:
            ValueError: it does not fit.
        """
        if not re.fullmatch(cls.pattern, text, re.ASCII):
            raise ValueError(f"{_shown(text)} is {cls.what}")
        return cls(text)


S = TypeVar("S", bound=_Text)


class FileName(_Text):
    """The name of a file in a known folder: no path, no option of a command."""

    pattern, what = r"\w[\w.+-]{0,199}", "no plain file name"


class FilePath(_Text):
    """File names below a known folder, with / between them."""

    pattern, what = rf"{FileName.pattern}(/{FileName.pattern}){{0,9}}", "no path inside the folder"


class Identifier(_Text):
    """A name that C++, Verilog and Python know as one."""

    pattern, what = r"[A-Za-z_]\w{0,199}", "no identifier"


class Digest(_Text):
    """A SHA-256 in hexadecimal."""

    pattern, what = r"[0-9a-f]{64}", "no SHA-256"


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file: UTF-8, no key twice, neither NaN nor infinity.

    Raises:
        BadInput: it cannot be read, or is none.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise ValueError(f"it has more than {LARGEST >> 20} MiB")
        facts = json.loads(text.decode(), object_pairs_hook=_object, parse_constant=_no_number)
        if not isinstance(facts, dict):
            raise ValueError("it holds no object")
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is damaged: {' '.join(str(error).split())}") from error
    return facts


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def record(kind: type[T], facts: Any, where: str = "", others: bool = False) -> T:
    """Return facts as a dataclass.

    Args:
        kind: the dataclass.
        facts: what JSON gave.
        where: name of the facts, for messages.
        others: let pass keys that the dataclass does not have.

    Raises:
        ValueError: a key is missing or unknown, or a value is none of its field's; one line.
    """
    if not isinstance(facts, dict):
        raise ValueError(f"{where or 'it'} is no object")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    prefix = f"{where}." if where else ""
    known = fields.keys() | set(getattr(kind, "DERIVED", ()))
    if (unknown := sorted(facts.keys() - known)) and not others:
        raise ValueError(f"{_shown(prefix + unknown[0])} is unknown")
    hints, values = typing.get_type_hints(kind), {}
    for name, field in fields.items():
        if name in facts:
            values[name] = _value(hints[name], facts[name], prefix + name, others)
        elif field.default is dataclasses.MISSING:
            raise ValueError(f"{prefix}{name} is missing")
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{prefix}{error}") from error


def left_out() -> Any:
    """Return a field whose value None `to_json` leaves out."""
    return dataclasses.field(default=None, metadata={"left_out": True})


def to_json(value: Any) -> Any:
    """Return a dataclass as plain types, field by field.

    The properties that it names in `DERIVED` follow; reading, `record` leaves them alone.
    """
    if dataclasses.is_dataclass(value):
        pairs = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return {
            field.name: to_json(part)
            for field, part in pairs
            if part is not None or "left_out" not in field.metadata
        } | {name: to_json(getattr(value, name)) for name in getattr(value, "DERIVED", ())}
    if isinstance(value, dict):
        return {key: to_json(part) for key, part in value.items()}
    return [to_json(part) for part in value] if isinstance(value, list | tuple) else value


def _value(kind: Any, value: Any, where: str, others: bool) -> Any:
    if kind is Any:
        return value
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in inner:
            return None
        some = [one for one in inner if one is not type(None)]
        fitting = next((one for one in some if one is type(value)), some[0])
        return _value(fitting, value, where, others)
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where} is no list")
        kinds = inner[:1] * len(value) if inner[-1] is ... else inner
        if len(kinds) != len(value):
            raise ValueError(f"{where} has {len(value)} entries, expected {len(kinds)}")
        pairs = enumerate(zip(kinds, value, strict=True))
        return tuple(_value(one, part, f"{where}[{i}]", others) for i, (one, part) in pairs)
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{where} is no object")
        return {
            _value(inner[0], key, f"a key of {where}", others): _value(
                inner[1], part, f"{where}[{_shown(key)}]", others
            )
            for key, part in value.items()
        }
    if dataclasses.is_dataclass(kind) and not hasattr(kind, "parse"):
        return record(typing.cast(type, kind), value, where, others)
    return _plain(kind, value, where)


def _plain(kind: Any, value: Any, where: str) -> Any:
    wanted = kind if kind in _NAMES else str
    accepted = (int, float) if wanted is float else (wanted,)
    # In Python True is an int, too.
    if type(value) not in accepted:
        raise ValueError(f"{where} is {_shown(value)}, expected {_NAMES[wanted]}")
    if wanted is float:
        if not abs(value) < math.inf or abs(value) > 1e300:
            raise ValueError(f"{where} is {_shown(value)}, expected a finite number")
        return float(value)
    if wanted is int and abs(value) >= 1 << 63:
        raise ValueError(f"{where} is out of range")
    if wanted is str and not value.isprintable():
        raise ValueError(f"{where} is {_shown(value)}: a text of one printable line is expected")
    if wanted is kind:
        return value
    try:
        return kind.parse(value)
    except (BadInput, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
