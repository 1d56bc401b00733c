"""`pip install build` puts a package into the environment that has the name of our folder."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPT = """#!{python}
import sys
from aaronnet import main
sys.exit(main())
"""
SPAWN = """
import multiprocessing

import aaronnet


def where():
    import build.cli

    print(build.cli.__file__)


if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=where)
    process.start()
    process.join()
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment whose path has the packaging tool before us, as an editable install has."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", vars=paths))
    (site / "all.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
    command = folder / "bin" / "aaronnet"
    command.write_text(SCRIPT.format(python=folder / "bin" / "python"))
    command.chmod(0o755)
    return folder / "bin"


@pytest.fixture
def run(environment: Path, tmp_path: Path):
    def run(program: str, *arguments: object) -> str:
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        command = [environment / program, *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_tool_is_in_the_way(run):
    assert "site-packages" in run("python", "-c", "import build; print(build.__file__)")


def test_the_command_finds_ours_from_anywhere(run):
    assert "ZCU104" in run("aaronnet", "boards")
    assert "ZCU104" in run("python", "-m", "aaronnet", "boards")
    assert "ZCU104" in run("python", "-P", ROOT / "aaronnet.py", "boards")


def test_spawned_workers_find_ours(run, tmp_path):
    (tmp_path / "script.py").write_text(SPAWN)
    assert run("python", "script.py").strip() == str(ROOT / "build" / "cli.py")


def test_torchrun_finds_ours(run, environment):
    several = ("-m", "torch.distributed.run", "--standalone", "--no-python")
    assert "ZCU104" in run("python", *several, environment / "aaronnet", "boards")


def test_what_runs_beside_a_board_finds_ours(run):
    assert "PACKAGE" in run("python", "-m", "deploy.board.validate", "--help").upper()


def test_pytest_finds_ours(run):
    listed = run(
        "python", "-m", "pytest", "--collect-only", "-q", ROOT / "tests/build/test_boards.py"
    )
    assert "test_boards.py::" in listed


def test_the_environment_of_the_tests_has_the_tool():
    """So that the whole suite runs with it in the way."""
    assert (Path(sys.prefix) / "bin" / "pyproject-build").exists()
