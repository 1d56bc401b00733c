"""A folder from which Vivado makes a bitfile: sources, settings and the script."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from build.boards import Board
from build.rtl.dmas import Dma, dma_pair, memory_port, sources
from build.shell.systems import FABRIC_MHZ, SYSTEMS, ProcessingSystem
from build.shell.wrappers import Stream, accelerator_wrapper, dma_wrapper, module_name
from build.simulation.stitch import Accelerator
from models.errors import BadInput

SCRIPT = Path(__file__).with_name("shell.tcl")
SETTINGS = "settings.tcl"
ACCELERATOR = "accelerator"
"""Name of the accelerator's cell."""

SPAN = 0x1_0000
"""Bytes of the address map for the registers of a DMA, as FINN's IODMAs have it."""


def system_of(board: Board) -> ProcessingSystem:
    """Return the processing system of a board.

    Raises:
        BadInput: there is no shell for it.
    """
    if board.name not in SYSTEMS:
        raise BadInput(
            f"there is no shell for {board.name}, it gets as far as --to stitched; bitfiles are "
            f"for {', '.join(SYSTEMS)}"
        )
    return SYSTEMS[board.name]


def write_project(accelerator: Accelerator, board: Board, clock_mhz: float, folder: Path) -> None:
    """Write everything that Vivado needs to an empty folder.

    Args:
        accelerator: with one input and one output.
        board: for which.
        clock_mhz: the accelerator's, and the DMAs'.
        folder: created if needed.

    Raises:
        BadInput: there is no shell for the board, or the accelerator has more streams.
    """
    system = system_of(board)
    if len(accelerator.inputs) != 1 or len(accelerator.outputs) != 1:
        raise BadInput("an accelerator of several inputs or outputs has no place on this board")
    (taken,), (given,) = accelerator.inputs, accelerator.outputs
    ends = [Stream(link.name, link.stream.width // 8) for link in (taken, given)]
    dmas = dma_pair(
        (ends[0].word_bytes, taken.words),
        (ends[1].word_bytes, given.words),
        memory_port(board.part),
    )
    design = accelerator.design
    texts = {
        **sources(),
        **design.sources,
        **{f"{module_name(dma.name)}.v": dma_wrapper(dma) for dma in dmas},
        f"{module_name(ACCELERATOR)}.v": accelerator_wrapper(ACCELERATOR, design.top, *ends),
    }
    # Packages first: what comes later may use them.
    ordered = sorted(texts, key=lambda name: not name.endswith("_pkg.sv"))
    for name, contents in (
        ("hdl", {name: texts[name].encode() for name in ordered}),
        ("data", accelerator.files),
    ):
        (folder / name).mkdir(parents=True)
        for file, content in contents.items():
            (folder / name / file).write_bytes(content)
    shutil.copy(SCRIPT, folder)
    settings = _settings(system, board, clock_mhz, dmas) | {
        "sources": ordered,
        "memories": sorted(accelerator.files),
    }
    lines = [f"set {name} {_tcl(value)}" for name, value in settings.items()]
    (folder / SETTINGS).write_text("\n".join(lines) + "\n")


def _settings(
    system: ProcessingSystem, board: Board, clock_mhz: float, dmas: tuple[Dma, Dma]
) -> dict[str, object]:
    control, control_clock, base = system.control
    memory, memory_clock = system.memory_interface
    blocks = [*(f"{dma.name}/s_axi_control/*" for dma in dmas), "axi_intc_0/S_AXI/*"]
    return {
        "part": board.part,
        "clock_mhz": f"{clock_mhz:g}",
        "fabric_mhz": FABRIC_MHZ,
        "jobs": min(8, os.cpu_count() or 1),
        "ps_ip": system.ip,
        "ps_properties": {f"CONFIG.{key}": value for key, value in system.properties.items()},
        "ps_external": system.external,
        "ps_divisors": system.divisors,
        "ps_division": system.division,
        "ps_clock": system.clock,
        "ps_reset": system.reset,
        "ps_interrupt": system.interrupt,
        "ps_control": control,
        "ps_control_clock": control_clock,
        "ps_memory": memory,
        "ps_memory_clock": memory_clock,
        "registers": [
            word
            for index, block in enumerate(blocks)
            for word in (block, f"0x{base + index * SPAN:X}", f"0x{SPAN:X}")
        ],
        "memory_segments": [
            word
            for segment in system.segments
            for word in (segment.name, f"0x{segment.offset:X}", f"0x{segment.size:X}")
        ],
        "other_segments": system.other_segments,
    }


def _tcl(value: object) -> str:
    """Return a word of Tcl; mappings and sequences become lists."""
    if isinstance(value, Mapping):
        value = [word for item in value.items() for word in item]
    if isinstance(value, list | tuple):
        return "{" + " ".join(f"{{{word}}}" for word in value) + "}"
    return f"{{{value}}}"
