"""Processing systems of Zynq boards, as properties of the IP that a block design configures.

A PYNQ image has booted when a bitfile is loaded: memory and pins of the processing system are as
its first-stage boot loader set them. What counts here is what faces the fabric: clock, ports, the
address map, which follows from the memory's size. No board files are needed.

Clocks and memories are those of the boards' own published configurations, each named in `source`:
board presets of github.com/Xilinx/XilinxBoardStore and github.com/RealDigitalOrg/RFSoC4x2-BSP, and
the hardware projects of PYNQ's images in github.com/Xilinx/PYNQ. Devices that these do not name are
in the boards' manuals (UG1182, UG1267, UG1271, Kria's DS987, the guides of Ultra96-V2 and
RFSoC 4x2).
"""

from dataclasses import dataclass
from functools import cached_property

from build.rtl.dmas import memory_port

STORE, PYNQ = "XilinxBoardStore boards/", "PYNQ boards/"
FABRIC_MHZ = 100
"""Of the processing system's clock to the fabric, from which the accelerator's is made."""


@dataclass(frozen=True)
class Segment:
    """A part of the memory that the DMAs reach: name, first address, bytes."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class ProcessingSystem:
    """A board's processing system.

    Attributes:
        part: the device that its source names.
        reference_mhz: of the clock that feeds its PLLs, as its source has it.
        memory: properties of its DDR controller.
        source: where these are published.
    """

    part: str
    reference_mhz: str
    memory: dict[str, str]
    source: str

    @property
    def ultrascale(self) -> bool:
        """Whether it is a Zynq UltraScale+; or else a Zynq-7000."""
        return not self.part.startswith("xc7z")

    @property
    def ip(self) -> str:
        """Name of its IP."""
        return "zynq_ultra_ps_e" if self.ultrascale else "processing_system7"

    @cached_property
    def properties(self) -> dict[str, str]:
        """What differs from the IP's defaults, or must not."""
        bits = str(memory_port(self.part).data_bits)
        if self.ultrascale:
            return {
                "PSU__PSS_REF_CLK__FREQMHZ": self.reference_mhz,
                **self.memory,
                "PSU__FPGA_PL0_ENABLE": "1",
                "PSU__CRL_APB__PL0_REF_CTRL__SRCSEL": "IOPLL",
                "PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ": str(FABRIC_MHZ),
                "PSU__USE__M_AXI_GP0": "1",
                "PSU__USE__M_AXI_GP1": "0",
                "PSU__USE__M_AXI_GP2": "0",
                "PSU__MAXIGP0__DATA_WIDTH": "32",
                "PSU__USE__S_AXI_GP2": "1",
                "PSU__SAXIGP2__DATA_WIDTH": bits,
                "PSU__USE__IRQ0": "1",
            }
        return {
            "PCW_CRYSTAL_PERIPHERAL_FREQMHZ": self.reference_mhz,
            **self.memory,
            "PCW_PRESET_BANK1_VOLTAGE": "LVCMOS 1.8V",
            "PCW_FPGA0_PERIPHERAL_FREQMHZ": str(FABRIC_MHZ),
            "PCW_FPGA_FCLK0_ENABLE": "1",
            "PCW_EN_CLK0_PORT": "1",
            "PCW_EN_RST0_PORT": "1",
            "PCW_USE_M_AXI_GP0": "1",
            "PCW_USE_S_AXI_HP0": "1",
            "PCW_S_AXI_HP0_DATA_WIDTH": bits,
            "PCW_USE_FABRIC_INTERRUPT": "1",
            "PCW_IRQ_F2P_INTR": "1",
        }

    @property
    def divisors(self) -> tuple[str, ...]:
        """The properties that divide the PLL for the fabric's clock: the overlay sets them."""
        if self.ultrascale:
            name = "PSU__CRL_APB__PL0_REF_CTRL__DIVISOR"
        else:
            name = "PCW_FCLK0_PERIPHERAL_DIVISOR"
        return f"{name}0", f"{name}1"

    @property
    def division(self) -> int:
        """By how much: the PLL runs at 1,500 MHz, in a Zynq-7000 at 1,000, when PYNQ has booted."""
        return 15 if self.ultrascale else 10

    @property
    def clock(self) -> str:
        """Pin of the fabric's clock."""
        return "pl_clk0" if self.ultrascale else "FCLK_CLK0"

    @property
    def reset(self) -> str:
        """Pin of the fabric's reset, active low."""
        return "pl_resetn0" if self.ultrascale else "FCLK_RESET0_N"

    @property
    def interrupt(self) -> str:
        """Pin that takes interrupts."""
        return "pl_ps_irq0" if self.ultrascale else "IRQ_F2P"

    @property
    def control(self) -> tuple[str, str, int]:
        """Interface that registers are written through, its clock, and the first address there."""
        if self.ultrascale:
            return "M_AXI_HPM0_FPD", "maxihpm0_fpd_aclk", 0xA000_0000
        return "M_AXI_GP0", "M_AXI_GP0_ACLK", 0x43C0_0000

    @property
    def memory_interface(self) -> tuple[str, str]:
        """Interface to the memory, and its clock."""
        if self.ultrascale:
            return "S_AXI_HP0_FPD", "saxihp0_fpd_aclk"
        return "S_AXI_HP0", "S_AXI_HP0_ACLK"

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Where the memory lies; the second part is there where it is larger than the first."""
        if self.ultrascale:
            return (
                Segment("SAXIGP2/HP0_DDR_LOW", 0, 1 << 31),
                Segment("SAXIGP2/HP0_DDR_HIGH", 0x8_0000_0000, 1 << 35),
            )
        return (Segment("S_AXI_HP0/HP0_DDR_LOWOCM", 0, 1 << 29),)

    @property
    def other_segments(self) -> tuple[str, ...]:
        """What else lies behind the memory's interface and is none of the DMAs' business."""
        return ("SAXIGP2/HP0_LPS_OCM", "SAXIGP2/HP0_QSPI") if self.ultrascale else ()

    @property
    def external(self) -> dict[str, str]:
        """Interfaces that leave the design -> their type: pins of the processing system itself."""
        if self.ultrascale:
            return {}
        return {
            "DDR": "xilinx.com:interface:ddrx_rtl:1.0",
            "FIXED_IO": "xilinx.com:display_processing_system7:fixedio_rtl:1.0",
        }


def _ddr4(
    mhz: int, speed: str, chip_bits: int, megabits: int, rows: int, groups: int,
    latencies: tuple[int, int, int, int], times: tuple[str, str, str] = ("47.06", "33", "30.0"),
    components: str = "Components",
) -> dict[str, str]:  # fmt: skip
    """Return the properties of a 64-bit DDR4 memory.

    Args:
        mhz: of its clock.
        speed: its speed bin.
        chip_bits: width of a chip.
        megabits: what a chip holds.
        rows, groups: address bits of rows and bank groups.
        latencies: CL, CWL, T_RCD, T_RP in clocks.
        times: T_RC, T_RAS_MIN, T_FAW in ns.
        components: chips on the board, or a module.
    """
    facts = {
        "MEMORY_TYPE": "DDR 4",
        "COMPONENTS": components,
        "BUS_WIDTH": "64 Bit",
        "DRAM_WIDTH": f"{chip_bits} Bits",
        "DEVICE_CAPACITY": f"{megabits} MBits",
        "SPEED_BIN": speed,
        "RANK_ADDR_COUNT": "0",
        "BG_ADDR_COUNT": str(groups),
        "BANK_ADDR_COUNT": "2",
        "ROW_ADDR_COUNT": str(rows),
        "COL_ADDR_COUNT": "10",
        **dict(zip(("CL", "CWL", "T_RCD", "T_RP"), map(str, latencies), strict=True)),
        **dict(zip(("T_RC", "T_RAS_MIN", "T_FAW"), times, strict=True)),
    }
    named = {f"PSU__DDRC__{name}": value for name, value in facts.items()}
    return named | {"PSU__CRF_APB__DDR_CTRL__FREQMHZ": str(mhz)}


def _lpddr4(megabits: int, rows: int, ranks: int) -> dict[str, str]:
    """Return the properties of a 32-bit LPDDR4 memory; see `_ddr4`."""
    facts = {
        "MEMORY_TYPE": "LPDDR 4",
        "BUS_WIDTH": "32 Bit",
        "DRAM_WIDTH": "32 Bits",
        "DEVICE_CAPACITY": f"{megabits} MBits",
        "SPEED_BIN": "LPDDR4_1066",
        "RANK_ADDR_COUNT": str(ranks),
        "BANK_ADDR_COUNT": "3",
        "ROW_ADDR_COUNT": str(rows),
        "COL_ADDR_COUNT": "10",
        "T_RCD": "10",
        "T_RP": "12",
        "T_RC": "63",
        "T_RAS_MIN": "42",
        "T_FAW": "40.0",
    }
    named = {f"PSU__DDRC__{name}": value for name, value in facts.items()}
    return named | {"PSU__CRF_APB__DDR_CTRL__FREQMHZ": "533"}


_PYNQ_MEMORY = {
    "PCW_APU_PERIPHERAL_FREQMHZ": "650",
    "PCW_UIPARAM_DDR_PARTNO": "MT41J256M16 RE-125",
    "PCW_UIPARAM_DDR_BUS_WIDTH": "16 Bit",
    "PCW_UIPARAM_DDR_FREQ_MHZ": "525",
}
_2400 = ("45.32", "32.0", "30.0")

SYSTEMS = {
    "Pynq-Z1": ProcessingSystem(
        *("xc7z020clg400-1", "50", _PYNQ_MEMORY),
        f"{PYNQ}Pynq-Z1/petalinux_bsp/hardware_project/pynqz1.tcl",
    ),
    "Pynq-Z2": ProcessingSystem(
        *("xc7z020clg400-1", "50", _PYNQ_MEMORY),
        f"{PYNQ}Pynq-Z2/petalinux_bsp/hardware_project/pynqz2.tcl",
    ),
    "Ultra96": ProcessingSystem(
        *("xczu3eg-sbva484-1-e", "33.333333", _lpddr4(8192, 15, 1)),
        f"{STORE}Avnet/ultra96v1/1.2 board.xml, preset.xml",
    ),
    "Ultra96-V2": ProcessingSystem(
        *("xczu3eg-sbva484-1-i", "33.333333", _lpddr4(16384, 16, 0)),
        f"{STORE}Avnet/ultra96v2/1.2 preset.xml",
    ),
    "KV260_SOM": ProcessingSystem(
        *("xck26-sfvc784-2LV-c", "33.333"),
        _ddr4(1200, "DDR4_2400R", 16, 8192, 16, 1, (16, 14, 16, 16)),
        f"{STORE}Xilinx/kv260_som/1.4 preset_s4.xml",
    ),
    "ZCU102": ProcessingSystem(
        *("xczu9eg-ffvb1156-2-e", "33.330"),
        _ddr4(1067, "DDR4_2133P", 8, 4096, 15, 2, (15, 14, 15, 15), components="UDIMM"),
        f"{STORE}Xilinx/zcu102/3.4 preset.xml",
    ),
    "ZCU104": ProcessingSystem(
        *("xczu7ev-ffvc1156-2-e", "33.333333"),
        _ddr4(1067, "DDR4_2133P", 16, 4096, 15, 1, (15, 14, 15, 15)),
        f"{STORE}Xilinx/zcu104/1.1 preset.xml",
    ),
    "ZCU111": ProcessingSystem(
        *("xczu28dr-ffvg1517-2-e", "33.333"),
        _ddr4(1067, "DDR4_2133P", 16, 8192, 16, 1, (15, 14, 15, 15), components="UDIMM"),
        f"{STORE}Xilinx/zcu111/1.4 preset.xml",
    ),
    "RFSoC2x2": ProcessingSystem(
        *("xczu28dr-ffvg1517-2-e", "33.333"),
        _ddr4(1200, "DDR4_2400R", 16, 16384, 17, 1, (16, 12, 16, 16), _2400),
        f"{STORE}Xilinx/rfsoc2x2/1.1 board.xml, preset.xml",
    ),
    "RFSoC4x2": ProcessingSystem(
        *("xczu48dr-ffvg1517-2-e", "33.33333"),
        _ddr4(1200, "DDR4_2400R", 16, 8192, 16, 1, (16, 12, 16, 16), _2400),
        "RFSoC4x2-BSP board_files/rfsoc4x2/1.0 preset.xml",
    ),
}
"""The boards that a bitfile is built for, by FINN's names of them."""
