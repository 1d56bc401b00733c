"""Commands that read a build's folder or a folding refuse malformed ones."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.campaign.conftest import FOLDING
from tests.campaign.harness import copy, edit_json, refuse

GRAPH = "intermediate_models/step_hw_codegen.onnx"


def report(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / "report.json", change)


def text(name: str, content: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text(content)

    return change


def clock(value: Any) -> Callable[[Path], None]:
    return report(lambda facts: facts["performance"].update(clock_mhz=value))


BUILDS: dict[str, Callable[[Path], None]] = {
    "missing": shutil.rmtree,
    "a file": lambda folder: (shutil.rmtree(folder), folder.write_text("x")),
    "no marker": lambda folder: (folder / "build.json").unlink(),
    "no graph": lambda folder: (folder / GRAPH).unlink(),
    "graph of text": text(GRAPH, "hello"),
    "graph empty": text(GRAPH, ""),
    "no report": lambda folder: (folder / "report.json").unlink(),
    "report empty": text("report.json", ""),
    "report of text": text("report.json", "hello"),
    "report cut": text("report.json", '{"part": "xczu7ev'),
    "report a list": text("report.json", "[]"),
    "report nothing": text("report.json", "{}"),
    "no performance": report(lambda facts: facts.pop("performance")),
    "performance a list": report(lambda facts: facts.update(performance=[])),
    "no part": report(lambda facts: facts.pop("part")),
    "part a number": report(lambda facts: facts.update(part=7)),
    "clock missing": report(lambda facts: facts["performance"].pop("clock_mhz")),
    "clock of text": clock("250"),
    "clock none": clock(None),
    "clock zero": clock(0),
    "clock NaN": clock(float("nan")),
}


@pytest.mark.parametrize("kind", BUILDS)
@pytest.mark.parametrize("words", ["simulate build -n 4 --json out.json", "synth build"])
def test_a_builds_folder(base, command, words, kind):
    copy(base, ("build",), command.folder)
    BUILDS[kind](command.folder / "build")
    refuse(command, words, "build")


def folding(**changes: Any) -> str:
    return json.dumps(FOLDING | changes)


FOLDINGS = {
    "empty": "",
    "text": "hello",
    "cut": folding()[:-3],
    "a list": "[1]",
    "a number": "7",
    "nodes of numbers": folding(MVAU_rtl_0=4),
    "PE of text": folding(MVAU_rtl_0={"PE": "4", "SIMD": 1}),
    "PE zero": folding(MVAU_rtl_0={"PE": 0, "SIMD": 1}),
    "PE negative": folding(MVAU_rtl_0={"PE": -1, "SIMD": 1}),
    "PE half": folding(MVAU_rtl_0={"PE": 1.5, "SIMD": 1}),
    "PE NaN": folding(MVAU_rtl_0={"PE": float("nan"), "SIMD": 1}),
    "PE true": folding(MVAU_rtl_0={"PE": True, "SIMD": 1}),
    "PE a list": folding(MVAU_rtl_0={"PE": [1], "SIMD": 1}),
    "a key twice": '{"Defaults": {}, "A": {"PE": 1}, "A": {"PE": 2}}',
}


@pytest.mark.parametrize("kind", [*FOLDINGS, "missing", "a folder"])
def test_a_folding(base, command, kind):
    copy(base, ("hard.pth",), command.folder)
    bad = command.folder / "bad.json"
    if kind in FOLDINGS:
        bad.write_text(FOLDINGS[kind])
    elif kind == "a folder":
        bad.mkdir()
    refuse(command, "build hard.pth -o out --folding bad.json", "bad.json")
