"""The .bit and .hwh that pynq loads onto a virtual board.

The .hwh has just what `pynqmetadata` reads of Vivado's hardware handoff: the processing system with
its address map and clocks, the two IODMAs under the names FINN gives them, a clocking wizard, and
one block more that real boards do not have, `virtual_board`, with the simulation's counters. The
.bit has Vivado's header and, instead of configuration frames, JSON that says which package it
belongs to: the server refuses another one's.
"""

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from deploy.board.package import Package, virtual_digests
from deploy.board.registers import COUNTERS, WIZARD
from models.errors import BadInput
from models.files import atomic, write_json

SPAN = 0x1_0000
MARK = "aaronnet virtual board"


@dataclass(frozen=True)
class Family:
    """What differs between the two kinds of processing systems that pynq knows."""

    architecture: str
    """As /proc/version names it."""
    module: str
    base: int
    """Address of the first block in the fabric."""
    port: str
    clock: str
    """Name of the PS's parameters for fabric clock {i}."""
    enable: str
    source: str
    memory: tuple[int, ...]
    """Addresses where memory for buffers begins."""

    def address(self, index: int) -> int:
        """Base address of the index-th block."""
        return self.base + index * SPAN


ULTRASCALE = Family(
    architecture="aarch64",
    module="zynq_ultra_ps_e",
    base=0xA000_0000,
    port="M_AXI_HPM0_FPD",
    clock="PSU__CRL_APB__PL{i}_REF_CTRL__DIVISOR{j}",
    enable="PSU__FPGA_PL{i}_ENABLE",
    source="PSU__CRL_APB__PL{i}_REF_CTRL__SRCSEL",
    # DDR below 2 GiB, the rest of it from 32 GiB on (UG1085, chapter 10).
    memory=(0x1000_0000, 0x8_0000_0000),
)
ZYNQ7000 = Family(
    architecture="armv7l",
    module="processing_system7",
    base=0x43C0_0000,
    port="M_AXI_GP0",
    clock="PCW_FCLK{i}_PERIPHERAL_DIVISOR{j}",
    enable="PCW_FPGA_FCLK{i}_ENABLE",
    source="PCW_FCLK{i}_PERIPHERAL_CLKSRC",
    memory=(0x1000_0000,),
)


def family(package: Package) -> Family:
    """Return the processing system of the package's device."""
    return ZYNQ7000 if package.part.startswith("xc7z") else ULTRASCALE


def blocks(package: Package) -> dict[str, int]:
    """Return name -> base address of the blocks in the fabric."""
    names = (package.input.dma, package.output.dma, COUNTERS)
    return {name: family(package).address(index) for index, name in enumerate(names)}


def write_overlay(package: Package) -> Path:
    """Write .bit and .hwh into the package's folder for virtual boards; return the .bit.

    Their name holds the package's digest, because pynq caches what it read of an .hwh by the
    .bit's contents only.

    Raises:
        BadInput: the folder cannot be written to.
    """
    path = package.virtual_overlay
    if path.parent.is_symlink():
        raise BadInput(f"{path.parent} is a link; remove it")
    for stale in path.parent.glob("*.bit"):
        # Of an earlier manifest; a file by another name is not ours.
        if stale != path and re.fullmatch("[0-9a-f]{12}", stale.stem):
            for old in (stale, stale.with_suffix(".hwh"), virtual_digests(stale)):
                old.unlink(missing_ok=True)
    hwh = hardware_handoff(package)
    with atomic(path.with_suffix(".hwh")) as temporary:
        temporary.write_text(hwh)
    bits = bitstream(package, hwh)
    digests = {"bit": hashlib.sha256(bits), "hwh": hashlib.sha256(hwh.encode())}
    write_json(virtual_digests(path), {name: one.hexdigest() for name, one in digests.items()})
    with atomic(path) as temporary:
        temporary.write_bytes(bits)
    return path


def payload(package: Package) -> dict[str, object]:
    """Return what the .bit says: which accelerator for which board at which clock."""
    return {
        "mark": MARK,
        "package": package.digest,
        "board": package.board,
        "part": package.part,
        "clock_mhz": package.clock_mhz,
    }


