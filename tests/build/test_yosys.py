"""Resource counts from Yosys."""

import errno
import subprocess
import time

import pytest

from build.rtl.kernel import wrapper
from build.rtl.kernels import DepthwiseVVU, WidthConverter, WindowMax
from build.yosys import DELAYS, count, primitives, synthesise
from models.children import in_threads
from models.errors import CheckFailed
from tests.conftest import mounted


def test_cells_are_summed_to_resources():
    cells = {"LUT2": 3, "LUT6": 4, "INV": 1, "RAM32M": 2, "SRL16E": 5, "SRLC32E": 1, "FDRE": 7,
             "FDSE": 1, "FDRE_1": 1, "DSP48E2": 2, "RAMB18E2": 3, "RAMB36E1": 2, "CARRY8": 9,
             "MUXF7": 4}  # fmt: skip
    assert count(cells) == {
        "LUT": 3 + 4 + 1 + 8 + 6, "LUTRAM": 8, "SRL": 6, "FF": 9, "DSP": 2, "BRAM_18K": 7, "URAM": 0
    }  # fmt: skip


def test_primitives_are_declared_without_contents():
    text = primitives()
    for name in ("DSP48E1", "DSP48E2", "LUT6_2"):
        assert f"module {name}" in text
    assert text.count("endmodule") == 3
    assert "always" not in text and "assign" not in text


def unit(kernel):
    top = wrapper(kernel, "accelerator", "memblock.dat")
    return {kernel.source.name: kernel.source.read_text(), "accelerator.v": top}


@pytest.mark.slow  # the first run of Yosys on a machine compiles it for a minute
def test_kernels_map_to_what_they_promise(tmp_path, monkeypatch):
    monkeypatch.setenv("AARONNET_CACHE", str(tmp_path))
    kernel = DepthwiseVVU(8, 3, 7, 4, 6, True, 6, True, 14, True)
    files = {"memblock.dat": b"".join(b"%06x\n" % n for n in range(6))}
    for family in ("xcup", "xc7"):
        found = synthesise(unit(kernel), files, family)
        assert found["DSP"] == kernel.resources().dsp == 4
        assert found["BRAM_18K"] == 0
    pool = WindowMax(8, 2, 8, 4, 8, True)
    found = synthesise(unit(pool), {}, "xcup")
    assert found["DSP"] == found["BRAM_18K"] == 0
    assert 0.5 < found["LUT"] / pool.resources().lut < 2
    converter = WidthConverter(264, 6, True, 11, 3)
    found = synthesise(unit(converter), {}, "xcup")
    assert 0.5 < found["LUT"] / converter.resources().lut < 2
    assert found["untimed"] is None and 0 < found["levels"] < found["delay_ps"] < 10_000
    # From the cache: no Yosys.
    monkeypatch.setattr("build.yosys.run", None)
    assert synthesise(unit(converter), {}, "xcup") == found


@pytest.mark.slow
def test_a_broken_source_names_yosys_complaint(tmp_path, monkeypatch):
    monkeypatch.setenv("AARONNET_CACHE", str(tmp_path))
    with pytest.raises(CheckFailed, match="Yosys cannot synthesise"):
        synthesise({"a.sv": "module accelerator(input clk); assign y = ; endmodule"}, {}, "xcup")


DEEP = """module accelerator(input clk, we, d, input [8:0] a, output q);
    (* ram_style = "distributed" *) logic memory[512];
    assign q = memory[a];
    always_ff @(posedge clk) if(we) memory[a] <= d;
endmodule
"""


@pytest.mark.slow
@pytest.mark.parametrize(("family", "luts"), [("xcup", 8), ("xc7", 8)])
def test_deep_distributed_memories(family, luts, tmp_path, monkeypatch):
    monkeypatch.setenv("AARONNET_CACHE", str(tmp_path))
    assert synthesise({"deep.sv": DEEP}, {}, family)["LUTRAM"] == luts


def test_what_the_cache_remembers_is_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("AARONNET_CACHE", str(tmp_path))
    runs = []
    monkeypatch.setattr(
        "build.yosys._run",
        lambda *given: runs.append(given) or {"cells": {"LUT6": 3}, **dict.fromkeys(DELAYS)},
    )
    given = {"a.sv": "module accelerator(); endmodule"}, {}, "xcup"
    first = synthesise(*given)
    assert first["LUT"] == 3 and synthesise(*given) == first and len(runs) == 1
    (cached,) = (tmp_path / "netlists").glob("*.json")
    whole = cached.read_text()
    for damaged in ("", "[]", "{}", '{"cells": 3}', '{"cells": {}}', whole[:40],
                    whole.replace("3", "7", 1)):  # fmt: skip
        cached.write_text(damaged)
        assert synthesise(*given) == first
        assert cached.read_text() == whole
    assert len(runs) == 8


