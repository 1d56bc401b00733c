"""What Vivado's IP catalogue says of the IPs that our shell uses: properties, pins, interfaces.

Each IP with the document it is from. Names of properties are those of published configurations:
board presets of XilinxBoardStore, base designs of PYNQ.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

AXI, STREAM = "xilinx.com:interface:aximm:1.0", "xilinx.com:interface:axis:1.0"


@dataclass
class Pin:
    """A pin: I or O; bits, or None where it takes what comes; clk, rst, intr or data."""

    name: str
    direction: str
    bits: int | None = 1
    kind: str = "data"
    optional: bool = False  # an input that may be left open
    low: bool = True  # a reset's polarity


@dataclass
class Interface:
    """An interface: its type, Master or Slave, the pin of its clock; bits of data and addresses."""

    name: str
    type: str
    mode: str
    clock: str = ""
    protocol: str = ""
    data: int = 0
    address: int = 0


@dataclass
class Segment:
    """Memory or registers behind a slave interface, and where a master may see it."""

    name: str
    interface: str
    offset: int | None  # where it has to be; None: anywhere
    size: int | None


@dataclass
class Cell:
    """What a cell has, once it is configured."""

    pins: list[Pin] = field(default_factory=list)
    interfaces: list[Interface] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    spaces: dict[str, str] = field(default_factory=dict)  # address space -> master interface
    windows: dict[str, tuple[int, int]] = field(default_factory=dict)  # master -> addresses it has
    outside: tuple[str, ...] = ()  # interfaces that must leave the design
    derived: dict[str, str] = field(default_factory=dict)  # properties that follow from others
    passes: bool = False  # an interconnect


Properties = dict[str, str]
NUMBER = r"\d+(\.\d+)?"
BIT = "[01]"


@dataclass(frozen=True)
class Ip:
    """An IP: its version, its document, name -> (pattern of values, default), what it becomes."""

    version: str
    source: str
    properties: dict[str, tuple[str, str]]
    made: Callable[[Properties], Cell]


def clock(name: str, direction: str = "I") -> Pin:
    return Pin(name, direction, 1, "clk")


def reset(name: str, direction: str = "I", **options: Any) -> Pin:
    return Pin(name, direction, 1, "rst", **options)


def _ultrascale(given: Properties) -> Cell:
    cell, on = Cell(), lambda name: given[f"PSU__{name}"] == "1"
    if on("FPGA_PL0_ENABLE"):
        cell.pins += [clock("pl_clk0", "O"), reset("pl_resetn0", "O")]
    for number, name, window in (
        (0, "HPM0_FPD", (0xA000_0000, 0xAFFF_FFFF)),
        (1, "HPM1_FPD", (0xB000_0000, 0xBFFF_FFFF)),
        (2, "HPM0_LPD", (0x8000_0000, 0x9FFF_FFFF)),
    ):
        if on(f"USE__M_AXI_GP{number}"):
            pin = f"maxi{name.lower()}_aclk"
            bits = int(given[f"PSU__MAXIGP{number}__DATA_WIDTH"])
            master = f"M_AXI_{name}"
            cell.pins.append(clock(pin))
            cell.interfaces.append(Interface(master, AXI, "Master", pin, "AXI4", bits, 40))
            cell.spaces["Data"] = master
            cell.windows[master] = window
    if on("USE__S_AXI_GP2"):
        cell.pins.append(clock("saxihp0_fpd_aclk"))
        bits = int(given["PSU__SAXIGP2__DATA_WIDTH"])
        cell.interfaces.append(
            Interface("S_AXI_HP0_FPD", AXI, "Slave", "saxihp0_fpd_aclk", "AXI4", bits, 49)
        )
        low = [("HP0_DDR_LOW", 0, 1 << 31)]
        if ultrascale_memory(given) > 1 << 31:
            low.append(("HP0_DDR_HIGH", 0x8_0000_0000, 1 << 35))
        others = [("HP0_LPS_OCM", 0xFF00_0000, 1 << 24), ("HP0_QSPI", 0xC000_0000, 1 << 29)]
        cell.segments += [
            Segment(f"SAXIGP2/{name}", "S_AXI_HP0_FPD", at, size)
            for name, at, size in (*low, *others)
        ]
    if on("USE__IRQ0"):
        cell.pins.append(Pin("pl_ps_irq0", "I", None, "intr"))
    # 1,500 MHz, the IOPLL of a reference of 33.33 MHz times 90, halved.
    asked = float(given["PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ"])
    division = math.ceil(1500 / asked - 1e-3)
    if not 33 <= float(given["PSU__PSS_REF_CLK__FREQMHZ"]) <= 34:
        division += 1
    for number in range(4):
        name = f"PSU__CRL_APB__PL{number}_REF_CTRL__"
        cell.derived |= {
            f"{name}DIVISOR0": str(division),
            f"{name}DIVISOR1": "1",
            f"{name}ACT_FREQMHZ": f"{1500 / division:.6f}",
        }
        if number:
            cell.derived |= {f"PSU__FPGA_PL{number}_ENABLE": "0", f"{name}SRCSEL": "IOPLL"}
    return cell


def ultrascale_memory(given: Properties) -> int:
    """Return bytes of a Zynq UltraScale+'s memory."""
    number = {
        name: int(re.findall(r"\d+", given[f"PSU__DDRC__{name}"])[0])
        for name in (
            *("BUS_WIDTH", "DRAM_WIDTH", "DEVICE_CAPACITY", "RANK_ADDR_COUNT", "ROW_ADDR_COUNT"),
            *("COL_ADDR_COUNT", "BANK_ADDR_COUNT", "BG_ADDR_COUNT"),
        )
    }
    lpddr = given["PSU__DDRC__MEMORY_TYPE"] == "LPDDR 4"
    bits = number["ROW_ADDR_COUNT"] + number["COL_ADDR_COUNT"] + number["BANK_ADDR_COUNT"]
    bits += 0 if lpddr else number["BG_ADDR_COUNT"]
    chip = number["DRAM_WIDTH"] << bits
    if chip != number["DEVICE_CAPACITY"] << 20:
        raise ValueError(f"a chip of {number} holds {chip >> 20} MBits")
    chips = number["BUS_WIDTH"] // number["DRAM_WIDTH"] << number["RANK_ADDR_COUNT"]
    return chips * (number["DEVICE_CAPACITY"] << 17)


