"""The accelerator package: what a build leaves in `DIR/package/` for the board.

    manifest.json    everything below, written last
    settings.json    the same accelerator for finn-plus-driver
    NAME.bit, .hwh   where Vivado built them; `aaronnet board serve` makes stand-ins otherwise
    samples.h5       frames over all classes and SNRs: X, Y, Z as in RadioML's file, and
                     `predicted` (N,): the class that the network gives each
    graph.onnx       optional: the dataflow graph, integers in, class or logits out
    rtl/             optional: the accelerator's Verilog and its weight and threshold memories

`manifest.json` is an object of:

    format        1
    network       {name, score, hash?, label?, accuracy?}: score by the official rules; hash of the
                  checkpoint; label of the data behind accuracy (0..1, all SNRs)
    classes       the class names, in the order of the class indices
    board, part   FINN's name of the board, and its device
    clock_mhz     of the accelerator
    input         {dma, datatype, normal, folded, packed, quantizer}: shapes of one frame with a
                  leading 1; quantizer {step, minimum, maximum}: integer = clip(round half to
                  even(x / step), minimum, maximum)
    output        {dma, datatype, normal, folded, packed, kind, scale}: kind is "class" or
                  "logits"; logits = scale * integers
    performance   {cycles_per_frame, latency_cycles, source}: source is "simulated" or "estimated"
    samples       {file, label}: label says where the frames come from
    bitfile       name of the .bit, or null
    rtl           name of the folder, or null
    graph         name of the graph, or null
    files         {path: SHA-256} of every other file; nothing else may be in the folder

Runs on a board: numpy and h5py only.
"""

import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.board.errors import BadInput
from deploy.board.packing import DataType, word_bytes

FORMAT = 1
MANIFEST = "manifest.json"
VIRTUAL = "virtual"
"""Folder of the virtual board's own overlay, in the package but not of it."""


@dataclass(frozen=True)
class Port:
    """One end of the accelerator and its DMA; shapes are of one frame, with a leading 1."""

    dma: str
    datatype: DataType
    normal: tuple[int, ...]
    folded: tuple[int, ...]
    packed: tuple[int, ...]

    @property
    def frame_bytes(self) -> int:
        """Bytes that the DMA moves for a frame."""
        return math.prod(self.packed)


@dataclass(frozen=True)
class Quantizer:
    """integer = clip(round half to even(x / step), minimum, maximum)."""

    step: float
    minimum: int
    maximum: int


@dataclass(frozen=True)
class Package:
    """A package that was read and checked; see the module for the fields' meaning."""

    folder: Path
    network: dict[str, Any]
    classes: tuple[str, ...]
    board: str
    part: str
    clock_mhz: float
    input: Port
    quantizer: Quantizer
    output: Port
    kind: str
    scale: float
    performance: dict[str, Any]
    samples: Path
    bitfile: Path | None
    rtl: Path | None
    graph: Path | None
    files: dict[str, str] = field(repr=False)
    digest: str = ""

    @property
    def overlay(self) -> Path:
        """The .bit to load: the built one, or the virtual board's.

        Raises:
            BadInput: there is neither.
        """
        virtual = self.folder / VIRTUAL / f"{self.digest[:12]}.bit"
        if self.bitfile is not None:
            return self.bitfile
        if virtual.is_file():
            return virtual
        raise BadInput(
            f"{self.folder} holds no bitfile: build it with Vivado (--to bitfile), or start a "
            f"virtual board with: aaronnet board serve {self.folder}"
        )


