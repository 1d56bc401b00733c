"""The accelerator's RTL as a folder of plain files: what a package keeps, and any simulator takes.

design.json    top, sources (in the order of compilation), ports [name, bits, internal], values
               (name -> wire), data, input, output (names of the outer streams), output_words
               (words of a frame's result)
hdl/           the sources
data/          weight and threshold memories, read when simulation starts
"""

from dataclasses import dataclass
from pathlib import Path

from build.simulation.stitch import FAST_MVU, Accelerator
from build.simulation.verilate import Design, Port
from deploy.board.package import DESIGN
from deploy.board.records import FileName, Identifier, read_json, record
from models.errors import BadInput
from models.files import writable_folder, write_json

FAST_REPLACES = "mvu.sv"
MOST_BITS = 1 << 16


@dataclass(frozen=True)
class Rtl:
    """A design, its memories, and which of its streams the DMAs are at."""

    design: Design
    data: dict[str, bytes]
    input: Port
    output: Port
    output_words: int


@dataclass(frozen=True)
class _Facts:
    """design.json, key by key."""

    top: Identifier
    sources: tuple[FileName, ...]
    ports: tuple[tuple[Identifier, int, bool], ...]
    values: dict[Identifier, Identifier]
    data: tuple[FileName, ...]
    input: Identifier
    output: Identifier
    output_words: int

    def __post_init__(self) -> None:
        outer = {name: bits for name, bits, internal in self.ports if not internal}
        for key, names in (
            ("sources", self.sources),
            ("data", self.data),
            ("ports", [name for name, _, _ in self.ports]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"{key} names something twice")
        if f"{self.top}.sv" not in self.sources:
            raise ValueError(f"sources hold no {self.top}.sv")
        if outer.keys() != {self.input, self.output} or self.input == self.output:
            raise ValueError(f"ports are not {self.input}, {self.output} and inner ones")
        if any(bits < 1 or bits > MOST_BITS or bits % 8 for _, bits, _ in self.ports):
            raise ValueError(f"ports have widths other than whole bytes up to {MOST_BITS} bits")
        if not 1 <= self.output_words < 1 << 24:
            raise ValueError(f"output_words {self.output_words} is out of range")


def write_rtl(accelerator: Accelerator, folder: Path) -> None:
    """Write a stitched accelerator with one input and one output to a folder, `design.json` last.

    Raises:
        BadInput: it has more streams, or the folder cannot be written to.
    """
    if len(accelerator.inputs) != 1 or len(accelerator.outputs) != 1:
        raise BadInput("an accelerator of several inputs or outputs has no place on this board")
    for name, files in (
        ("hdl", {file: text.encode() for file, text in accelerator.design.sources.items()}),
        ("data", accelerator.files),
    ):
        writable_folder(folder / name)
        for file, contents in files.items():
            (folder / name / file).write_bytes(contents)
    design = accelerator.design
    facts = {
        "top": design.top,
        "sources": list(design.sources),
        "ports": [[port.name, port.width, port.internal] for port in design.ports],
        "values": dict(design.values),
        "data": sorted(accelerator.files),
        "input": accelerator.inputs[0].name,
        "output": accelerator.outputs[0].name,
        "output_words": accelerator.outputs[0].words,
    }
    write_json(folder / DESIGN, facts)


def read_rtl(folder: Path, fast: bool = False) -> Rtl:
    """Read what `write_rtl` wrote.

    Args:
        folder: the RTL, of a package whose digests were checked.
        fast: with the model of FINN's matrix-vector core that simulates several times faster.

    Raises:
        BadInput: something is missing or is not what it should be.
    """
    facts_file = folder / DESIGN
    try:
        facts = record(_Facts, read_json(facts_file))
        sources = {str(name): (folder / "hdl" / name).read_text() for name in facts.sources}
        data = {str(name): (folder / "data" / name).read_bytes() for name in facts.data}
    except ValueError as error:
        raise BadInput(
            f"{facts_file} describes no RTL: {error}; build the package again"
        ) from error
    except OSError as error:
        raise BadInput(f"{error.filename} cannot be read; build the package again") from error
    if fast and FAST_REPLACES in sources:
        sources[FAST_REPLACES] = FAST_MVU.read_text()
    ports = {name: Port(name, bits, internal) for name, bits, internal in facts.ports}
    # The same text as `aaronnet simulate` stitches: both find the other's simulator built.
    values = {str(name): str(wire) for name, wire in facts.values.items()}
    design = Design(facts.top, sources, list(ports.values()), values)
    return Rtl(design, data, ports[facts.input], ports[facts.output], facts.output_words)
