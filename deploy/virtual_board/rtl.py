"""The accelerator's RTL as a folder of plain files, from a build to a simulator.

design.json    top, sources (in the order of compilation), ports [name, bits, internal], values
               (name -> wire), data, input, output (names of the outer streams), output_words
               (words of a frame's result)
hdl/           the sources
data/          weight and threshold memories, read when simulation starts
"""

import dataclasses
import json
import shutil
from pathlib import Path

from build.flow import load_graph
from build.simulation.stitch import FAST_MVU, stitch
from build.simulation.stitch import Accelerator as Stitched
from build.simulation.verilate import Design, Port
from deploy.package import VIRTUAL, Package
from models.errors import BadInput
from models.files import sha256, writable_folder, write_json

GENERATED = "step_hw_codegen.onnx"
DESIGN = "design.json"
FAST_REPLACES = "mvu.sv"


@dataclasses.dataclass(frozen=True)
class Rtl:
    """A design, its memories, and which of its streams the DMAs are at."""

    design: Design
    data: dict[str, bytes]
    input: Port
    output: Port
    output_words: int


def write_rtl(accelerator: Stitched, folder: Path) -> None:
    """Write a stitched accelerator with one input and one output to a folder, `design.json` last.

    Raises:
        BadInput: it has more streams, or the folder cannot be written to.
    """
    if len(accelerator.inputs) != 1 or len(accelerator.outputs) != 1:
        raise BadInput("an accelerator of several inputs or outputs has no place on this board")
    shutil.rmtree(folder, ignore_errors=True)
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
        "files": {
            path.relative_to(folder).as_posix(): sha256(path) for path in sorted(folder.glob("*/*"))
        },
    }
    write_json(folder / DESIGN, facts)


def read_rtl(folder: Path, fast: bool = False) -> Rtl:
    """Read what `write_rtl` wrote.

    Args:
        folder: the RTL.
        fast: with the model of FINN's matrix-vector core that simulates several times faster.

    Raises:
        BadInput: something is missing or is not what it should be.
    """
    try:
        facts = json.loads((folder / DESIGN).read_text())
        for name, digest in facts["files"].items():
            if sha256(folder / name) != digest:
                raise BadInput(f"{folder / name} is not what was built; build the package again")
        ports = {name: Port(name, int(bits), bool(inner)) for name, bits, inner in facts["ports"]}
        sources = {name: (folder / "hdl" / name).read_text() for name in facts["sources"]}
        if fast and FAST_REPLACES in sources:
            sources[FAST_REPLACES] = FAST_MVU.read_text()
        # The same text as `aaronnet simulate` stitches: both find the other's simulator built.
        design = Design(facts["top"], sources, list(ports.values()), facts["values"])
        return Rtl(
            design,
            {name: (folder / "data" / name).read_bytes() for name in facts["data"]},
            ports[facts["input"]],
            ports[facts["output"]],
            int(facts["output_words"]),
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{folder} holds no RTL: {error}; build the package again") from error


def find_rtl(package: Package) -> Path | None:
    """Return the package's RTL folder; where it has none, that of the build around the package.

    The latter is stitched once and kept beside the virtual board's overlay. None: neither exists.
    """
    if package.rtl is not None:
        return package.rtl
    generated = package.folder.absolute().parent / "intermediate_models" / GENERATED
    if not generated.is_file():
        return None
    folder = package.folder / VIRTUAL / "rtl"
    stamp = folder / "made-from.json"
    grounds = {"package": package.digest, "graph": sha256(generated)}
    if not stamp.is_file() or json.loads(stamp.read_text()) != grounds:
        write_rtl(stitch(load_graph(generated), package.folder.parent / "finn"), folder)
        write_json(stamp, grounds)
    return folder
