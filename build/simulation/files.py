"""The accelerator's RTL as a folder of plain files: what a package keeps, and any simulator takes.

design.json    top, sources (in the order of compilation), ports [name, bits, internal], values
               (name -> wire), data, input, output (names of the outer streams), output_words
               (words of a frame's result)
hdl/           the sources
data/          weight and threshold memories, read when simulation starts
"""

from pathlib import Path

from build.simulation.stitch import Accelerator
from models.errors import BadInput
from models.files import writable_folder, write_json

DESIGN = "design.json"


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