def _zynq7000(given: Properties) -> Cell:
    cell, on = Cell(outside=("DDR", "FIXED_IO")), lambda name: given[f"PCW_{name}"] == "1"
    if on("EN_CLK0_PORT") and on("FPGA_FCLK0_ENABLE"):
        cell.pins.append(clock("FCLK_CLK0", "O"))
    if on("EN_RST0_PORT"):
        cell.pins.append(reset("FCLK_RESET0_N", "O"))
    cell.interfaces += [
        Interface("DDR", "xilinx.com:interface:ddrx_rtl:1.0", "Master"),
        Interface("FIXED_IO", "xilinx.com:display_processing_system7:fixedio_rtl:1.0", "Master"),
    ]
    if on("USE_M_AXI_GP0"):
        cell.pins.append(clock("M_AXI_GP0_ACLK"))
        cell.interfaces.append(
            Interface("M_AXI_GP0", AXI, "Master", "M_AXI_GP0_ACLK", "AXI3", 32, 32)
        )
        cell.spaces["Data"] = "M_AXI_GP0"
        cell.windows["M_AXI_GP0"] = (0x4000_0000, 0x7FFF_FFFF)
    if on("USE_S_AXI_HP0"):
        cell.pins.append(clock("S_AXI_HP0_ACLK"))
        bits = int(given["PCW_S_AXI_HP0_DATA_WIDTH"])
        cell.interfaces.append(
            Interface("S_AXI_HP0", AXI, "Slave", "S_AXI_HP0_ACLK", "AXI3", bits, 32)
        )
        if given["PCW_UIPARAM_DDR_PARTNO"] != "MT41J256M16 RE-125":
            raise ValueError("a memory that this catalogue does not know")
        chips = int(given["PCW_UIPARAM_DDR_BUS_WIDTH"].split()[0]) // 16
        cell.segments.append(
            Segment("S_AXI_HP0/HP0_DDR_LOWOCM", "S_AXI_HP0", 0, chips * (4096 << 17))
        )
    if on("USE_FABRIC_INTERRUPT") and on("IRQ_F2P_INTR"):
        cell.pins.append(Pin("IRQ_F2P", "I", None, "intr"))
    # The IO PLL at 1,000 MHz, 20 times a crystal of 50 MHz.
    asked = float(given["PCW_FPGA0_PERIPHERAL_FREQMHZ"])
    division = math.ceil(1000 / asked - 1e-3)
    if float(given["PCW_CRYSTAL_PERIPHERAL_FREQMHZ"]) != 50:
        division += 1
    for number in range(4):
        name = f"PCW_FCLK{number}_PERIPHERAL_"
        cell.derived |= {
            f"{name}DIVISOR0": str(division),
            f"{name}DIVISOR1": "1",
            f"{name}CLKSRC": "IO PLL",
        }
        if number:
            cell.derived[f"PCW_FPGA_FCLK{number}_ENABLE"] = "0"
    return cell


