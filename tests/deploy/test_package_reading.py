"""What is no package is refused with one line: malformed, with files too many, a bit flipped."""

import json
import math
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from build.simulation.rtl_folder import read_rtl
from build.simulation.verilate import Design, Port
from deploy.board.errors import BadInput
from deploy.board.package import Package, read_package, seal
from tests.deploy.packages import make_package, write_manifest

DESIGN = {
    "top": "accelerator",
    "sources": ["mvu_pkg.sv", "accelerator.sv"],
    "ports": [["in0", 16, False], ["wire_out0", 8, True], ["out0", 8, False]],
    "values": {"fifo_0": "fifo_0_maxcount"},
    "data": ["node.memblock.dat"],
    "input": "in0",
    "output": "out0",
    "output_words": 1,
}


def shapes_of(manifest: dict[str, Any]) -> dict[str, Any]:
    shapes: dict[str, Any] = {}
    for letter, name in (("i", "input"), ("o", "output")):
        port = manifest[name]
        shapes[f"{letter}dt"] = [f"DataType['{port['datatype']}']"]
        shapes[f"{letter}dma_names"] = [port["dma"]]
        for form in ("normal", "folded", "packed"):
            shapes[f"{letter}shape_{form}"] = [port[form]]
    return shapes


def settings_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """Settings of FINN's driver, as the build writes them."""
    information = {"driver_type": "FINNDMAOverlay", "io_shape_dict": shapes_of(manifest)}
    return {"driver_information": information, "experiment_information": {}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with RTL, weights and settings for FINN's driver."""
    folder = make_package(tmp_path_factory.mktemp("whole") / "package").folder
    manifest = json.loads((folder / "manifest.json").read_text())
    rtl = folder / "rtl"
    (rtl / "hdl").mkdir(parents=True)
    (rtl / "data").mkdir()
    (rtl / "hdl" / "mvu_pkg.sv").write_text("package mvu_pkg; endpackage\n")
    (rtl / "hdl" / "accelerator.sv").write_text("module accelerator; endmodule\n")
    (rtl / "data" / "node.memblock.dat").write_text("0f\n1e\n2d\n3c\n")
    (rtl / "design.json").write_text(json.dumps(DESIGN, indent=2))
    (folder / "settings.json").write_text(json.dumps(settings_of(manifest), indent=2))
    write_manifest(folder, manifest | {"rtl": "rtl"})
    read_package(folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """The package's copy, to be broken."""
    return shutil.copytree(whole, tmp_path / "package")


def refused(action: Callable[[], object]) -> str:
    with pytest.raises(BadInput) as raised:
        action()
    message = str(raised.value)
    assert "\n" not in message and len(message) < 1000
    return message


def paths_of(facts: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path to every value below an object."""
    if isinstance(facts, dict | list):
        for key, value in facts.items() if isinstance(facts, dict) else enumerate(facts):
            yield (*path, key)
            yield from paths_of(value, (*path, key))


def changed(facts: Any, path: tuple, change: Callable[[Any, Any], object]) -> Any:
    copy = json.loads(json.dumps(facts))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    change(inner, path[-1])
    return copy


REMOVED = object()
WRONG = [
    REMOVED,
    None,
    "",
    [],
    {},
    True,
    -1,
    1e400,
    10**400,
    "../../x",
    "/etc/hostname",
    "-x",
    "a\nb",
]
FREE = {
    *("network.name", "network.score", "network.hash", "samples.label", "output.scale"),
    *("input.quantizer.minimum", "input.quantizer.maximum", "classes", "bitfile", "rtl", "graph"),
    *(f"classes.{index}" for index in range(24)),
}
"""Where some of WRONG is right: any text, what may be missing, a number that may be negative."""


def put(value: Any) -> Callable[[Any, Any], object]:
    def change(inner: Any, key: Any) -> None:
        if value is REMOVED:
            del inner[key]
        else:
            inner[key] = value

    return change


def malformed(facts: Any) -> Iterator[tuple[str, Any]]:
    """Yield every value of an object replaced by every wrong one, with what was done."""
    for path in paths_of(facts):
        for wrong in WRONG:
            name = "removed" if wrong is REMOVED else ascii(wrong)[:20]
            yield f"{'.'.join(map(str, path))}={name}", changed(facts, path, put(wrong))


def test_no_malformed_manifest_does_anything_but_end_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    counts = {"refused": 0, "read": 0}
    for name, facts in malformed(manifest):
        as_is = name.startswith("digest") or math.inf in values_of(facts)
        path.write_text(json.dumps(facts if as_is else seal(facts)))
        try:
            package = read_package(folder)
        except BadInput as error:
            assert "\n" not in str(error), name
            counts["refused"] += 1
        else:
            assert name.split("=")[0] in FREE, name
            assert stays_inside(package), name
            counts["read"] += 1
    with capsys.disabled():
        print(f"\nmanifests: {counts}")
    assert counts["refused"] > 600


def values_of(facts: Any) -> list[Any]:
    found = []
    for path in paths_of(facts):
        value = facts
        for key in path:
            value = value[key]
        if not isinstance(value, dict | list):
            found.append(value)
    return found


def stays_inside(package: Package) -> bool:
    paths = [package.samples, package.bitfile, package.rtl, package.graph]
    inside = [path.resolve().is_relative_to(package.folder.resolve()) for path in paths if path]
    return all(inside) and package.virtual_overlay.parent.parent == package.folder


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("samples", "file"), "../../x", "no plain file name"),
        (("rtl",), "/etc", "no plain file name"),
        (("graph",), "-o.onnx", "no plain file name"),
        (("input", "dma"), "a; system(1)", "no identifier"),
        (("input", "quantizer", "step"), 0, "out of range"),
        (("input", "quantizer", "step"), True, "expected a number"),
        (("input", "quantizer", "step"), "0.1", "expected a number"),
        (("input", "normal"), [1, 1 << 40], "none of a frame"),
        (("classes"), [], "classes"),
        (("clock_mhz",), -250.0, "out of range"),
        (("performance", "cycles_per_frame"), 0, "out of range"),
        (("performance", "source"), "guessed", "neither simulated nor estimated"),
        (("surprise",), 1, "'surprise' is unknown"),
        (("input", "surprise"), 1, "'input.surprise' is unknown"),
        (("files", "../x"), "0" * 64, "no path inside"),
        (("files", "samples.h5"), "0", "no SHA-256"),
        (("network", "name"), "a\x1b[2J", "printable"),
        (("board",), None, "expected a text"),
    ],
)
def test_a_manifest_that_says_what_it_must_not(
    folder: Path, path: tuple, value: object, said: str
) -> None:
    file = folder / "manifest.json"
    path = (path,) if isinstance(path, str) else path
    file.write_text(json.dumps(seal(changed(json.loads(file.read_text()), path, put(value)))))
    assert said in refused(lambda: read_package(folder))


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", '{"format": 2, "format": 2}', '{"format": NaN}', "{}", "\x00"),
        *("[" * 100_000, '{"a":' * 100_000, '{"format": 2}', '{"format": -Infinity}', '"\ud800"'),
    ],
)
@pytest.mark.parametrize("name", ["manifest.json", "settings.json", "rtl/design.json"])
def test_json_that_is_none(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_bytes(text.encode(errors="surrogatepass"))
    if name != "manifest.json":
        write_manifest(folder, json.loads((folder / "manifest.json").read_text()))
    refused(lambda: read_rtl(read_package(folder).rtl))


def test_no_malformed_design_reaches_the_compiler(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "rtl" / "design.json"
    counts = {"refused": 0, "read": 0}
    for name, facts in malformed(DESIGN):
        path.write_text(json.dumps(facts))
        try:
            found = read_rtl(folder / "rtl")
        except BadInput as error:
            assert "\n" not in str(error), name
            counts["refused"] += 1
        else:
            # One memory fewer, no values, an inner port fewer: a design still, of safe names.
            assert name.split("=")[0].split(".")[0] in ("data", "values", "ports", "sources"), name
            assert set(found.data) <= {"node.memblock.dat"}
            counts["read"] += 1
    with capsys.disabled():
        print(f"\ndesigns: {counts}")
    assert counts["refused"] > 150 and counts["read"] < 20


@pytest.mark.parametrize(
    "change",
    [
        *({"top": "a; b"}, {"sources": {"--exe": ""}}, {"sources": {"../x.sv": ""}}),
        *({"sources": {"a b.sv": ""}}, {"values": {"a": "b);system("}}),
        {"ports": [Port('in0", 8, 0}); std::abort(); //', 8)]},
    ],
)
def test_a_design_of_odd_names_is_none(change: dict[str, Any]) -> None:
    good: dict[str, Any] = {"top": "t", "sources": {"t.sv": ""}, "ports": [Port("in0", 8)]}
    Design(**good)
    assert "cannot be simulated" in refused(lambda: Design(**{**good, **change}))


def test_settings_are_the_manifests(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    for key, value in shapes_of(manifest).items():
        # FINN's settings for Alveo cards leave the DMAs' names empty.
        other = [] if "dma" in key else [["DataType['INT3']"]]
        for wrong in (None, [], value * 2, [[1, 2]], "x", *other):
            settings = settings_of(manifest)
            settings["driver_information"]["io_shape_dict"][key] = wrong
            (folder / "settings.json").write_text(json.dumps(settings))
            write_manifest(folder, manifest)
            assert key in refused(lambda: read_package(folder))


def test_files_that_are_none_of_the_packages_are_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("extra", "rtl/hdl/extra.sv", "rtl/data/.hidden", "virtual.bit"):
        (folder / name).write_text("x")
        assert f"{name}, which is none of its files" in refused(lambda: read_package(folder))
        (folder / name).unlink()
    (folder / "virtual").mkdir()
    (folder / "virtual" / "0123.bit").write_text("the virtual board's own")
    read_package(folder)
    shutil.rmtree(folder / "virtual")
    for name in ("link", "virtual", "rtl/hdl/link"):
        (folder / name).symlink_to(tmp_path)
        assert "neither a file nor a folder" in refused(lambda: read_package(folder))
        (folder / name).unlink()


def test_a_link_in_the_place_of_a_file_is_refused(folder: Path, tmp_path: Path) -> None:
    moved = shutil.move(folder / "samples.h5", tmp_path / "samples.h5")
    (folder / "samples.h5").symlink_to(moved)
    assert "neither a file nor a folder" in refused(lambda: read_package(folder))


def test_no_flipped_bit_changes_what_a_package_does(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Forty bits of every file: refused, or read as before (a blank between two keys)."""
    good, design = read_package(folder), read_rtl(folder / "rtl")
    draw = random.Random(11)
    counts: dict[str, list[int]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        wanted = range(8 * len(data))
        flips = draw.sample(wanted, min(40 if path.suffix != ".json" else 150, len(wanted)))
        count = counts.setdefault(path.relative_to(folder).as_posix(), [0, 0])
        for bit in flips:
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            try:
                package = read_package(folder)
                assert same(package, good) and same(read_rtl(package.rtl), design), (path, bit)
                count[1] += 1
            except BadInput as error:
                assert "\n" not in str(error)
                count[0] += 1
        path.write_bytes(data)
    with capsys.disabled():
        print("\nflips refused, the same:", counts)
    assert sum(map(sum, counts.values())) > 600


def same(one: Any, other: Any) -> bool:
    if is_dataclass(one):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return bool(np.all(one == other))
