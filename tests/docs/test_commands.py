"""Every command in the documentation is run, and what it prints is what the page shows.

Fenced blocks by their first line:

- `sh`: run as one script a page, in an empty folder, in `make test`;
- `sh slow`: run in `make test-slow`, after the page's quick ones;
- `console`: needs a board, Docker, Vivado or the network; its `aaronnet` options must exist;
- `text output`: the preceding block prints these lines; a line `...` stands for any number.

Sizes that only say how long something takes are made small (`SMALLER`).
"""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SMALLER = {
    r"--frames-per-cell \d+": "--frames-per-cell 4",
    r"--epochs \d+": "--epochs 1",
    r"--float-epochs \d+": "--float-epochs 0",
    r"--epoch-frames \d+": "--epoch-frames 1024",
    r"--batch-size \d+": "--batch-size 128",
    r"--rounds \d+": "--rounds 1",
    r"--finetune \d+": "--finetune 1",
}


@dataclass(frozen=True)
class Block:
    """A fenced block: the words after its fence, its text, and the output that it shows."""

    words: tuple[str, ...]
    text: str
    shown: str = ""


def read_blocks(page: Path) -> list[Block]:
    blocks: list[Block] = []
    for match in re.finditer(r"^```(.*)\n([\s\S]*?)^```$", page.read_text(), re.MULTILINE):
        words, text = tuple(match[1].split()), match[2]
        if words == ("text", "output"):
            last = blocks.pop()
            blocks.append(Block(last.words, last.text, last.shown + text))
        else:
            blocks.append(Block(words, text))
    return blocks


def script(blocks: list[Block]) -> str:
    lines = ["set -euo pipefail"]
    for number, block in enumerate(blocks):
        text = block.text
        for pattern, smaller in SMALLER.items():
            text = re.sub(pattern, smaller, text)
        lines += [f"exec > {number}.out", text]
    return "\n".join(lines)


def check_page(page: Path, folder: Path, slow: bool) -> None:
    blocks = [one for one in read_blocks(page) if one.words[:1] == ("sh",)]
    if not slow:
        blocks = [one for one in blocks if "slow" not in one.words]
    work = folder / "work"
    work.mkdir()
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "AARONNET_CACHE": str(folder / "cache"),
        "COLUMNS": "100",
    }
    done = subprocess.run(
        ["bash", "-c", script(blocks)], cwd=work, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert done.returncode == 0, f"{page.name}: {done.stderr[-2000:]}"
    for number, block in enumerate(blocks):
        printed = (work / f"{number}.out").read_text()
        missing = first_missing(block.shown, printed)
        assert missing is None, f"{page.name} shows {missing!r}, which is not in\n{printed}"


def first_missing(shown: str, printed: str) -> str | None:
    """Return the first line of `shown` that does not follow in `printed`; None if all do."""
    rest = iter([" ".join(line.split()) for line in printed.splitlines()])
    for line in shown.splitlines():
        wanted = " ".join(line.split())
        if wanted not in ("", "...") and wanted not in rest:
            return line
    return None


def with_blocks(*words: str) -> list[Path]:
    return [
        page for page in PAGES if any(set(words) <= set(block.words) for block in read_blocks(page))
    ]


@pytest.mark.parametrize("page", with_blocks("sh"), ids=lambda page: page.stem)
def test_the_commands_of_a_page_work(page: Path, tmp_path: Path) -> None:
    check_page(page, tmp_path, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", with_blocks("sh", "slow"), ids=lambda page: page.stem)
def test_the_long_commands_of_a_page_work(page: Path, tmp_path: Path) -> None:
    check_page(page, tmp_path, slow=True)


def aaronnet_lines() -> list[tuple[str, str]]:
    lines = []
    for page in PAGES:
        for block in read_blocks(page):
            if block.words[:1] in (("sh",), ("console",)):
                text = block.text.replace("\\\n", " ")
                found = re.findall(r"^(?:\$ )?\S*aaronnet (.*)$", text, re.MULTILINE)
                lines += [(page.stem, line) for line in found]
    return lines


@pytest.mark.parametrize(("page", "line"), aaronnet_lines())
def test_the_options_of_a_command_exist(page: str, line: str) -> None:
    from aaronnet import app

    command = typer.main.get_command(app)
    words = shlex.split(line, comments=True)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    known = {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    used = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert used <= known | {"--help"}, f"{page}: aaronnet {line}"


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_a_page_that_shows_what_is_not_printed_is_caught() -> None:
    assert first_missing("a  b\n...\nd", "x\na b\nc\nd\n") is None
    assert first_missing("d\na b", "a b\nd\n") == "a b"