def _wizard(given: Properties) -> Cell:
    cell = Cell([clock("clk_in1"), clock("clk_out1", "O")])
    if given["USE_LOCKED"] == "true":
        cell.pins.append(Pin("locked", "O"))
    if given["USE_RESET"] == "true":
        low = given["RESET_TYPE"] == "ACTIVE_LOW"
        cell.pins.append(reset(given["RESET_PORT"], low=low))
    return cell


def _reset_block(given: Properties) -> Cell:
    return Cell(
        [
            clock("slowest_sync_clk"),
            reset("ext_reset_in"),
            Pin("dcm_locked", "I", optional=True),
            reset("aux_reset_in", optional=True),
            reset("mb_debug_sys_rst", optional=True),
            reset("mb_reset", "O", low=False),
            reset("bus_struct_reset", "O", low=False),
            reset("peripheral_reset", "O", low=False),
            reset("interconnect_aresetn", "O"),
            reset("peripheral_aresetn", "O"),
        ]
    )


def _smartconnect(given: Properties) -> Cell:
    cell = Cell([clock("aclk"), reset("aresetn")], passes=True)
    for mode, letter, count in (("Slave", "S", "NUM_SI"), ("Master", "M", "NUM_MI")):
        cell.interfaces += [
            Interface(f"{letter}{index:02}_AXI", AXI, mode, "aclk")
            for index in range(int(given[count]))
        ]
    return cell


def _interrupt_controller(given: Properties) -> Cell:
    output = Pin("irq", "O", 1, "intr")
    cell = Cell([clock("s_axi_aclk"), reset("s_axi_aresetn"), Pin("intr", "I", None, "intr")])
    if given["C_IRQ_CONNECTION"] == "1":
        cell.pins.append(output)
    cell.interfaces.append(Interface("s_axi", AXI, "Slave", "s_axi_aclk", "AXI4LITE", 32, 9))
    cell.segments.append(Segment("S_AXI/Reg", "s_axi", None, None))
    return cell


def _concat(given: Properties) -> Cell:
    count = int(given["NUM_PORTS"])
    inputs = [Pin(f"In{index}", "I", 1, "intr") for index in range(count)]
    return Cell([*inputs, Pin("dout", "O", count, "intr")])


def _psu() -> dict[str, tuple[str, str]]:
    memory = {
        "MEMORY_TYPE": ("DDR 4|LPDDR 4", "DDR 4"),
        "COMPONENTS": ("Components|UDIMM|RDIMM", "UDIMM"),
        "BUS_WIDTH": ("(16|32|64) Bit", "64 Bit"),
        "DRAM_WIDTH": ("(8|16|32) Bits", "8 Bits"),
        "DEVICE_CAPACITY": (r"\d+ MBits", "4096 MBits"),
        "SPEED_BIN": ("DDR4_(2133P|2400R)|LPDDR4_1066", "DDR4_2133P"),
        "RANK_ADDR_COUNT": (BIT, "0"),
        "BG_ADDR_COUNT": ("[12]", "2"),
        "BANK_ADDR_COUNT": ("[23]", "2"),
        "ROW_ADDR_COUNT": (r"1\d", "15"),
        "COL_ADDR_COUNT": ("10", "10"),
        **dict.fromkeys(("CL", "CWL", "T_RCD", "T_RP"), (r"1\d", "15")),
        **dict.fromkeys(("T_RC", "T_RAS_MIN", "T_FAW"), (NUMBER, "30.0")),
    }
    return {
        **{f"PSU__DDRC__{name}": facts for name, facts in memory.items()},
        "PSU__CRF_APB__DDR_CTRL__FREQMHZ": ("533|1067|1200", "1067"),
        "PSU__PSS_REF_CLK__FREQMHZ": (r"33\.3+0?", "33.333"),
        "PSU__FPGA_PL0_ENABLE": (BIT, "1"),
        "PSU__CRL_APB__PL0_REF_CTRL__SRCSEL": ("IOPLL|RPLL|DPLL", "RPLL"),
        "PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ": (NUMBER, "100"),
        **{f"PSU__USE__M_AXI_GP{i}": (BIT, default) for i, default in enumerate("110")},
        **{f"PSU__MAXIGP{i}__DATA_WIDTH": ("32|64|128", "128") for i in range(3)},
        "PSU__USE__S_AXI_GP2": (BIT, "0"),
        "PSU__SAXIGP2__DATA_WIDTH": ("32|64|128", "128"),
        "PSU__USE__IRQ0": (BIT, "1"),
    }


