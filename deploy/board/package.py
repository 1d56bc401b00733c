"""The accelerator package: what a build leaves in `DIR/package/` for the board.

    manifest.json    everything below, written last
    settings.json    the same accelerator for finn-plus-driver
    NAME.bit, .hwh   where Vivado built them; `aaronnet board serve` makes stand-ins otherwise
    samples.h5       frames over all classes and SNRs: X, Y, Z as in RadioML's file, and
                     `predicted` (N,): the class that the network gives each; neither Y nor Z where
                     the frames' classes are unknown
    graph.onnx       optional: the dataflow graph, integers in, class or logits out
    rtl/             optional: the accelerator's Verilog and its weight and threshold memories

`manifest.json` is an object of exactly these; names are plain file names and identifiers:

    format        2
    network       {name, score, hash?, label?, accuracy?}: score by the official rules; hash of the
                  checkpoint; label of the data behind accuracy (0..1, all SNRs)
    classes       the class names, in the order of the class indices
    board, part   FINN's name of the board, and its device
    clock_mhz     of the accelerator
    input         {dma, datatype, normal, folded, packed, frame?, quantizer}: shapes of one frame
                  with a leading 1; frame [samples, channels], by default [1024, 2];
                  quantizer {step, minimum, maximum, signs?, thresholds?}: integer = clip(round half
                  to even(x / step), minimum, maximum); or, where the network normalises its input,
                  by channel, minimum + the number of its ascending thresholds that its sign (1 or
                  -1) times x is not below, all in float32
    output        {dma, datatype, normal, folded, packed, kind, scale}: kind is "class" or
                  "logits"; logits = scale * integers
    performance   {cycles_per_frame, latency_cycles, source}: source is "simulated" or "estimated"
    samples       {file, label}: label says where the frames come from
    bitfile       name of the .bit, or null
    rtl           name of the folder, or null
    graph         name of the graph, or null
    files         {path: SHA-256} of every other file; nothing else may be in the folder, save
                  `virtual/`, what a virtual board made for itself
    digest        SHA-256 over all of the above, see `seal`

A package is a program: whoever simulates it compiles and runs the Verilog in it. The digests find
damage; they do not say who built it.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.board.errors import BadInput
from deploy.board.packing import DataType, word_bytes
from deploy.board.records import Digest, FileName, FilePath, Identifier, read_json, record

FORMAT = 2
MANIFEST = "manifest.json"
SETTINGS = "settings.json"
SAMPLES = "samples.h5"
GRAPH = "graph.onnx"
RTL = "rtl"
DESIGN = "design.json"
"""In the folder of the RTL, see `build.simulation.rtl_folder`."""
VIRTUAL = "virtual"
"""Folder of the virtual board's own overlay, in the package but not of it."""
MOST_ELEMENTS = 1 << 24
LARGEST_FLOAT = (2 - 2.0**-23) * 2.0**127


@dataclass(frozen=True)
class Quantizer:
    """integer = clip(round half to even(x / step), minimum, maximum), or by channel; see above."""

    step: float
    minimum: int
    maximum: int
    signs: tuple[int, ...] | None = None
    thresholds: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self) -> None:
        if self.step <= 0 or self.minimum > self.maximum:
            raise ValueError(f"step {self.step:g} or minimum {self.minimum} is out of range")
        if self.signs is None and self.thresholds is None:
            return
        signs, thresholds = self.signs or (), self.thresholds or ()
        if not signs or len(signs) != len(thresholds) or set(signs) - {1, -1}:
            raise ValueError("quantizer needs a sign, 1 or -1, and thresholds for each channel")
        for channel, steps in enumerate(thresholds):
            if len(steps) != self.maximum - self.minimum:
                raise ValueError(
                    f"thresholds of channel {channel} are {len(steps)}, not one for each integer "
                    f"from {self.minimum + 1} to {self.maximum}"
                )
            if any(abs(step) > LARGEST_FLOAT for step in steps) or list(steps) != sorted(steps):
                raise ValueError(f"thresholds of channel {channel} do not ascend in float32")


@dataclass(frozen=True)
class Port:
    """One end of the accelerator and its DMA; shapes are of one frame, with a leading 1."""

    dma: Identifier
    datatype: DataType
    normal: tuple[int, ...]
    folded: tuple[int, ...]
    packed: tuple[int, ...]

    def __post_init__(self) -> None:
        for shape in (self.normal, self.folded, self.packed):
            if len(shape) < 2 or min(shape) < 1 or math.prod(shape) > MOST_ELEMENTS:
                raise ValueError(f"shape {shape} is none of a frame")
        *outer, lanes = self.folded
        packed = (*outer, word_bytes(self.datatype, lanes))
        elements = math.prod(self.normal)
        if self.packed != packed or math.prod(self.folded) != elements or self.normal[0] != 1:
            raise ValueError(
                f"shapes {self.normal}, {self.folded}, {self.packed} do not fit "
                f"{self.datatype.name}"
            )

    @property
    def frame_bytes(self) -> int:
        """Bytes that the DMA moves for a frame."""
        return math.prod(self.packed)


