"""Scripts, settings and modules with one fault each, and the words of the complaint about it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """One change of one file of a project, and what Vivado has to say of it.

    Attributes:
        file: below the project's folder.
        old, new: the change.
        said: part of the complaint.
        board: whose project.
    """

    file: str
    old: str
    new: str
    said: str
    board: str = "ZCU104"

    def apply(self, folder: Path) -> None:
        path = folder / self.file
        text = path.read_text()
        assert text.count(self.old) == 1, (self.file, self.old, text.count(self.old))
        path.write_text(text.replace(self.old, self.new))


SCRIPT, SETTINGS = "shell.tcl", "settings.tcl"
READ, WRITE, INNER = (f"hdl/shell_{name}.v" for name in ("idma0", "odma0", "accelerator"))
Z2 = "Pynq-Z2"
MUTANTS = (
    # The part, the processing system.
    Mutant(SETTINGS, "xczu7ev-ffvc1156-2-e", "xczu7ev-ffvc1156-9-e", "no part"),
    Mutant(SETTINGS, "ps_ip {zynq_ultra_ps_e}", "ps_ip {zynq_ultra_ps}", "no IP zynq_ultra_ps"),
    Mutant(
        SETTINGS,
        "ps_ip {zynq_ultra_ps_e}",
        "ps_ip {processing_system7}",
        "no property CONFIG.PSU__PSS_REF_CLK__FREQMHZ",
    ),
    Mutant(SETTINGS, "PSU__USE__S_AXI_GP2", "PSU__USE__SAXI_GP2", "has no property"),
    Mutant(SETTINGS, "{64 Bit}", "{64 Bits}", "cannot be 64 Bits"),
    Mutant(SETTINGS, "ROW_ADDR_COUNT} {15}", "ROW_ADDR_COUNT} {16}", "holds 8192 MBits"),
    Mutant(SETTINGS, "M_AXI_GP1} {0}", "M_AXI_GP1} {1}", "maxihpm1_fpd_aclk is not driven"),
    Mutant(SETTINGS, "FREQMHZ} {100}", "FREQMHZ} {125}", "clock is divided by 12"),
    Mutant(SETTINGS, "SRCSEL} {IOPLL}", "SRCSEL} {IO PLL}", "cannot be IO PLL"),
    Mutant(SETTINGS, "{50}", "{33.333333}", "clock is divided by 11", Z2),
    Mutant(SETTINGS, "{16 Bit}", "{32 Bit}", "not at 0x0", Z2),
    Mutant(SETTINGS, "PCW_IRQ_F2P_INTR} {1}", "PCW_IRQ_F2P_INTR} {0}", "zynq_ps/IRQ_F2P", Z2),
    Mutant(SETTINGS, "{DDR} {xilinx", "{DDR3} {xilinx", "nothing is called zynq_ps/DDR3", Z2),
    Mutant(SETTINGS, "ddrx_rtl", "ddr4_rtl", "DDR is of type", Z2),
    # Clocks and resets.
    Mutant(SCRIPT, "wire zynq_ps/$ps_clock clk_wiz_0/clk_in1\n", "", "clk_in1 is not driven"),
    Mutant(
        SCRIPT,
        "	control/aclk memory/aclk axi",
        "	control/aclk axi",
        "memory/aclk is not driven",
    ),
    Mutant(
        SCRIPT,
        "wire clk_wiz_0/clk_out1 \\\n	proc_sys_reset_0/slowest_sync_clk",
        "wire zynq_ps/$ps_clock idma0/ap_clk\nwire clk_wiz_0/clk_out1 \\\n	proc_sys_reset_0/"
        "slowest_sync_clk",
        "has 2 drivers",
    ),
    Mutant(
        SCRIPT,
        "	idma0/ap_clk accelerator/ap_clk odma0/ap_clk\n",
        "	accelerator/ap_clk odma0/ap_clk\nwire zynq_ps/$ps_clock idma0/ap_clk\n",
        "have clocks clk_wiz_0/clk_out1, zynq_ps/pl_clk0",
    ),
    Mutant(
        SCRIPT,
        "wire proc_sys_reset_0/interconnect_aresetn",
        "wire proc_sys_reset_0/bus_struct_reset",
        "resets of two polarities",
    ),
    Mutant(
        SCRIPT,
        "wire proc_sys_reset_0/interconnect_aresetn control/aresetn memory/aresetn",
        "wire clk_wiz_0/locked control/aresetn memory/aresetn",
        "is a rst, clk_wiz_0/locked a data",
    ),
    Mutant(SCRIPT, "accelerator/ap_rst_n odma0/ap_rst_n", "odma0/ap_rst_n", "accelerator/ap_rst_n"),
    Mutant(SCRIPT, "CONFIG.RESET_TYPE ACTIVE_LOW", "CONFIG.RESET_TYPE ACTIVE_HIGH", "polarities"),
    Mutant(SCRIPT, "CONFIG.RESET_PORT resetn", "CONFIG.RESET_PORT reset", "clk_wiz_0/resetn"),
    Mutant(SCRIPT, "CONFIG.USE_LOCKED true", "CONFIG.USE_LOCKED yes", "cannot be yes"),
    # Connections.
    Mutant(SCRIPT, "bus idma0/m_axis_0 accelerator/s_axis_0\n", "", "is not connected"),
    Mutant(
        SCRIPT,
        "bus idma0/m_axis_0 accelerator/s_axis_0",
        "bus idma0/m_axis_0 odma0/s_axis_0",
        "odma0/s_axis_0 is connected twice",
    ),
    Mutant(
        SCRIPT, "bus memory/M00_AXI zynq_ps/$ps_memory\n", "", "memory/M00_AXI is not connected"
    ),
    Mutant(
        SCRIPT,
        "bus idma0/m_axi_gmem memory/S00_AXI",
        "bus idma0/m_axi_gmem idma0/s_axi_control",
        "idma0/s_axi_control is connected twice",
    ),
    Mutant(SCRIPT, "NUM_MI 3", "NUM_MI 2", "nothing is called control/M02_AXI"),
    Mutant(SCRIPT, "NUM_MI 3", "NUM_MI 4", "control/M03_AXI is not connected"),
    Mutant(
        SCRIPT, "	wire $one/draining $other/others_drain\n", "", "others_drain is not driven"
    ),
    Mutant(
        SCRIPT,
        "wire idma0/resetting accelerator/source_resetting\n",
        "",
        "accelerator/source_resetting is not driven",
    ),
    Mutant(SCRIPT, "wire odma0/interrupt xlconcat_0/In1\n", "", "xlconcat_0/In1 is not driven"),
    Mutant(SCRIPT, "wire axi_intc_0/irq", "wire idma0/resetting", "pl_ps_irq0 is a intr"),
    Mutant(SCRIPT, "C_IRQ_CONNECTION 1", "C_IRQ_CONNECTION 0", "nothing is called axi_intc_0/irq"),
    Mutant(SCRIPT, "wire $one/reset_asked", "wire $one/reset_askd", "reset_askd"),
    # Addresses.
    Mutant(SETTINGS, "{idma0/s_axi_control/*} {0xA0000000} {0x10000} ", "", "reg0 has no address"),
    Mutant(SETTINGS, "0xA0010000", "0xA0000000", "overlap"),
    Mutant(SETTINGS, "0xA0010000", "0xA0018000", "cannot lie at 0xA0018000"),
    Mutant(SETTINGS, "0xA0020000", "0x90020000", "is outside zynq_ps/M_AXI_HPM0_FPD's"),
    Mutant(SETTINGS, "0x43C10000", "0x83C10000", "is outside zynq_ps/M_AXI_GP0's", Z2),
    Mutant(SETTINGS, "{0x0} {0x80000000}", "{0x0} {0x40000000}", "HP0_DDR_LOW lies at 0x0"),
    Mutant(SETTINGS, "{SAXIGP2/HP0_DDR_LOW} {0x0} {0x80000000} ", "", "HP0_DDR_LOW has no address"),
    Mutant(
        *(SETTINGS, "{0x800000000} {0x800000000}", "{0x400000000} {0x400000000}"),
        *("HP0_DDR_HIGH lies at 0x800000000", "ZCU102"),
    ),
    Mutant(SETTINGS, "{SAXIGP2/HP0_LPS_OCM} ", "", "HP0_LPS_OCM has no address"),
    Mutant(
        SCRIPT,
        "foreach space {idma0/m_axi_gmem odma0/m_axi_gmem}",
        "foreach space idma0/m_axi_gmem",
        "in odma0/m_axi_gmem",
    ),
    # Modules.
    Mutant(WRITE, "m_axi_gmem AWLEN", "m_axi_gmem AWLNE", "m_axi_gmem lacks AWLEN"),
    Mutant(READ, "input [127:0] m_axi_gmem_rdata", "input [63:0] m_axi_gmem_rdata", "RDATA is"),
    Mutant(READ, "output [39:0] m_axi_gmem_araddr", "input [39:0] m_axi_gmem_araddr", "ARADDR is"),
    Mutant(WRITE, "PROTOCOL AXI4LITE", "PROTOCOL AXI4", "s_axi_control lacks"),
    Mutant(READ, ":m_axis_0, ASSOCIATED", ", ASSOCIATED", "m_axis_0 has no clock"),
    Mutant(INNER, "input [63:0] s_axis_0_tdata", "input [31:0] s_axis_0_tdata", "s_axis_0 32"),
    Mutant(INNER, "POLARITY ACTIVE_LOW", "POLARITY ACTIVE_HIGH", "two polarities"),
    Mutant(SETTINGS, " {shell_odma0.v}", "", "0 sources define shell_odma0"),
    # Steps.
    Mutant(SCRIPT, "\nvalidate_bd_design\n", "\n", "before the project is validated"),
    Mutant(SCRIPT, "open_run impl_1\n", "", "before the project is open"),
    Mutant(SCRIPT, "-to_step write_bitstream ", "", "no bitstream is written"),
    Mutant(SCRIPT, "set_property top top_wrapper [current_fileset]\n", "", "top of the design"),
    Mutant(SCRIPT, "checkpoint_mode None", "checkpoint_mode none", "synth_checkpoint_mode"),
    Mutant(SCRIPT, "report_power -file", "report_power -out", "no option -out"),
    Mutant(SCRIPT, "save_bd_design\n", "save_bd_desing\n", "invalid command name"),
    Mutant(
        SCRIPT,
        "fact $kind.$name [get_property $name",
        "fact $kind.$name [get_property S$name",
        "has no property SSLACK",
    ),
)
