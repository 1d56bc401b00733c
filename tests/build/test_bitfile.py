"""FINN's own flow to a bitfile, with stand-ins for Xilinx' tools: what they are told to do."""

import json
from pathlib import Path

import pytest

from build.finn_config import clock_period
from build.flow import BuildResult, build
from models.errors import BadInput
from tests.build.small_aaronnet import frames_for, small_checkpoint
from tests.build.xilinx_stand_in import install, option, recorded

pytest.importorskip("tkinter", reason="runs Tcl with Python's own interpreter")


@pytest.fixture
def to_bitfile(tmp_path, monkeypatch):
    """Builds the small network's bitfile for a board."""
    install(tmp_path, monkeypatch)

    def run(board: str, **options) -> BuildResult:
        out = tmp_path / "out"
        return build(small_checkpoint(), board, out, to="bitfile", frames=frames_for(8), **options)

    return run


def bd_connections(calls: list[list[str]]) -> set[frozenset[str]]:
    """The pairs of interface pins that are joined."""
    return {
        frozenset(word for word in call[1:] if "/" in word)
        for call in calls
        if call[0] == "connect_bd_intf_net"
    }


@pytest.mark.parametrize(
    ("board", "clock", "part", "processor", "memory"),
    [
        ("ZCU104", 120, "xczu7ev-ffvc1156-2-e", "zynq_ultra_ps_e", "S_AXI_HP0_FPD"),
        pytest.param(
            *("Pynq-Z2", None, "xc7z020clg400-1", "processing_system7", "S_AXI_HP0"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_zynq_shell(to_bitfile, board, clock, part, processor, memory):
    result = to_bitfile(board, clock=clock)
    (folder,) = (result.folder / "finn").glob("vivado_zynq_proj_*")
    calls = recorded(folder)

    (project,) = (call for call in calls if call[0] == "create_project")
    assert option(project, "-part") == part
    cells = {call[-1]: call for call in calls if call[0] == "create_bd_cell"}
    assert processor in option(cells["zynq_ps"], "-vlnv")
    made_clock = [
        call[2] for call in calls if call[0] == "set_property" and call[-1] == "clk_wiz_0"
    ]
    assert f"CONFIG.CLKOUT1_REQUESTED_OUT_FREQ {clock or 100} " in made_clock[-1]

    network = "StreamingDataflowPartition_1"
    assert {"idma0", network, "odma0"} <= set(cells)
    assert bd_connections(calls) >= {
        frozenset(pair)
        for pair in (
            ("idma0/m_axis_0", f"{network}/s_axis_0"),
            (f"{network}/m_axis_0", "odma0/s_axis_0"),
            ("idma0/m_axi_gmem0", "smartconnect_0/S00_AXI"),
            ("odma0/m_axi_gmem0", "smartconnect_0/S01_AXI"),
            ("smartconnect_0/M00_AXI", f"zynq_ps/{memory}"),
        )
    }
    repositories = {
        path
        for call in calls
        if call[:2] == ["set_property", "ip_repo_paths"]
        for path in call[2].split()
    }
    assert repositories and all(Path(path).is_dir() for path in repositories)

    package = result.folder / "package"
    manifest = json.loads((package / "manifest.json").read_text())
    assert manifest["bitfile"] == "finn-accel.bit"
    assert manifest["clock_mhz"] == (clock or 100)
    assert {"finn-accel.bit", "finn-accel.hwh"} <= set(manifest["files"])


@pytest.mark.slow
def test_alveo_link(to_bitfile, monkeypatch):
    monkeypatch.setenv("PLATFORM_REPO_PATHS", "platforms")
    monkeypatch.setenv("XILINX_XRT", "xrt")
    result = to_bitfile("U250")
    (folder,) = (result.folder / "finn").glob("vitis_link_device_0_*")
    words = (folder / "calls.txt").read_text().splitlines()
    assert "u250" in option(words, "--platform")
    assert option(words, "--kernel_frequency") == "250"
    kernels = [word for word in words if word.endswith(".xo")]
    assert len(kernels) == 3 and all(Path(word).is_file() for word in kernels)
    config = Path(option(words, "--config")).read_text().splitlines()
    network = "StreamingDataflowPartition_1"
    assert [line for line in config if line.startswith("sc=")] == [
        f"sc=idma_0.m_axis_0:{network}.s_axis_0",
        f"sc={network}.m_axis_0:odma_0.s_axis_0",
    ]
    manifest = json.loads((result.folder / "package" / "manifest.json").read_text())
    assert manifest["bitfile"] == "finn-accel-0.xclbin"


def test_what_an_alveo_link_needs_is_named_before_any_work(to_bitfile, monkeypatch, tmp_path):
    monkeypatch.delenv("PLATFORM_REPO_PATHS", raising=False)
    monkeypatch.delenv("XILINX_XRT", raising=False)
    with pytest.raises(BadInput, match=r"PLATFORM_REPO_PATHS \(.*\) and XILINX_XRT \(source"):
        to_bitfile("U250")
    assert not (tmp_path / "out").exists()


def test_a_shell_makes_whole_megahertz_only(to_bitfile):
    with pytest.raises(BadInput, match="choose --clock 188 instead of 187.5"):
        to_bitfile("ZCU104", clock=187.5)


def test_the_shell_gets_every_clock_back():
    for clock in range(1, 1001):
        period = clock_period(clock)
        assert int(1 / (period * 0.001)) == clock  # as `MakeZYNQProject` does
        assert round(1000 / period) == clock  # as `VitisBuild` does
