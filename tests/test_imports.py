"""What imports what: the rule of docs/architecture.md, for every import there is.

Imports inside functions and those for type checkers count: a circle that hides in a function is one
for whoever reads.
"""

import ast
import graphlib
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

STAGES = ("models", "training", "build", "deploy")
GROUND = "deploy.board"  # copied to a board as it is; every stage may import it
ON_A_BOARD = {"numpy", "h5py", "pynq", "grpc"}  # pynq brings grpc, for boards on a network

# Which room (a folder with modules) imports from which others.
ROOMS = {
    "deploy.board": set(),
    "models": {"deploy.board"},
    "training": {
        "deploy.board",
        "models",
        "training.kernels",
        "training.pictures",
        "training.recordings",
        "training.synthesis",
    },
    "training.recordings": {
        "deploy.board",
        "models",
        "training",
        "training.pictures",
        "training.synthesis",
    },
    "training.kernels": {"models"},
    "training.pictures": {"deploy.board", "models", "training", "training.synthesis"},
    "training.synthesis": {"deploy.board", "models"},
    "build": {
        "deploy.board",
        "models",
        "training.pictures",
        "training.synthesis",
        "build.integers",
        "build.rtl",
        "build.shell",
        "build.simulation",
        "build.sparse",
        "build.steps",
    },
    "build.shell": {"models", "build", "build.rtl", "build.simulation"},
    "build.integers": {"models", "build", "build.steps"},
    "build.rtl": {"models", "build"},
    "build.simulation": {"deploy.board", "models", "training.synthesis", "build", "build.rtl"},
    "build.steps": {"models", "build", "build.rtl", "build.simulation"},
    "build.sparse": {
        "models",
        "build",
        "build.integers",
        "build.rtl",
        "build.shell",
        "build.simulation",
        "build.steps",
    },
    "deploy": {
        "models",
        "training.recordings",
        "build",
        "deploy.board",
        "deploy.demo",
        "deploy.virtual_board",
    },
    "deploy.virtual_board": {"deploy.board", "models", "build", "build.rtl", "build.simulation"},
    "deploy.demo": {
        "deploy",
        "deploy.board",
        "models",
        "training",
        "training.pictures",
        "training.synthesis",
        "build",
        "build.simulation",
        "build.sparse",
    },
    "": {"models", "training", "build", "deploy"},  # aaronnet.py
}

# File names that several rooms may have, and why.
SHARED_NAMES = {
    "__init__.py": "makes a folder a package",
    "cli.py": "the commands of a stage",
    "errors.py": "the host's errors are the board's",
    "files.py": "how files are written; the host adds reading them",
    "package.py": "the accelerator package: the build writes it, a board reads it",
    "zoo.py": "the zoo: what is in it, and how a trained network gets in",
    "console.py": "talks to the user: with rich on the host, without on a board",
    "aaronnet.py": "the network bears the project's name, and so does the command",
}


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    name_of(file): file
    for file in (
        *(f for stage in STAGES for f in (ROOT / stage).rglob("*.py")),
        ROOT / "aaronnet.py",
    )
}


def room_of(module: str) -> str:
    return module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]


def imports(source: str, room: str) -> Iterator[str]:
    """Yield the name of every module that a source in a room imports, wherever it does."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = room.split(".")[: room.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in FILES else base
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in ("import_module", "__import__"):
                assert isinstance(node.args[0], ast.Constant), ast.unparse(node)
                yield node.args[0].value


IMPORTS = {name: set(imports(file.read_text(), room_of(name))) for name, file in FILES.items()}
OURS = {name: {other for other in found if other in FILES} for name, found in IMPORTS.items()}


def test_every_kind_of_import_is_seen():
    source = """
import numpy as np, models.files
from build import boards
from . import predict
from ..demo.chain import run
if TYPE_CHECKING:
    import torch.nn
def later():
    from models.errors import BadInput
    importlib.import_module("h5py")
"""
    assert set(imports(source, GROUND)) == {
        "numpy",
        "models.files",
        "build.boards",
        "deploy.board.predict",
        "deploy.demo.chain",
        "torch.nn",
        "models.errors",
        "h5py",
    }
    assert len(FILES) > 80 and sum(map(len, OURS.values())) > 250


def test_rooms_import_only_what_the_list_allows():
    wrong = [
        f"{name} imports {other}"
        for name, others in OURS.items()
        for other in others
        if room_of(other) not in ROOMS.get(room_of(name), set()) | {room_of(name)}
    ]
    assert not wrong, "see ROOMS in this file and docs/architecture.md"


def test_the_list_itself_goes_only_leftwards():
    for room, others in ROOMS.items():
        if not room:
            continue
        for other in others - {GROUND}:
            assert STAGES.index(other.split(".")[0]) <= STAGES.index(room.split(".")[0]), (
                room,
                other,
            )


def test_what_is_copied_to_a_board_needs_only_what_a_board_has():
    names = [name for name in FILES if room_of(name) == GROUND]
    assert len(names) > 8
    allowed = ON_A_BOARD | sys.stdlib_module_names
    wrong = [
        f"{name} imports {other}"
        for name in names
        for other in IMPORTS[name]
        if other.split(".")[0] not in allowed and not f"{other}.".startswith(f"{GROUND}.")
    ]
    assert not wrong


def test_no_module_imports_itself_through_others():
    try:
        tuple(graphlib.TopologicalSorter(OURS).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_one_file_name_has_one_meaning():
    folders = defaultdict(set)
    for file in FILES.values():
        folders[file.name].add(str(file.parent.relative_to(ROOT)))
    several = {name: where for name, where in folders.items() if len(where) > 1}
    assert {n: w for n, w in several.items() if n not in SHARED_NAMES} == {}
    assert set(SHARED_NAMES) <= set(several), "SHARED_NAMES excuses what is not there"


def test_no_module_hides_one_of_the_standard_library():
    files = [*FILES.values(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "docs").rglob("*.py")]
    assert [str(f.relative_to(ROOT)) for f in files if f.stem in sys.stdlib_module_names] == []


def test_the_command_line_starts_without_what_is_heavy():
    heavy = {
        "torch",
        "brevitas",
        "qonnx",
        "onnx",
        "finn",
        "lightning",
        "matplotlib",
        "h5py",
        "numpy",
    }
    program = f"import sys, aaronnet; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr
