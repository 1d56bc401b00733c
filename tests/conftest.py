"""Fixtures for all stages."""

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
PUBLISHED = {"vgg": 1.0, "AaronNet32": 0.057224, "AaronNet32plusplus": 0.015705}

# A shell's background jobs ignore SIGINT, and so would all that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


LONG = ("tests/docs/test_commands.py", "tests/deploy/test_demo.py", "tests/test_notebooks.py")
"""Files whose tests run whole commands for a minute or more."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the long files begin: where files run side by side, none is left alone in the end."""
    places = {ROOT / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(LONG)))


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """Mount a small disk in memory; skip where that is not permitted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "aaronnet-test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of facts and published checkpoints beside the checkout; skip without it."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not here")
    return SHARED


@pytest.fixture(scope="session")
def published(shared):
    """Return the path of a published checkpoint by name."""
    return lambda name: shared / "checkpoints" / f"{name}.pth"


@pytest.fixture(scope="session")
def cli():
    """Run the command line as a user does; returns the finished process with its texts."""

    def run(*arguments: object, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, ROOT / "aaronnet.py", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        if check is not None:
            assert done.returncode == check, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def refused(cli):
    """Run a command that must be refused: exit code 2, one line on stderr; returns the line."""

    def run(*arguments: object) -> str:
        done = cli(*arguments, check=2)
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("aaronnet: ")
        return lines[0]

    return run
