"""Networks that are classes in files of the user's own: which code they are, and who lets it run.

A checkpoint holds no code. It remembers the file, the class and the SHA-256 of the source; what it
remembers runs only where the user says so (`Trust`), and only unchanged, unless he names the file.
A file stands for itself: it is run without its folder on Python's path, so that the digest is that
of all the code which the network does not share with everybody.
"""

import hashlib
import inspect
import sys
import types
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from models.errors import BadInput
from models.files import existing_file


@dataclass(frozen=True)
class Origin:
    """Where a class came from.

    Attributes:
        file: absolute path of the source, as it was then; its name alone in the zoo and in exports.
        cls: name of the class in it.
        digest: SHA-256 of the source.
    """

    file: str
    cls: str
    digest: str


@dataclass(frozen=True)
class Trust:
    """Which code of a checkpoint's may run.

    Attributes:
        remembered: the file that the checkpoint remembers, if it is unchanged (`--trust`).
        file: this file, whatever its digest is (`--code FILE`).
    """

    remembered: bool = False
    file: Path | None = None


_admitted: dict[tuple[str, str], type[nn.Module]] = {}
"""Classes whose code this process has run, by digest and name: they need no further word."""


def parse_network(text: str) -> tuple[Path, str]:
    """Read FILE.py:CLASS.

    Raises:
        BadInput: it is none, or there is no such file.
    """
    file, colon, cls = text.rpartition(":")
    if not colon or not file or not cls.isidentifier():
        raise BadInput(f"--network takes FILE.py:CLASS, such as net.py:Net, not {text!r}")
    return existing_file(file, "network file"), cls


def load_class(file: Path, cls: str) -> Origin:
    """Run a file of the user's and admit a class of it.

    Raises:
        BadInput: the file raises, or holds no such class of networks.
    """
    return _run(file, cls, _source(file))


def class_of(origin: Origin) -> type[nn.Module]:
    """Return an admitted class.

    Raises:
        BadInput: its code was not run in this process.
    """
    found = _admitted.get((origin.digest, origin.cls))
    if found is None:
        raise BadInput(f"the class {origin.cls} needs the code of {origin.file}; trust it first")
    return found


def admit(origin: Origin, trust: Trust, checkpoint: Path) -> Origin:
    """Have a checkpoint's class run if it may, and return where it was found.

    The file is looked for where it was, then beside the checkpoint.

    Raises:
        BadInput: it may not, is gone, has changed, or raises.
    """
    what = f"checkpoint {checkpoint} needs code, the class {origin.cls} of {origin.file}"
    if trust.file is not None:
        return load_class(existing_file(trust.file, "network file"), origin.cls)
    if (origin.digest, origin.cls) in _admitted:
        return origin
    if not trust.remembered:
        raise BadInput(f"{what}: --trust lets it run if it is unchanged, --code FILE another file")
    places = [Path(origin.file), checkpoint.absolute().with_name(Path(origin.file).name)]
    there = [place for place in places if place.is_file()]
    for place in there:
        source = _source(place)
        if hashlib.sha256(source).hexdigest() == origin.digest:
            return _run(place, origin.cls, source)
    if there:
        raise BadInput(f"{what}, which has changed since; --code {there[0]} lets it run as it is")
    raise BadInput(f"{what}, which is gone, and not beside it; name the file by --code FILE")


def made(cls: type[nn.Module]) -> nn.Module:
    """Return a network of an admitted class.

    Raises:
        BadInput: it needs arguments, or raises.
    """
    try:
        inspect.signature(cls).bind()
    except TypeError as error:
        raise BadInput(
            f"{cls.__name__}() is called without arguments, and that does not fit: {error}; give "
            "them defaults"
        ) from error
    return guarded(f"{cls.__name__}()", cls)


def guarded(what: str, call, *arguments):  # noqa: ANN001, ANN201
    """Return what code of the user's gives.

    Raises:
        BadInput: it raises whatever it likes; the message says what in a line.
    """
    try:
        return call(*arguments)
    except (Exception, SystemExit) as error:
        said = " ".join(str(error).split())
        raise BadInput(f"{what} raises {type(error).__name__}: {said[:300]}") from error


def _source(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadInput(f"network file {file} cannot be read: {error.strerror}") from error


def _run(file: Path, cls: str, source: bytes) -> Origin:
    """Run the source that was read, which is the one that the digest is of."""
    origin = Origin(str(file.resolve()), cls, hashlib.sha256(source).hexdigest())
    if (origin.digest, cls) in _admitted:
        return origin
    try:
        code = compile(source, str(file), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = f" line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        what = error.msg if isinstance(error, SyntaxError) else str(error)
        raise BadInput(f"network file {file} is no Python:{line} {what}") from error
    name = f"_network_{origin.digest[:16]}"
    module = types.ModuleType(name)
    module.__file__ = origin.file
    sys.modules[name] = module  # where dataclasses and copies look for it
    guarded(f"network file {file}", exec, code, module.__dict__)
    _admitted[origin.digest, cls] = _class(file, module, cls)
    return origin


def _class(file: Path, module: types.ModuleType, cls: str) -> type[nn.Module]:
    found = vars(module).get(cls)
    if isinstance(found, type) and issubclass(found, nn.Module):
        return found
    if found is not None:
        raise BadInput(f"{cls} of {file} is no network: it must be a class of torch.nn.Module")
    own = [
        key
        for key, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]
    raise BadInput(f"network file {file} has no class {cls}; it has {', '.join(own) or 'none'}")
