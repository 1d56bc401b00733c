"""The Vivado project of every board, in a stand-in that checks what can be checked without Vivado.

What it checks against is written down in catalogue.py, modules.py and tool.py, each with its
document; that a fault is found is shown by mutants.py.
"""

import re
import subprocess
from dataclasses import dataclass

import pytest

from models.errors import BadInput, CheckFailed
from tests.build.vivado.catalogue import ultrascale_memory
from tests.build.vivado.modules import Wrong, read_module
from tests.build.vivado.mutants import MUTANTS
from tests.build.vivado.projects import tiny_accelerator, tiny_project
from tests.build.vivado.tool import COMMANDS, Vivado

pytest.importorskip("tkinter", reason="runs Tcl with Python's own interpreter")
pytestmark = pytest.mark.usefixtures("finn")


@dataclass(frozen=True)
class Published:
    """What a board's makers publish: device, MHz of the processor's clock, GiB at the processor."""

    part: str
    mhz: float
    memory: float
    source: str


BOARDS = {
    "Pynq-Z1": Published("xc7z020clg400-1", 50, 0.5, "Digilent, PYNQ-Z1 Reference Manual, 2, 7"),
    "Pynq-Z2": Published("xc7z020clg400-1", 50, 0.5, "TUL, PYNQ-Z2 User Manual; PYNQ's pynqz2.tcl"),
    "Ultra96": Published("xczu3eg-sbva484-1-e", 33.333333, 2, "Avnet's board.xml, preset.xml"),
    "KV260_SOM": Published("xck26-sfvc784-2LV-c", 33.333, 4, "AMD, DS987 Kria K26; preset_s4.xml"),
    "ZCU102": Published("xczu9eg-ffvb1156-2-e", 33.33, 4, "AMD, UG1182; preset.xml"),
    "ZCU104": Published("xczu7ev-ffvc1156-2-e", 33.333333, 2, "AMD, UG1267; preset.xml"),
    "RFSoC2x2": Published("xczu28dr-ffvg1517-2-e", 33.333, 8, "XUP's board.xml, preset.xml"),
    "RFSoC4x2": Published("xczu48dr-ffvg1517-2-e", 33.33333, 4, "Real Digital's preset.xml"),
}


def value(tool: Vivado, name: str) -> str:
    return tool.design.cells["zynq_ps"].properties[name]


@pytest.mark.parametrize("board", BOARDS)
def test_the_project_of_a_board_passes_all_checks(board, tmp_path):
    from build.rtl.dmas import memory_port
    from build.shell.reports import read_reports

    wanted, tool = BOARDS[board], Vivado()
    tool.run(tiny_project(board, tmp_path / "vivado", clock=187.5))
    assert {words[0] for words in tool.words} <= COMMANDS.keys() and len(tool.words) > 200
    assert tool.part == wanted.part and tool.step == "open"
    port = memory_port(wanted.part)
    memory = next(
        one for name, one in tool.design.interfaces().items() if name == "idma0/m_axi_gmem"
    )
    assert (memory.data, memory.address) == (port.data_bits, port.address_bits)
    reached = {
        segment: size
        for (space, segment), (_, size) in tool.design.assigned.items()
        if space == "idma0/m_axi_gmem"
    }
    if wanted.part.startswith("xc7z"):
        assert float(value(tool, "PCW_CRYSTAL_PERIPHERAL_FREQMHZ")) == wanted.mhz
        assert value(tool, "PCW_S_AXI_HP0_DATA_WIDTH") == str(port.data_bits)
        assert sum(reached.values()) == wanted.memory * 2**30
    else:
        assert float(value(tool, "PSU__PSS_REF_CLK__FREQMHZ")) == wanted.mhz
        assert value(tool, "PSU__SAXIGP2__DATA_WIDTH") == str(port.data_bits)
        found = ultrascale_memory(
            {"PSU__DDRC__BG_ADDR_COUNT": "0", **tool.design.cells["zynq_ps"].properties}
        )
        assert found == wanted.memory * 2**30 and len(reached) == 1 + (found > 2**31)
    # The wizard's name is one that the driver looks at; whole MHz are not needed.
    assert tool.design.cells["clk_wiz_0"].properties["CLKOUT1_REQUESTED_OUT_FREQ"] == "187.5"
    implementation = read_reports(tmp_path / "vivado" / "reports")
    assert implementation.clock_mhz == 187.5
    # What synthesis reads has whole paths to memories' contents.
    (top,) = (path for path in tool.sources if path.name == "accelerator.sv")
    (named,) = re.findall(r'readmemh\("(.*?)"', top.read_text())
    assert named == str(tmp_path / "vivado" / "data" / "node.memblock.dat")