def test_a_yosys_that_was_killed_leaves_no_log(tmp_path, monkeypatch):
    monkeypatch.setenv("AARONNET_CACHE", str(tmp_path))
    monkeypatch.setattr(
        "build.yosys.run", lambda command, *_: subprocess.CompletedProcess(command, -9, "half", "")
    )
    with pytest.raises(CheckFailed, match=r"killed by signal 9 while it synthesised a\.sv"):
        synthesise({"a.sv": "module accelerator(); endmodule"}, {}, "xcup")
    assert [path for path in tmp_path.rglob("*") if path.suffix == ".log"] == []


DELAY = """module accelerator(input clk, input [3:0] d, a, output [3:0] q);
    for(genvar i = 0; i < 4; i++) begin
        logic [15:0] shift;
        always_ff @(posedge clk) shift <= {shift[14:0], d[i]};
        assign q[i] = shift[a];
    end
endmodule
"""


@pytest.mark.slow
def test_a_variable_delay_is_shift_registers(tmp_path, monkeypatch):
    monkeypatch.setenv("AARONNET_CACHE", str(tmp_path))
    found = synthesise({"delay.sv": DELAY}, {}, "xcup")
    assert (found["SRL"], found["FF"]) == (4, 0)
    monkeypatch.setattr("build.yosys.SHIFTX", "module unused(); endmodule")
    assert synthesise({"delay.sv": DELAY}, {}, "xcup")["SRL"] == 0, "else SHIFTX may go"


def test_yosys_compiles_itself_before_several_run(tmp_path, monkeypatch):
    monkeypatch.setenv("AARONNET_CACHE", str(tmp_path))
    seen = []

    def fake(command, *_):
        seen.append(("begins", command[-1]))
        time.sleep(0.2)
        seen.append(("ends", command[-1]))
        return subprocess.CompletedProcess(command, -9, "", "")

    def one(number):
        with pytest.raises(CheckFailed, match="killed"):
            synthesise({"a.sv": f"module accelerator(); endmodule // {number}"}, {}, "xcup")

    monkeypatch.setattr("build.yosys.run", fake)
    in_threads(one, range(3), 3)
    first = seen.index(("begins", "run.ys"))
    begun = [what for what, command in seen[:first] if command == "-V"]
    assert begun[:2] == ["begins", "ends"]
    # Whoever looks meanwhile waits for its turn.
    versions = [what for what, command in seen if command == "-V"]
    assert versions == ["begins", "ends"] * (len(versions) // 2)
    assert [command for _, command in seen].count("run.ys") == 6


# Registers of a reset: no shift register takes their place.
STAGES = """module accelerator(input clk, rst, input [19:0] a, b, output logic [19:0] q);
    logic [19:0] x, y, p, sum;
    always_ff @(posedge clk) begin
        x <= a; y <= b; %s q <= sum;
        if (rst) begin x <= 0; y <= 0; p <= 0; sum <= 0; q <= 0; end
    end
endmodule
"""


@pytest.mark.slow
@pytest.mark.parametrize("family", ["xcup", "xc7"])
def test_paths_between_registers_are_found(family, tmp_path, monkeypatch):
    """Not only those that begin at a port, which here are of no logic at all."""
    monkeypatch.setenv("AARONNET_CACHE", str(tmp_path))

    def path(stage):
        found = synthesise({"stages.sv": STAGES % stage}, {}, family)
        assert found["untimed"] is None
        return found["delay_ps"], found["DSP"]

    none, one = path("sum <= x;"), path("sum <= x + y;")
    two, behind_slice = path("sum <= x + y + a;"), path("p <= x[7:0] * y[7:0]; sum <= p + b;")
    assert none == (0, 0)
    # A LUT and five chains of four bits, at least.
    assert (one[0] > 238 + 5 * 157, one[1]) == (True, 0) and two[0] > one[0]
    assert behind_slice[1] == 1


@pytest.mark.slow
def test_a_loop_of_logic_is_counted_and_not_timed(tmp_path, monkeypatch):
    monkeypatch.setenv("AARONNET_CACHE", str(tmp_path))
    loop = (
        "module accelerator(input a, output q); wire w = ~(q & a); assign q = ~(w & a); endmodule"
    )
    found = synthesise({"loop.sv": loop}, {}, "xcup")
    assert found["LUT"] > 0 and (found["delay_ps"], found["levels"]) == (None, None)
    assert "a loop of logic" in found["untimed"]


@pytest.mark.slow
def test_a_full_disk_is_told(tmp_path, monkeypatch):
    with mounted(tmp_path / "disk", "200k") as disk, pytest.raises(OSError) as caught:
        monkeypatch.setenv("AARONNET_CACHE", str(disk))
        (disk / "filler").write_bytes(bytes(164 << 10))
        synthesise({"delay.sv": DELAY}, {}, "xcup")
    assert caught.value.errno == errno.ENOSPC
