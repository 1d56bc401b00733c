"""`aaronnet build --to bitfile` of both styles, with a stand-in for Vivado."""

import json
import subprocess

import pytest

from build.flow import build
from models.errors import BadInput, CheckFailed
from tests.build.small_aaronnet import frames_for, small_checkpoint
from tests.build.xilinx_stand_in import install
from tests.conftest import ROOT

pytest.importorskip("tkinter", reason="runs Tcl with Python's own interpreter")
BOARD_PYTHON = ROOT / ".venv-board" / "bin" / "python"


@pytest.fixture
def vivado(tmp_path, monkeypatch):
    """The stand-in, on the PATH."""
    install(tmp_path, monkeypatch)
    return monkeypatch


def check_bitfile(result, board: str, clock: float) -> None:
    """What a finished build has of its bitfile."""
    from build.finished import open_build
    from deploy.board.device import check_clock
    from deploy.board.package import read_package

    package = read_package(result.folder / "package")
    assert package.bitfile is not None and package.bitfile.name == "accelerator.bit"
    assert package.overlay == package.bitfile and package.clock_mhz == clock
    check_clock(package)
    handoff = package.overlay.with_suffix(".hwh").read_text()
    for dma in (package.input.dma, package.output.dma):
        assert f'INSTANCE="{dma}" MASTERBUSINTERFACE' in handoff
    facts = json.loads((result.folder / "report.json").read_text())["implementation"]
    assert facts["clock_mhz"] == clock and facts["setup"]["slack_ns"] == 0.213
    assert facts["resources"]["BRAM_18K"]["used"] == 207 and facts["power_w"]["total"] == 3.812
    opened = open_build(result.folder)
    assert opened.report.board == board and opened.report.implementation == (
        result.report.implementation
    )


def test_a_sparse_bitfile(vivado, tmp_path):
    from build.sparse.sparse_build import build_sparse

    out, given = tmp_path / "out", small_checkpoint()
    vivado.setenv("STAND_IN_SLACK", "-0.25,0.1")
    with pytest.raises(CheckFailed, match=r"missed by 0\.250 ns of setup .*reports: .*-reports"):
        build_sparse(given, "Pynq-Z2", out, to="bitfile", clock=112.5, frames=frames_for(8))
    kept = {path.name for path in (out / "vivado-reports").iterdir()}
    assert kept >= {"timing.rpt", "utilization.rpt", "power.rpt", "vivado.log"}
    assert not (out / "report.json").exists()

    vivado.delenv("STAND_IN_SLACK")
    result = build_sparse(given, "Pynq-Z2", out, to="bitfile", clock=112.5, frames=frames_for(8))
    check_bitfile(result, "Pynq-Z2", 112.5)
    assert not (out / "vivado-reports").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("board", "clock"), [("ZCU104", 187.5), ("Pynq-Z2", 100.0)])
def test_a_dense_bitfile(board, clock, vivado, tmp_path):
    out = tmp_path / "out"
    result = build(small_checkpoint(), board, out, to="bitfile", clock=clock, frames=frames_for(8))
    check_bitfile(result, board, clock)
    # The same project, to be taken to another machine.
    vivado.setenv("PATH", "/usr/bin")
    moved = build(
        small_checkpoint(), board, tmp_path / "two", to="project", clock=clock, frames=frames_for(8)
    )
    assert moved.report.implementation is None
    for name in ("settings.tcl", "shell.tcl", "hdl/shell_idma0.v", "hdl/accelerator.sv"):
        one, two = (folder / "vivado" / name for folder in (out, moved.folder))
        assert one.read_bytes() == two.read_bytes()


def test_pynq_finds_the_dmas(tmp_path, finn):
    """Unmodified pynq reads the handoff: names, addresses, the fabric's clock, interrupts."""
    from tests.build.vivado.projects import tiny_project
    from tests.build.vivado.tool import Vivado

    if not BOARD_PYTHON.exists():
        pytest.skip("make board-env")
    code = """
import sys
from pynqmetadata.frontends import Metadata
from pynqmetadata.views.runtime.clock_dict_view import ClockDictView
from pynqmetadata.views.runtime.ip_dict_view import IpDictView
found = Metadata(input=sys.argv[1])
for name, facts in IpDictView(found).view.items():
    print(name, hex(facts.get("phys_addr", 0)), facts.get("addr_range"))
# It looks a Zynq-7000's clock up under another name and finds none, see docs/boards.md.
if sys.argv[2] == "ZCU104":
    clock = ClockDictView(found).clock_dict[0]
    print("clock", clock["enable"], clock["divisor0"], clock["divisor1"])
"""
    for board, base in (("ZCU104", 0xA0000000), ("Pynq-Z2", 0x43C00000)):
        script = tiny_project(board, tmp_path / board)
        Vivado().run(script)
        handoff = script.parent / "accelerator.hwh"
        command = [str(BOARD_PYTHON), "-c", code, str(handoff), board]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        said = done.stdout.splitlines()
        for index, name in enumerate(("idma0", "odma0", "axi_intc_0")):
            assert f"{name} {base + index * 0x10000:#x} 65536" in said, done.stdout
        if board == "ZCU104":
            assert "clock 1 15 1" in said, done.stdout


def test_what_has_no_shell_is_refused_before_any_work(vivado, tmp_path):
    out = tmp_path / "out"
    for board in ("U250", "VEK280"):
        with pytest.raises(BadInput, match=f"no shell for {board}, it gets as far as --to stitch"):
            build(small_checkpoint(), board, out, to="bitfile")
    assert not out.exists()
