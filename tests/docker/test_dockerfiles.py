"""What can be said of Dockerfiles and shell scripts without building anything."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

DOCKERFILES = sorted((ROOT / "docker").glob("Dockerfile.*"))
SCRIPTS = [ROOT / "run-docker.sh", *sorted((ROOT / "docker").glob("*.sh"))]
BIN = Path(sys.executable).parent


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return (name, arguments) of a Dockerfile's instructions, continued lines joined."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(name, " ".join(rest.split())) for name, rest in found]


def lint(tool: str, *arguments: object) -> None:
    done = subprocess.run([BIN / tool, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_has_nothing_to_say():
    assert [path.suffix for path in DOCKERFILES] == [".board", ".finn", ".train"]
    lint("hadolint", "--failure-threshold", "style", *DOCKERFILES)


def test_shellcheck_has_nothing_to_say():
    lint("shellcheck", *SCRIPTS)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_can_be_started(path):
    assert path.stat().st_mode & 0o111 == 0o111


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_what_is_copied_is_there(path):
    assert "COPY" in {name for name, _ in instructions(path)}
    for name, arguments in instructions(path):
        if name == "COPY":
            *sources, _ = (word for word in shlex.split(arguments) if not word.startswith("--"))
            assert sources
            for source in sources:
                assert (ROOT / source).exists(), source
        if name == "ENTRYPOINT" and (script := re.search(r"/opt/aaronnet/([\w./-]+)", arguments)):
            assert ROOT / script[1] in SCRIPTS


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_base_and_user(path):
    found = instructions(path)
    assert found[0] == ("ARG", "BASE=debian:bookworm-slim")
    assert found[1] == ("FROM", "${BASE}")
    assert [arguments for name, arguments in found if name == "USER"][-1] == "1000"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_packages_are_pinned(path):
    installs = [
        words for name, words in instructions(path) if name == "RUN" and "pip install" in words
    ]
    assert installs
    for words in installs:
        (pins,) = re.findall(r"pip install --no-cache-dir -c (\S+)", words)
        lines = (ROOT / pins).read_text().splitlines()
        assert len(lines) > 50
        assert [line for line in lines if "==" not in line and not line.startswith("#")] == []


def test_the_images_share_the_layers_of_the_python_packages():
    shared = [instructions(path)[:11] for path in DOCKERFILES]
    assert shared[0][-1][0] == "ENV"
    assert any("pip install" in arguments for _, arguments in shared[0])
    assert shared[0] == shared[1] == shared[2]


def test_the_board_image_holds_what_make_board_env_installs():
    wanted = re.compile(r"-c constraints-board\.txt (pynq .*?)(?: &&|\n)")
    found = instructions(ROOT / "docker" / "Dockerfile.board")
    (in_image,) = wanted.findall("\n".join(text for name, text in found if name == "RUN"))
    (in_makefile,) = wanted.findall((ROOT / "Makefile").read_text())
    assert in_image == in_makefile
