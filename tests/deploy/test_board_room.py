"""deploy/board/ is copied to a board as it is: it must be all that the driver needs."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.board.package import Package
from deploy.virtual_board.board import Board
from deploy.virtual_board.played_dmas import PlayedDmas
from deploy.virtual_board.server import serve
from tests.deploy.packages import BOARD_PYTHON, ROOT, ToyAccelerator, needs_board_env

ROOM = ROOT / "deploy" / "board"
ADDRESS = "127.0.0.25"
THERE = {"h5py", "numpy", "pynq", "grpc", "deploy"} | sys.stdlib_module_names


def test_it_imports_what_a_board_has() -> None:
    for path in ROOM.glob("*.py"):
        # Syntax of Python 3.10, as on a PYNQ image.
        tree = ast.parse(path.read_text(), feature_version=(3, 10))
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or "."] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] in THERE, f"{path.name} imports {name}"
                assert not name.startswith("deploy") or name.startswith("deploy.board"), path.name


@needs_board_env
@pytest.mark.parametrize("command", ["validate", "predict"])
def test_a_copy_of_it_alone_is_enough(package: Package, tmp_path: Path, command: str) -> None:
    shutil.copytree(ROOM, tmp_path / "deploy" / "board", ignore=shutil.ignore_patterns("__*__"))
    shutil.copy(ROOM / "__init__.py", tmp_path / "deploy" / "board")
    shutil.copytree(package.folder, tmp_path / "package")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    data = ["--data", "package/samples.h5"] if command == "predict" else []
    with serve(Board(package, PlayedDmas(package, ToyAccelerator(package))), ADDRESS):
        done = subprocess.run(
            [str(BOARD_PYTHON), "-m", f"deploy.board.{command}", "package", *data, "-n", "24"],
            cwd=tmp_path,
            env=environment | {"PYNQ_REMOTE_DEVICES": ADDRESS},
            capture_output=True,
            text=True,
            timeout=200,
        )
    assert done.returncode == 0, done.stderr
    if command == "validate":
        assert "24 of 24 frames" in done.stdout
    else:
        assert done.stdout.count("\n") == 24