@dataclass(frozen=True)
class Input(Port):
    """Where frames go in."""

    quantizer: Quantizer
    frame: tuple[int, int] = (1024, 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.datatype.range
        if self.quantizer.minimum < low or self.quantizer.maximum > high:
            raise ValueError(f"quantizer does not fit {self.datatype.name}")
        if min(self.frame) < 1 or math.prod(self.frame) != math.prod(self.normal):
            raise ValueError(f"shape {self.normal} is none of frames {self.frame}")
        if len(self.quantizer.signs or (0,) * self.frame[1]) != self.frame[1]:
            raise ValueError(f"quantizer has not a sign for each of {self.frame[1]} channels")


@dataclass(frozen=True)
class Output(Port):
    """Where results come out: `kind` "class", or "logits", which are scale * integers."""

    kind: str
    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in ("class", "logits"):
            raise ValueError(f"kind {self.kind!r} is neither class nor logits")
        if self.scale <= 0:
            raise ValueError(f"scale {self.scale:g} is out of range")


@dataclass(frozen=True)
class Network:
    """What was built; see the module."""

    name: str
    score: float | None = None
    hash: str = ""
    label: str | None = None
    accuracy: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= (self.accuracy or 0.0) <= 1 or (self.score or 0.0) < 0:
            raise ValueError(f"accuracy {self.accuracy} or score {self.score} is out of range")


@dataclass(frozen=True)
class Performance:
    """Clock cycles that a frame is expected to take."""

    cycles_per_frame: float
    latency_cycles: float
    source: str

    def __post_init__(self) -> None:
        for cycles in (self.cycles_per_frame, self.latency_cycles):
            if not 0 < cycles < 1e12:
                raise ValueError(f"{cycles:g} cycles are out of range")
        if self.source not in ("simulated", "estimated"):
            raise ValueError(f"source {self.source!r} is neither simulated nor estimated")


@dataclass(frozen=True)
class Samples:
    """Frames to check the board with."""

    file: FileName
    label: str


@dataclass(frozen=True)
class _Manifest:
    """manifest.json, key by key."""

    format: int
    network: Network
    classes: tuple[str, ...]
    board: FileName
    part: FileName
    clock_mhz: float
    input: Input
    output: Output
    performance: Performance
    samples: Samples
    bitfile: FileName | None
    rtl: FileName | None
    graph: FileName | None
    files: dict[FilePath, Digest]
    digest: Digest

    def __post_init__(self) -> None:
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise ValueError("classes are none, or one is there twice")
        if not 0 < self.clock_mhz < 1e5:
            raise ValueError(f"clock_mhz {self.clock_mhz:g} is out of range")
        outputs = 1 if self.output.kind == "class" else len(self.classes)
        if math.prod(self.output.normal) != outputs:
            raise ValueError(f"output of shape {self.output.normal} is no {self.output.kind}")
        needed = [self.samples.file, self.bitfile, self.graph]
        if self.bitfile and self.bitfile.endswith(".bit"):
            needed.append(FileName(f"{Path(self.bitfile).stem}.hwh"))
        if self.rtl:
            needed.append(FileName(f"{self.rtl}/{DESIGN}"))
        for name in filter(None, needed):
            if name not in self.files:
                raise ValueError(f"files holds no digest of {name}")


@dataclass(frozen=True)
class Package:
    """A package that was read and checked; see the module for the fields' meaning."""

    folder: Path
    network: Network
    classes: tuple[str, ...]
    board: str
    part: str
    clock_mhz: float
    input: Input
    output: Output
    performance: Performance
    samples: Path
    bitfile: Path | None
    rtl: Path | None
    graph: Path | None
    files: dict[FilePath, Digest] = field(repr=False)
    digest: str

    @property
    def overlay(self) -> Path:
        """The .bit to load: the built one, or the virtual board's.

        Raises:
            BadInput: there is neither.
        """
        if self.bitfile is not None:
            return self.bitfile
        if self.virtual_overlay.is_file():
            _check_virtual(self.virtual_overlay)
            return self.virtual_overlay
        raise BadInput(
            f"{self.folder} holds no bitfile: build it with Vivado (--to bitfile), or start a "
            f"virtual board with: aaronnet board serve {self.folder}"
        )

    @property
    def virtual_overlay(self) -> Path:
        """The virtual board's .bit for this package, there or not."""
        return self.folder / VIRTUAL / f"{self.digest[:12]}.bit"


def seal(facts: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest's facts with their `digest`: over the rest as sorted, compact JSON."""
    rest = {key: value for key, value in facts.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return {**rest, "digest": hashlib.sha256(text.encode()).hexdigest()}


def read_package(folder: str | Path) -> Package:
    """Read a package and check every file's digest.

    Raises:
        BadInput: it is no package, of another format, incomplete, or a file was changed or added.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise BadInput(f"{folder} is no accelerator package: it has no {MANIFEST}")
    facts = read_json(path)
    if facts.get("format") != FORMAT:
        found = ascii(facts.get("format"))[:40]
        raise BadInput(
            f"{path} has format {found}, this driver reads {FORMAT}; build the package again"
        )
    if "digest" in facts and seal(facts)["digest"] != facts["digest"]:
        raise BadInput(
            f"{path} is not the one that was written (its digest is another): copy the package "
            "again, or build it anew"
        )
    try:
        manifest = record(_Manifest, facts)
    except ValueError as error:
        raise BadInput(f"{path} is no manifest: {error}; build the package again") from error
    _check_files(folder, manifest.files)
    _check_settings(folder / SETTINGS, manifest)

    def inside(name: str | None) -> Path | None:
        return None if name is None else folder / name

    return Package(
        folder=folder,
        network=manifest.network,
        classes=manifest.classes,
        board=manifest.board,
        part=manifest.part,
        clock_mhz=manifest.clock_mhz,
        input=manifest.input,
        output=manifest.output,
        performance=manifest.performance,
        samples=folder / manifest.samples.file,
        bitfile=inside(manifest.bitfile),
        rtl=inside(manifest.rtl),
        graph=inside(manifest.graph),
        files=manifest.files,
        digest=manifest.digest,
    )


def _check_files(folder: Path, files: dict[FilePath, Digest]) -> None:
    there = set(_files_below(folder, ""))
    for name in sorted(there - files.keys() - {MANIFEST}):
        raise BadInput(f"{folder} holds {name}, which is none of its files; remove it")
    for name, wanted in sorted(files.items()):
        path = folder / name
        if name not in there:
            raise BadInput(f"{folder} is incomplete: {name} is missing; copy it again")
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error
        if digest.hexdigest() != wanted:
            raise BadInput(
                f"{path} is not the file that was built (its SHA-256 is another): copy the package "
                "again, or build it anew"
            )


def _files_below(folder: Path, prefix: str) -> Iterator[str]:
    """Yield the paths of a package's files.

    Raises:
        BadInput: an entry is neither file nor folder: what it leads to is none of the package's.
    """
    with os.scandir(folder / prefix) as entries:
        for entry in entries:
            name = f"{prefix}{entry.name}"
            if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
                raise BadInput(
                    f"{folder} holds {name}, neither a file nor a folder; copy the package again"
                )
            if entry.is_file():
                yield name
            elif name != VIRTUAL:
                yield from _files_below(folder, f"{name}/")


@dataclass(frozen=True)
class _Virtual:
    """The virtual board's .bit and .hwh, by their SHA-256."""

    bit: Digest
    hwh: Digest


def virtual_digests(bit: Path) -> Path:
    """Return where the digests of a virtual board's .bit and .hwh are."""
    return bit.with_suffix(".json")


def _check_virtual(bit: Path) -> None:
    """Raise BadInput if a virtual board's overlay is not the one that it wrote."""
    try:
        wanted = record(_Virtual, read_json(virtual_digests(bit)))
        for path, digest in ((bit, wanted.bit), (bit.with_suffix(".hwh"), wanted.hwh)):
            if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                raise ValueError(f"{path.name} was changed")
    except (BadInput, ValueError, OSError) as error:
        raise BadInput(
            f"{bit.parent} is damaged ({error}); start the virtual board again: it makes it anew"
        ) from error


@dataclass(frozen=True)
class _Shapes:
    """The part of FINN's driver settings that describes the accelerator's ends."""

    idt: tuple[str, ...]
    odt: tuple[str, ...]
    idma_names: tuple[str]  # empty for Alveo cards
    odma_names: tuple[str]
    ishape_normal: tuple[tuple[int, ...], ...]
    oshape_normal: tuple[tuple[int, ...], ...]
    ishape_folded: tuple[tuple[int, ...], ...]
    oshape_folded: tuple[tuple[int, ...], ...]
    ishape_packed: tuple[tuple[int, ...], ...]
    oshape_packed: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Information:
    io_shape_dict: _Shapes


@dataclass(frozen=True)
class _Settings:
    """settings.json of FINN's driver; what else is in it, its own driver reads."""

    driver_information: _Information


def _check_settings(path: Path, manifest: _Manifest) -> None:
    """Raise BadInput if the settings for FINN's driver are of another accelerator."""
    if not path.is_file():
        return
    try:
        found = record(_Settings, read_json(path), others=True).driver_information.io_shape_dict
    except ValueError as error:
        raise BadInput(f"{path} is none of FINN's driver: {error}") from error
    for port, letter in ((manifest.input, "i"), (manifest.output, "o")):
        wanted = {
            "dt": f"DataType['{port.datatype.name}']",
            "shape_normal": port.normal,
            "shape_folded": port.folded,
            "shape_packed": port.packed,
        }
        for key, value in wanted.items():
            if getattr(found, letter + key) != (value,):
                raise BadInput(f"{path}: {letter}{key} is not the manifest's; build it anew")
