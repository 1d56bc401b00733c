"""The DMAs' RTL against cocotbext-axi: a memory, a master and streams that others have written."""

from pathlib import Path

import pytest

from build.rtl.dmas import sources
from models import children

FAULTS = {
    "strobes": ("dma_write.sv", "sending_last && m_axi_wlast? tail : '1", "'1"),
    "done": ("dma_control.sv", "(done && !(read && (s_axi_araddr[6:2] == 0))", "(done"),
}
"""File, what is in it and what would be wrong in its place."""


def simulator(folder: Path, texts: dict[str, str]) -> None:
    """Build an executable in which cocotb runs."""
    import cocotb_tools.config as cocotb

    from build.simulation.verilate import VERILATOR_FLAGS, _verilator
    from tests.build.dma.cocotb_bench import TOP, top

    binary, environment = _verilator()
    texts = texts | {f"{TOP}.sv": top()}
    for file, text in texts.items():
        (folder / file).write_text(text)
    libraries = cocotb.libs_dir
    command = [binary, *VERILATOR_FLAGS, "--build-jobs", "1", "--vpi", "--timescale", "1ns/1ps"]
    command += ["--top-module", TOP, "--prefix", "Vtop", "--Mdir", str(folder), "-o", TOP]
    command += ["-LDFLAGS", f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"]
    command += [str(cocotb.share_dir / "lib" / "verilator" / "verilator.cpp"), *texts]
    done = children.run(command, folder, environment)
    assert done.returncode == 0, done.stdout + done.stderr


def failures(folder: Path, texts: dict[str, str]) -> int:
    """Return in how many widths transfers of DMAs of these sources failed."""
    from cocotb_tools.runner import get_results, get_runner

    from tests.build.dma.cocotb_bench import TOP, UNITS

    simulator(folder, texts)
    results = folder / "results.xml"
    try:
        get_runner("verilator").test(
            test_module="tests.build.dma.cocotb_bench",
            hdl_toplevel=TOP,
            hdl_toplevel_lang="verilog",
            build_dir=folder,
            # Registers without a reset come up random.
            plusargs=["+verilator+rand+reset+2", "+verilator+seed+1"],
            extra_env={"COCOTB_LOG_LEVEL": "WARNING"},
            results_xml=str(results),
            seed=1,
        )
    except SystemExit:  # how the runner says that something failed
        assert results.exists(), "the simulator itself stopped"
    count, failed = get_results(results)
    assert count == len(UNITS)
    return failed


@pytest.fixture
def reference() -> None:
    for name in ("cocotb", "cocotbext.axi"):
        pytest.importorskip(name, reason=f"{name} is not installed; run: make setup")


@pytest.mark.slow  # one more simulator, and Python at every clock
def test_transfers_against_cocotbext_axi_are_right(reference, tmp_path):
    assert failures(tmp_path, sources()) == 0


@pytest.mark.slow  # a simulator each
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_noticed_in_either_width(reference, fault, tmp_path):
    file, right, wrong = FAULTS[fault]
    texts = sources()
    assert texts[file].count(right) == 1
    texts[file] = texts[file].replace(right, wrong)
    assert failures(tmp_path, texts) == 2
