"""The accelerator's RTL, from a package to a simulator; `build/simulation/files.py` wrote it."""

import dataclasses
import json
from pathlib import Path

from build.simulation.files import DESIGN
from build.simulation.stitch import FAST_MVU
from build.simulation.verilate import Design, Port
from models.errors import BadInput

FAST_REPLACES = "mvu.sv"


@dataclasses.dataclass(frozen=True)
class Rtl:
    """A design, its memories, and which of its streams the DMAs are at."""

    design: Design
    data: dict[str, bytes]
    input: Port
    output: Port
    output_words: int


def read_rtl(folder: Path, fast: bool = False) -> Rtl:
    """Read what `write_rtl` wrote.

    Args:
        folder: the RTL, of a package whose digests were checked.
        fast: with the model of FINN's matrix-vector core that simulates several times faster.

    Raises:
        BadInput: something is missing or is not what it should be.
    """
    try:
        facts = json.loads((folder / DESIGN).read_text())
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
