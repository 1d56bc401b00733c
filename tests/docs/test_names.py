"""Files, modules and functions that pages, docstrings and comments mention exist."""

import ast
import re
from pathlib import Path

from tests.conftest import ROOT

STAGES = ("models", "training", "build", "deploy")
FOLDERS = (*STAGES, "tests", "docs", "docker", "notebooks")
ENDINGS = ("py", "sv", "cpp", "md", "json", "patch", "ipynb", "sh", "jinja", "txt", "svg", "proto")

PATH = re.compile(rf"(?<![\w./~-])(?:{'|'.join(FOLDERS)})/[\w./+-]*?\w\.(?:{'|'.join(ENDINGS)})\b")
FOLDER = re.compile(rf"`((?:{'|'.join(FOLDERS)})/(?:[\w.-]+/)*)`")
TEST = re.compile(r"(?<![\w/.*])test_\w+\.py\b")
BARE = re.compile(r"`(\w+\.(?:py|sv|jinja))`")
DOTTED = re.compile(rf"`((?:{'|'.join(STAGES)})(?:\.\w+)+)(?<!\.json)(?<!\.md)`")

TEXTS = sorted(
    path
    for pattern in ("*.py", "*.md", "*.sv", "*.sh", "*.ipynb", "*.cpp", "Makefile", "Dockerfile.*")
    for folder in (".", *FOLDERS)
    for path in (ROOT / folder).glob(pattern if folder == "." else f"**/{pattern}")
)


def mentions(pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    """Return (file, what it mentions)."""
    return [
        (path.relative_to(ROOT).as_posix(), match.group(match.lastindex or 0))
        for path in TEXTS
        if path != Path(__file__)
        for match in pattern.finditer(path.read_text())
    ]


def exists(name: str) -> bool:
    """Whether a dotted name is a module of ours, or something that one defines or imports."""
    module, _, attribute = name.rpartition(".")
    for whole, rest in ((name, ""), (module, attribute)):
        base = ROOT.joinpath(*whole.split("."))
        files = [file for file in (base.with_suffix(".py"), base / "__init__.py") if file.exists()]
        if files:
            return not rest or rest in defined(files[0])
    # A method, or an attribute of a class.
    return "." in module and exists(module)


def defined(file: Path) -> set[str]:
    """Return the names at the top of a module."""
    found = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {
                leaf.id for t in targets for leaf in ast.walk(t) if isinstance(leaf, ast.Name)
            }
    return found


def test_mentioned_files_exist():
    found = mentions(PATH)
    assert len(found) > 50
    # NAME stands for any.
    assert {(f, n) for f, n in found if "NAME" not in n and not (ROOT / n).is_file()} == set()


def test_mentioned_folders_exist():
    found = mentions(FOLDER)
    assert len(found) > 15
    assert {(f, n) for f, n in found if not (ROOT / n).is_dir()} == set()


def test_files_mentioned_by_name_alone_exist():
    names = {path.name for path in TEXTS}
    for pattern in (TEST, BARE):
        found = mentions(pattern)
        assert found
        assert {(f, n) for f, n in found if n not in names} == set()


def test_mentioned_names_exist():
    found = mentions(DOTTED)
    assert len(found) > 20
    assert {(f, n) for f, n in found if not exists(n)} == set()


def test_what_does_not_exist_is_noticed():
    assert exists("models.files.atomic") and exists("models.checkpoint.Checkpoint.data_label")
    assert not exists("models.files.nothing") and not exists("models.nothing")
    assert PATH.findall("see tests/build/test_x.py") == ["tests/build/test_x.py"]
