"""Commands that read a package refuse malformed ones; tests/deploy tries every key of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.board import predict, validate
from tests.campaign import data_files
from tests.campaign.conftest import DESIGN
from tests.campaign.harness import copy, edit_json, refuse
from tests.deploy.packages import change_manifest, write_manifest

EXPECT = "board expect package --data data.h5 -o out.h5 --json out.json"


def manifest(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: change_manifest(folder, **changes)


def inside(key: str, **changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        facts = json.loads((folder / "manifest.json").read_text())
        change_manifest(folder, **{key: facts[key] | changes})

    return change


def text(name: str, content: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text(content)

    return change


def sealed(change: Callable[[Path], object]) -> Callable[[Path], None]:
    """Change files and have the manifest know them."""

    def both(folder: Path) -> None:
        facts = json.loads((folder / "manifest.json").read_text())
        change(folder)
        write_manifest(folder, facts)

    return both


def unsealed(folder: Path) -> None:
    edit_json(folder / "manifest.json", lambda facts: facts.update(clock_mhz=100.0))


STEPS = {"step": 1, "minimum": -32, "maximum": 31}
ASCENDING = [i / 8 for i in range(63)]
BOTH = {"thresholds": [ASCENDING, ASCENDING]}


PACKAGES: dict[str, Callable[[Path], None]] = {
    "missing": shutil.rmtree,
    "empty": lambda folder: [file.unlink() for file in folder.iterdir()],
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "manifest of text": text("manifest.json", "hello"),
    "manifest cut": text("manifest.json", '{"format": 2, "board": "ZCU'),
    "manifest a list": text("manifest.json", "[]"),
    "manifest deep": text("manifest.json", "[" * 5000),
    "manifest changed": unsealed,
    "format 1": manifest(format=1),
    "format of text": manifest(format="2"),
    "more keys": manifest(more=1),
    "classes none": manifest(classes=None),
    "classes twice": manifest(classes=["a"] * 24),
    "clock zero": manifest(clock_mhz=0),
    "clock of text": manifest(clock_mhz="250"),
    "board a path": manifest(board="../../etc"),
    "graph outside": manifest(graph="../../etc/hostname"),
    "graph absolute": manifest(graph="/etc/hostname"),
    "rtl not there": manifest(rtl="rtl"),
    "bitfile not there": manifest(bitfile="a.bit"),
    "samples outside": manifest(samples={"file": "../data.h5", "label": ""}),
    "step zero": inside("input", quantizer={"step": 0, "minimum": -32, "maximum": 31}),
    "step of text": inside("input", quantizer={"step": "1", "minimum": -32, "maximum": 31}),
    "quantizer too wide": inside("input", quantizer={"step": 1, "minimum": -99, "maximum": 31}),
    "signs alone": inside("input", quantizer=STEPS | {"signs": [1, 1]}),
    "a sign less": inside("input", quantizer=STEPS | {"signs": [1], "thresholds": [ASCENDING]}),
    "a sign of 2": inside("input", quantizer=STEPS | {"signs": [1, 2]} | BOTH),
    "a threshold less": inside(
        "input", quantizer=STEPS | {"signs": [1, 1], "thresholds": [ASCENDING, ASCENDING[1:]]}
    ),
    "thresholds falling": inside(
        "input", quantizer=STEPS | {"signs": [1, 1], "thresholds": [ASCENDING, ASCENDING[::-1]]}
    ),
    "thresholds of text": inside(
        "input", quantizer=STEPS | {"signs": [1, 1], "thresholds": [ASCENDING, "1"]}
    ),
    "thresholds beyond float32": inside(
        "input",
        quantizer=STEPS | {"signs": [1, 1], "thresholds": [ASCENDING, [*ASCENDING[:-1], 1e39]]},
    ),
    "port of code": inside("input", dma='idma0"); system("id"); //'),
    "unknown type": inside("input", datatype="COMPLEX7"),
    "shapes apart": inside("input", folded=[1, 2, 3]),
    "shape of text": inside("output", normal="1"),
    "unknown kind": inside("output", kind="labels"),
    "no pace": inside("performance", cycles_per_frame=0),
    "a file less": lambda folder: (folder / "graph.onnx").unlink(),
    "a file more": text("extra", "x"),
    "a file changed": text("graph.onnx", "x"),
    "a link": lambda folder: (folder / "link").symlink_to("/etc/hostname"),
    "settings of text": sealed(text("settings.json", "hello")),
    "settings empty": sealed(text("settings.json", "{}")),
    "settings a list": sealed(text("settings.json", "[1, 2]")),
    "graph of text": sealed(text("graph.onnx", "x")),
    "graph empty": sealed(text("graph.onnx", "")),
}


@pytest.mark.parametrize("kind", PACKAGES)
def test_expect(base, command, kind):
    copy(base, ("data.h5", "package"), command.folder)
    PACKAGES[kind](command.folder / "package")
    refuse(command, EXPECT, "package")


@pytest.mark.parametrize("kind", ["missing", "manifest changed", "a file more", "port of code"])
@pytest.mark.parametrize("words", ["board serve package", "deploy package --json out.json"])
def test_other_commands(base, command, words, kind):
    copy(base, ("package",), command.folder)
    PACKAGES[kind](command.folder / "package")
    refuse(command, words, "package")


def design(**changes: Any) -> str:
    return json.dumps({key: v for key, v in (DESIGN | changes).items() if v is not None})


DESIGNS = {
    "text": "hello",
    "a list": "[]",
    "cut": design()[:40],
    "more": design(more=1),
    **{f"no {key}": design(**{key: None}) for key in DESIGN},
    "top of code": design(top="a; $system"),
    "sources an option": design(sources=["--exe", "toy.sv"]),
    "sources outside": design(sources=["../../manifest.json", "toy.sv"]),
    "sources not there": design(sources=["gone.sv", "toy.sv"]),
    "sources of text": design(sources="toy.sv"),
    "port of code": design(ports=[['s"); abort(); //', 16, False], ["m_axis_0", 8, False]]),
    "port of no bits": design(ports=[["s_axis_0", 0, False], ["m_axis_0", 8, False]]),
    "port of NaN bits": design(ports=[["s_axis_0", float("nan"), False], ["m_axis_0", 8, False]]),
    "data outside": design(data=["../design.json"]),
    "data not there": design(data=["gone.dat"]),
    "input unknown": design(input="in9"),
    "no words": design(output_words=0),
    "words of text": design(output_words="1"),
}


@pytest.mark.parametrize("kind", DESIGNS)
def test_serve(base, command, kind):
    copy(base, ("package",), command.folder)
    package = command.folder / "package"
    facts = json.loads((package / "manifest.json").read_text())
    (package / "rtl" / "hdl").mkdir(parents=True)
    (package / "rtl" / "data").mkdir()
    (package / "rtl" / "hdl" / "toy.sv").write_text("module toy; endmodule\n")
    (package / "rtl" / "data" / "w.dat").write_text("0f\n")
    (package / "rtl" / "design.json").write_text(DESIGNS[kind])
    write_manifest(package, facts | {"rtl": "rtl"})
    refuse(command, "board serve package", "rtl")


@pytest.mark.parametrize("kind", ["missing", "cut in half", "no Z", "Y half", "Z 2.7"])
@pytest.mark.parametrize("program", [validate, predict])
def test_on_a_board(base, command, program, kind):
    """The board's own commands, with the data that they are given."""
    copy(base, ("data.h5", "package"), command.folder)
    data_files.MALFORMED[kind]((command.folder / "data.h5").rename(command.folder / "bad.h5"))
    main = lambda: raise_code(program.main())  # noqa: E731
    refuse(command, "package --data bad.h5", "bad.h5", main)


PREDICTIONS = {
    "not there": data_files.without("predicted"),
    "class 99": data_files.value("predicted", (3,), 99),
    "class 2.5": data_files.value("predicted", (3,), 2.5),
    "class NaN": data_files.value("predicted", (3,), float("nan")),
    "negative": data_files.value("predicted", (3,), -1),
    "fewer": data_files.instead("predicted", lambda values: values[:-1]),
    "of text": data_files.instead("predicted", lambda values: values.astype("S3")),
    "a group": data_files.group("predicted"),
}


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_samples(base, command, kind):
    copy(base, ("package",), command.folder)
    sealed(lambda folder: PREDICTIONS[kind](folder / "samples.h5"))(command.folder / "package")
    refuse(command, "package", "samples.h5", lambda: raise_code(validate.main()))


def raise_code(code: int) -> None:
    raise SystemExit(code)