def bitstream(package: Package, hwh: str) -> bytes:
    """Return a .bit file: Vivado's header, then JSON padded to whole words."""
    # The handoff is in it as well, so that one .bit never goes with two handoffs (pynq's cache).
    facts = payload(package) | {"hwh": hashlib.sha256(hwh.encode()).hexdigest()}
    text = json.dumps(facts, sort_keys=True).encode()
    text += b" " * (-len(text) % 4)
    header = bytes.fromhex("00090ff00ff00ff00ff0000001")
    fields = (f"{MARK};UserID=0XFFFFFFFF", package.part, "2000/01/01", "00:00:00")
    for tag, field in zip(b"abcd", fields, strict=True):
        value = field.encode() + b"\0"
        header += bytes([tag]) + struct.pack(">H", len(value)) + value
    # pynq sends the words with their bytes swapped, as the configuration port wants them.
    swapped = b"".join(text[i : i + 4][::-1] for i in range(0, len(text), 4))
    return header + b"e" + struct.pack(">I", len(swapped)) + swapped


def read_payload(firmware: bytes) -> dict[str, object] | None:
    """Return the JSON of a .bin as pynq sends it; None if it is none of ours."""
    try:
        facts = json.loads(firmware)
    except ValueError:
        return None
    return facts if isinstance(facts, dict) and facts.get("mark") == MARK else None


def hardware_handoff(package: Package) -> str:
    """Return the .hwh: XML in Vivado's schema."""
    kind, placed = family(package), blocks(package)
    ps = f"{kind.module}_0"
    ranges = "".join(
        _tag(
            "MEMRANGE",
            BASEVALUE=f"0x{base:X}",
            HIGHVALUE=f"0x{base + SPAN - 1:X}",
            INSTANCE=name,
            MASTERBUSINTERFACE=kind.port,
            MEMTYPE="REGISTER",
            SLAVEBUSINTERFACE="s_axi_control",
        )
        for name, base in placed.items()
    )
    clocks: dict[str, object] = {}
    for i in range(4):
        clocks[kind.enable.format(i=i)] = int(i == 0)
        clocks[kind.source.format(i=i)] = "IO PLL" if kind is ZYNQ7000 else "IOPLL"
        clocks |= {kind.clock.format(i=i, j=j): (15, 1)[j] for j in range(2)}
    # pynqmetadata 0.2.0 looks the frequency up under this name for Zynq-7000 too.
    clocks["PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ"] = "100.000000"
    modules = _module(
        ps, kind.module, f"xilinx.com:ip:{kind.module}:3.4", kind.port, "MASTER", clocks, ranges
    )
    for name in (package.input.dma, package.output.dma):
        modules += _module(
            name, "IODMA_hls", "xilinx_finn:finn:IODMA_hls:1.0", "s_axi_control", "SLAVE", {}
        )
    modules += _module(
        COUNTERS, COUNTERS, f"aaronnet:virtual:{COUNTERS}:1.0", "s_axi_control", "SLAVE", {}
    )
    wizard = {"CLKOUT1_OUT_FREQ": f"{package.clock_mhz:.3f}", "PRIM_IN_FREQ": "100.000"}
    modules += _module(WIZARD, "clk_wiz", "xilinx.com:ip:clk_wiz:6.0", None, "SLAVE", wizard)
    info = _tag("SYSTEMINFO", DEVICE=package.part, NAME="top", BOARD=package.board)
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no" ?>\n'
        '<EDKSYSTEM EDWVERSION="1.2" VIVADOVERSION="aaronnet">\n'
        f"{info}<EXTERNALPORTS/>\n<EXTERNALINTERFACES/>\n"
        f"<MODULES>\n{modules}</MODULES>\n</EDKSYSTEM>\n"
    )


def _tag(name: str, inner: str = "", **attributes: str) -> str:
    text = " ".join(f"{key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{name} {text}>\n{inner}</{name}>\n" if inner else f"<{name} {text}/>\n"


def _module(
    name: str,
    kind: str,
    vlnv: str,
    port: str | None,
    role: str,
    parameters: Mapping[str, object],
    memory_map: str = "",
) -> str:
    listed = "".join(
        _tag("PARAMETER", NAME=key, VALUE=str(value)) for key, value in parameters.items()
    )
    inner = f"<PARAMETERS>\n{listed}</PARAMETERS>\n" if listed else "<PARAMETERS/>\n"
    inner += "<PORTS/>\n"
    if port is None:
        inner += "<BUSINTERFACES/>\n"
    else:
        bus = _tag("BUSINTERFACE", NAME=port, TYPE=role, VLNV="xilinx.com:interface:aximm:1.0")
        inner += f"<BUSINTERFACES>\n{bus}</BUSINTERFACES>\n"
    if memory_map:
        inner += f"<MEMORYMAP>\n{memory_map}</MEMORYMAP>\n"
    return _tag(
        "MODULE", inner, FULLNAME=f"/{name}", INSTANCE=name, IPTYPE="PERIPHERAL", IS_PL="1",
        MODTYPE=kind, VLNV=vlnv,
    )  # fmt: skip