CATALOGUE = {
    "zynq_ultra_ps_e": Ip("3.5", "PG201; XilinxBoardStore's presets", _psu(), _ultrascale),
    "processing_system7": Ip(
        "5.5",
        "PG082; PYNQ boards/Pynq-Z2/petalinux_bsp/hardware_project/pynqz2.tcl",
        {
            "PCW_CRYSTAL_PERIPHERAL_FREQMHZ": (NUMBER, "33.333333"),
            "PCW_APU_PERIPHERAL_FREQMHZ": (NUMBER, "666.666666"),
            "PCW_UIPARAM_DDR_PARTNO": (r"MT41\w+ \S+", "MT41J256M8 HX-15E"),
            "PCW_UIPARAM_DDR_BUS_WIDTH": ("(16|32) Bit", "32 Bit"),
            "PCW_UIPARAM_DDR_FREQ_MHZ": (NUMBER, "533.333333"),
            "PCW_PRESET_BANK1_VOLTAGE": (r"LVCMOS (1\.8|2\.5|3\.3)V", "LVCMOS 3.3V"),
            "PCW_FPGA0_PERIPHERAL_FREQMHZ": (NUMBER, "50"),
            "PCW_FPGA_FCLK0_ENABLE": (BIT, "1"),
            "PCW_EN_CLK0_PORT": (BIT, "1"),
            "PCW_EN_RST0_PORT": (BIT, "1"),
            "PCW_USE_M_AXI_GP0": (BIT, "1"),
            "PCW_USE_S_AXI_HP0": (BIT, "0"),
            "PCW_S_AXI_HP0_DATA_WIDTH": ("32|64", "64"),
            "PCW_USE_FABRIC_INTERRUPT": (BIT, "0"),
            "PCW_IRQ_F2P_INTR": (BIT, "0"),
        },
        _zynq7000,
    ),
    "clk_wiz": Ip(
        "6.0",
        "PG065",
        {
            "PRIM_IN_FREQ.VALUE_SRC": ("PROPAGATED|USER", "USER"),
            "PRIM_SOURCE": (
                "Single_ended_clock_capable_pin|Global_buffer|No_buffer",
                "Single_ended_clock_capable_pin",
            ),
            "CLKOUT1_REQUESTED_OUT_FREQ": (NUMBER, "100"),
            "USE_LOCKED": ("true|false", "true"),
            "USE_RESET": ("true|false", "true"),
            "RESET_TYPE": ("ACTIVE_HIGH|ACTIVE_LOW", "ACTIVE_HIGH"),
            "RESET_PORT": ("reset|resetn", "reset"),
        },
        _wizard,
    ),
    "proc_sys_reset": Ip("5.0", "PG164", {}, _reset_block),
    "smartconnect": Ip(
        "1.0",
        "PG247",
        {name: (r"[1-9]|1[0-6]", "1") for name in ("NUM_SI", "NUM_MI")},
        _smartconnect,
    ),
    "axi_intc": Ip(
        "4.1", "PG099; PYNQ's base designs", {"C_IRQ_CONNECTION": (BIT, "0")}, _interrupt_controller
    ),
    "xlconcat": Ip("2.1", "PYNQ's base designs", {"NUM_PORTS": (r"[1-9]\d?", "2")}, _concat),
}
