"""`make setup` names what the machine lacks, in one line."""

import os
import shutil
import subprocess

import pytest

from tests.conftest import ROOT


@pytest.fixture
def setup(tmp_path):
    """Run `make setup` where only the given tools exist; the folder is a bare checkout."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)

    def run(*tools, **scripts):
        folder = tmp_path / "bin"
        folder.mkdir()
        for tool in tools:
            if path := shutil.which(tool):
                (folder / tool).symlink_to(path)
        for name, text in scripts.items():
            (folder / name).write_text(f"#!{shutil.which('sh')}\n{text}\n")
            (folder / name).chmod(0o755)
        done = subprocess.run(
            [shutil.which("make"), "setup"],
            cwd=tmp_path,
            env={"PATH": str(folder), "HOME": os.environ.get("HOME", "/")},
            capture_output=True,
            text=True,
        )
        assert done.returncode != 0
        assert not (tmp_path / ".venv").exists()
        lines = [line for line in done.stderr.splitlines() if not line.startswith("make")]
        assert len(lines) == 1, done.stderr
        return lines[0]

    return run


def test_a_missing_compiler_is_named(setup):
    python3 = "exit 0"  # any Python that is new enough, as far as the checks go
    assert "no g++ found; install" in setup("sh", "test", "touch", python3=python3)


def test_a_missing_python_is_named(setup):
    assert "no python3 found; install Python 3.11" in setup("sh", "test", "g++")


def test_an_old_python_is_named(setup):
    assert "older than 3.11" in setup("sh", "test", "g++", python3="exit 1")