def test_the_registers_lie_where_the_virtual_board_has_them(tmp_path):
    from deploy.virtual_board.overlay import ULTRASCALE, ZYNQ7000

    for board, family in (("ZCU104", ULTRASCALE), ("Pynq-Z2", ZYNQ7000)):
        tool = Vivado()
        tool.run(tiny_project(board, tmp_path / board))
        for index, dma in enumerate(("idma0", "odma0")):
            place = tool.design.assigned["zynq_ps/Data", f"{dma}/s_axi_control/reg0"]
            assert place == (family.address(index), 0x10000)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: f"{one.file}: {one.said}")
def test_a_fault_is_found(mutant, tmp_path):
    script = tiny_project(mutant.board, tmp_path / "vivado")
    mutant.apply(script.parent)
    with pytest.raises(Wrong) as caught:
        Vivado().run(script)
    assert mutant.said in str(caught.value)


def test_a_missed_clock_names_the_worst_path(tmp_path):
    from build.shell.reports import read_reports

    Vivado((-0.5, 0.01)).run(tiny_project("ZCU104", tmp_path / "vivado"))
    message = (
        r"200 MHz are missed by 0\.500 ns of setup on the path from top_i/accelerator/\S+ to "
        r"top_i/accelerator/\S+ \(6 levels of logic, 3\.871 ns\); about 182 MHz would do"
    )
    with pytest.raises(CheckFailed, match=message):
        read_reports(tmp_path / "vivado" / "reports")


def test_a_missed_hold_time_is_one_too(tmp_path):
    from build.shell.reports import read_reports

    Vivado((0.1, -0.02)).run(tiny_project("Pynq-Z1", tmp_path / "vivado"))
    with pytest.raises(CheckFailed, match=r"missed by 0\.020 ns of hold on the path from .* ns\)$"):
        read_reports(tmp_path / "vivado" / "reports")


@pytest.mark.parametrize(
    ("file", "old", "message"),
    [
        ("utilization.rpt", "CLB LUTs", "no LUT in utilization.rpt"),
        ("power.rpt", "Total On-Chip", "no Total On-Chip Power"),
        ("facts.txt", "max.SLACK", "max.SLACK"),
    ],
)
def test_reports_that_say_something_else_are_refused(file, old, message, tmp_path):
    from build.shell.reports import read_reports

    Vivado().run(tiny_project("ZCU104", tmp_path / "vivado"))
    path = tmp_path / "vivado" / "reports" / file
    path.write_text(path.read_text().replace(old, "?"))
    with pytest.raises(CheckFailed, match=message):
        read_reports(path.parent)


@pytest.mark.parametrize("run", ["synth_1", "impl_1"])
def test_a_run_that_fails_ends_the_script(run, tmp_path):
    with pytest.raises(Wrong, match=f"ended with: {run} ERROR"):
        Vivado(failing=run).run(tiny_project("ZCU104", tmp_path / "vivado"))
    assert not (tmp_path / "vivado" / "reports").exists()


def test_a_board_without_a_shell_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no shell for U250, it gets as far as --to stitched"):
        tiny_project("U250", tmp_path / "vivado")


def test_the_modules_are_whole(tmp_path):
    """Verilator elaborates every cell with the sources that Vivado gets."""
    from build.simulation.verilate import _verilator

    binary, environment = _verilator()
    script = tiny_project("ZCU104", tmp_path / "vivado")
    (tmp_path / "vivado" / "hdl" / "node.memblock.dat").write_bytes(b"01\n02\n03\n04\n")
    sources = re.findall(r"{([\w.]+)}", re.search(
        r"^set sources (.*)$", (script.parent / "settings.tcl").read_text(), re.M)[1])  # fmt: skip
    for cell in ("idma0", "odma0", "accelerator"):
        path = script.parent / "hdl" / f"shell_{cell}.v"
        name, _ = read_module(path.read_text())
        assert name == f"shell_{cell}"
        # Outputs that nobody needs are left open, see tests/build/dma/test_dma.py for the rest.
        waived = ["PINCONNECTEMPTY", "SYMRSVDWORD", "GENUNNAMED", "PROCASSINIT", "DECLFILENAME"]
        waived += ["UNUSEDSIGNAL", "UNDRIVEN"] if cell == "accelerator" else []
        command = [binary, "--lint-only", "-Wall", *(f"-Wno-{one}" for one in waived)]
        command += ["--top-module", name, *(str(path.parent / one) for one in sources)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_an_accelerator_of_two_inputs_has_no_place(tmp_path):
    from dataclasses import replace

    from build.boards import find_board
    from build.shell.project import write_project

    made = tiny_accelerator()
    made = replace(made, links=(*made.links, made.links[0]))
    with pytest.raises(BadInput, match="several inputs"):
        write_project(made, find_board("ZCU104"), 100, tmp_path / "vivado")