def read_package(folder: str | Path) -> Package:
    """Read a package and check every file's digest.

    Raises:
        BadInput: it is no package, of another format, incomplete, or a file was changed.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise BadInput(f"{folder} is no accelerator package: it has no {MANIFEST}")
    text = path.read_bytes()
    try:
        facts = json.loads(text)
    except ValueError as error:
        raise BadInput(f"{path} is damaged: {error}; copy the package again") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        found = facts.get("format") if isinstance(facts, dict) else None
        raise BadInput(f"{path} has format {found!r}, this driver reads {FORMAT}; update one")
    try:
        package = _package(folder, facts, hashlib.sha256(text).hexdigest())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise BadInput(f"{path} is no manifest: {what}; build the package again") from error
    _check_files(package)
    _check_shapes(package)
    return package


def _package(folder: Path, facts: dict[str, Any], digest: str) -> Package:
    def inside(name: str | None) -> Path | None:
        if name is None:
            return None
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{name} leads out of the package")
        return folder / name

    quantizer, output = facts["input"]["quantizer"], facts["output"]
    if output["kind"] not in ("class", "logits"):
        raise ValueError(f"output kind {output['kind']!r} is neither class nor logits")
    for name in facts["files"]:
        inside(name)
    samples = inside(facts["samples"]["file"])
    assert samples is not None
    return Package(
        folder=folder,
        network={"name": str(facts["network"]["name"]), **facts["network"]},
        classes=tuple(map(str, facts["classes"])),
        board=str(facts["board"]),
        part=str(facts["part"]),
        clock_mhz=float(facts["clock_mhz"]),
        input=_port(facts["input"]),
        quantizer=Quantizer(
            float(quantizer["step"]), int(quantizer["minimum"]), int(quantizer["maximum"])
        ),
        output=_port(output),
        kind=output["kind"],
        scale=float(output.get("scale", 1.0)),
        performance=dict(facts["performance"]),
        samples=samples,
        bitfile=inside(facts["bitfile"]),
        rtl=inside(facts["rtl"]),
        graph=inside(facts["graph"]),
        files={str(name): str(value) for name, value in facts["files"].items()},
        digest=digest,
    )


def _port(facts: dict[str, Any]) -> Port:
    shapes = {name: tuple(map(int, facts[name])) for name in ("normal", "folded", "packed")}
    return Port(str(facts["dma"]), DataType.parse(facts["datatype"]), **shapes)


def _check_files(package: Package) -> None:
    for name, wanted in sorted(package.files.items()):
        path = package.folder / name
        if not path.is_file():
            raise BadInput(f"{package.folder} is incomplete: {name} is missing; copy it again")
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        if digest.hexdigest() != wanted:
            raise BadInput(
                f"{path} is not the file that was built (its SHA-256 is another): copy the package "
                "again, or build it anew"
            )
    needed = [package.samples, package.bitfile, package.graph]
    if package.bitfile is not None:
        needed.append(package.bitfile.with_suffix(".hwh"))
    if package.rtl is not None:
        needed.append(package.rtl / "design.json")
    for needs in filter(None, needed):
        if needs.relative_to(package.folder).as_posix() not in package.files:
            raise BadInput(f"{package.folder} gives no digest of {needs.name}; build it anew")


def _check_shapes(package: Package) -> None:
    for name, port in (("input", package.input), ("output", package.output)):
        *outer, lanes = port.folded
        packed = (*outer, word_bytes(port.datatype, lanes))
        elements = math.prod(port.normal)
        if port.packed != packed or math.prod(port.folded) != elements or port.normal[0] != 1:
            raise BadInput(
                f"{package.folder}: the {name}'s shapes {port.normal}, {port.folded}, "
                f"{port.packed} do not fit {port.datatype.name}; build the package again"
            )
    low, high = package.input.datatype.range
    if package.quantizer.step <= 0 or package.quantizer.minimum < low:
        raise BadInput(f"{package.folder}: the input quantizer does not fit the input's data type")
    if package.quantizer.maximum > high or package.clock_mhz <= 0:
        raise BadInput(f"{package.folder}: input quantizer or clock are out of range")
    outputs = 1 if package.kind == "class" else len(package.classes)
    if math.prod(package.output.normal) != outputs:
        raise BadInput(f"{package.folder}: {package.kind} output of shape {package.output.normal}")
