"""Whole-network simulation on the small network: every stream, timing, stalls, faults."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from qonnx.custom_op.registry import getCustomOp

from models.errors import BadInput, CheckFailed
from tests.build.hardware import fold, generate
from tests.build.small_network import frames, small_network
from tests.conftest import ROOT

DEEP = {"StreamingFIFO_rtl_5": 40, "StreamingFIFO_rtl_7": 700, "StreamingFIFO_rtl_9": 20}


def settings_for(folder, monkeypatch):
    import finn.util.settings

    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("FINN_BUILD_DIR", str(folder))
    monkeypatch.setattr(finn.util.settings, "_SETTINGS", None)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        settings_for(tmp_path_factory.mktemp("finn"), patch)
        yield generate(small_network(label_select=False), fold=fold, deep_fifos=DEEP)


@pytest.fixture(scope="module")
def accelerator(model):
    from build.simulation.stitch import stitch

    return stitch(model)


def reference(model, batch):
    from build.execute import trace

    return trace(model, batch)


def logits(model, batch):
    *_, (_, last) = reference(model, batch)
    return last.reshape(len(batch), -1)


def test_every_stream_is_bit_exact(model, accelerator):
    from build.simulation.simulate import differences, simulate

    batch = frames(6)
    simulation = simulate(accelerator, batch, record=True)
    assert differences(accelerator, simulation, reference(model, batch)) == []
    (output,) = simulation.outputs.values()
    expected = logits(model, batch)
    assert len(np.unique(expected)) > 10
    np.testing.assert_array_equal(output.reshape(6, -1), expected)


def test_cycles_are_those_of_the_slowest_node(model, accelerator):
    from build.simulation.simulate import simulate, stalls

    simulation = simulate(accelerator, frames(12), watch=True)
    estimate = max(getCustomOp(node).get_exp_cycles() for node in model.graph.node)
    assert simulation.cycles_per_frame == pytest.approx(estimate, rel=0.02)
    assert simulation.cycles_per_frame < simulation.latency_cycles < 10 * estimate
    assert min(simulation.fifos.values()) > 0
    worst = stalls(accelerator, simulation)
    assert worst[0].blocked > 0.1


def test_nothing_is_lost_or_reordered_under_random_back_pressure(model, accelerator):
    from build.simulation.simulate import simulate

    batch = frames(150, seed=3)
    expected = logits(model, batch)
    for seed, (stall, burst) in enumerate([(0.0, 1), (0.2, 40), (0.6, 5)]):
        simulation = simulate(accelerator, batch, stall=stall, burst=burst, seed=seed)
        (output,) = simulation.outputs.values()
        np.testing.assert_array_equal(output.reshape(len(batch), -1), expected)


@pytest.mark.parametrize(
    ("file", "node"),
    [
        ("MVAU_rtl_1.memblock.dat", "MVAU_rtl_1"),
        ("VVAU_rtl_0.memblock.dat", "VVAU_rtl_0"),
        ("ChannelAdd_rtl_0.memblock.dat", "ChannelAdd_rtl_0"),
        ("Thresholding_rtl_0.Thresholding_rtl_0_threshs_0_1.dat", "Thresholding_rtl_0"),
    ],
)
def test_one_flipped_bit_names_its_node(model, accelerator, file, node):
    from build.simulation.simulate import differences, simulate

    lines = accelerator.files[file].decode().split()
    digits = len(lines[0])
    # A weight's bit shows at once; of a threshold, only a high one moves enough values.
    bit = 9 if "threshs" in file else 1
    lines[1] = f"{int(lines[1], 16) ^ (1 << bit):0{digits}x}"
    broken = dataclasses.replace(
        accelerator, files=accelerator.files | {file: "\n".join(lines).encode()}
    )
    batch = frames(6)
    simulation = simulate(broken, batch, record=True)
    found = differences(broken, simulation, reference(model, batch))
    assert found[0].node == node
    assert found[0].expected != found[0].found


def test_a_starved_accelerator_is_reported_as_such(accelerator):
    from build.simulation.verilate import Collect, Feed, build, run

    (source,), (sink,) = accelerator.inputs, accelerator.outputs
    half = source.stream.pack(source.to_words(frames(1)))[:10]
    result = run(
        build(accelerator.design),
        {source.name: Feed(half)},
        {sink.name: Collect(sink.words)},
        widths={sink.name: sink.stream.width},
        files=accelerator.files,
        idle=5000,
    )
    assert "no word moved for 5000 cycles" in result.failure


def test_surplus_words_are_reported(accelerator):
    from build.simulation.verilate import Collect, Feed, build, run

    (source,), (sink,) = accelerator.inputs, accelerator.outputs
    result = run(
        build(accelerator.design),
        {source.name: Feed(source.stream.pack(source.to_words(frames(3))))},
        {sink.name: Collect(2 * sink.words)},
        widths={sink.name: sink.stream.width},
        files=accelerator.files,
        drain=5000,
    )
    assert "more words than expected" in result.failure


def test_a_crashing_simulator_is_an_error(accelerator):
    from build.simulation.simulate import simulate

    with pytest.raises(CheckFailed, match="simulator stopped"):
        accelerator = dataclasses.replace(
            accelerator, links=(dataclasses.replace(accelerator.links[0], name="no_such_port"),)
            + accelerator.links[1:],
        )  # fmt: skip
        simulate(accelerator, frames(1))


def test_same_accelerator_in_another_folder_needs_no_new_build(accelerator, tmp_path, monkeypatch):
    from build.simulation import verilate
    from build.simulation.stitch import stitch

    settings_for(tmp_path / "elsewhere", monkeypatch)
    again = stitch(generate(small_network(label_select=False), fold=fold, deep_fifos=DEEP))
    assert again.design == accelerator.design
    assert again.files == accelerator.files
    # Other weights are other files, read at run time.
    other = stitch(generate(small_network(7, label_select=False), fold=fold, deep_fifos=DEEP))
    assert other.files != accelerator.files
    path = verilate.build(accelerator.design)

    def refuse(*_args, **_kwargs):
        raise AssertionError("built again")

    monkeypatch.setattr(verilate, "_compile", refuse)
    assert verilate.build(again.design) == path


def test_a_node_that_is_no_rtl_is_refused():
    from build.simulation.stitch import stitch

    with pytest.raises(BadInput, match="not RTL"):
        stitch(small_network())


def test_missing_hdl_is_refused(tmp_path, monkeypatch):
    from build.rtl.specialize import SpecializeForRTL
    from build.simulation.stitch import stitch

    settings_for(tmp_path / "finn", monkeypatch)
    with pytest.raises(BadInput, match="no generated HDL"):
        stitch(small_network().transform(SpecializeForRTL("xczu7ev-ffvc1156-2-e")))


def test_a_broken_design_names_the_first_complaint(tmp_path, monkeypatch):
    from build.simulation.verilate import Design, build

    monkeypatch.setenv("AARONNET_CACHE", str(tmp_path))
    with pytest.raises(CheckFailed, match="bad.sv"):
        build(Design("bad", {"bad.sv": "module bad(input ap_clk); assign x = ; endmodule\n"}, []))


WIRE = """
module wired(input ap_clk, ap_rst_n, in0_TVALID, out0_TREADY, input [7:0] in0_TDATA,
             output in0_TREADY, out0_TVALID, output [7:0] out0_TDATA);
assign {out0_TVALID, out0_TDATA, in0_TREADY} = {in0_TVALID, in0_TDATA, out0_TREADY};
endmodule
"""


def test_a_waveform_has_every_word_of_the_run(tmp_path, monkeypatch):
    from build.simulation import verilate
    from build.simulation.verilate import Collect, Design, Feed, Port, build, run

    quicker = ["-O0" if flag == "-O1" else flag for flag in verilate.VERILATOR_FLAGS]
    monkeypatch.setattr(verilate, "VERILATOR_FLAGS", quicker)

    ports = [Port("in0", 8), Port("out0", 8)]
    executable = build(Design("wired", {"wired.sv": WIRE}, ports), waves=True, jobs=1)
    words, file = np.array([[3], [200], [77]], np.uint8), tmp_path / "run.vcd"
    found = run(
        executable, {"in0": Feed(words)}, {"out0": Collect(3)}, widths={"out0": 8}, wave=file
    )
    assert not found.failure and (found.data["out0"] == words).all()
    head, _, changes = file.read_text().partition("$enddefinitions")
    code = re.search(r"\$var wire +8 (\S+) out0_TDATA", head)
    assert code is not None
    seen = re.findall(rf"^b([01]+) {re.escape(code[1])}$", changes, re.MULTILINE)
    values = [int(value, 2) for value in seen]
    assert [value for value in values if value in words] == [3, 200, 77]


BUILD = """
from build.simulation import verilate
flags = ["-O0" if flag == "-O1" else flag for flag in verilate.VERILATOR_FLAGS]  # quicker
verilate.VERILATOR_FLAGS, compile = flags, verilate._compile
verilate._compile = lambda *given: (print("compiled"), compile(*given))
text = "module tiny(input ap_clk, ap_rst_n); endmodule"
design = verilate.Design("tiny", {"tiny.sv": text}, [])
print(verilate.build(design, jobs=1))
"""


def test_processes_build_a_simulator_once_and_a_damaged_one_again(tmp_path):
    # A relative folder for caches is as good as any.
    environment = {**os.environ, "AARONNET_CACHE": "caches", "PYTHONPATH": str(ROOT)}
    left = tmp_path / "caches" / "simulators"

    def start():
        command = [sys.executable, "-c", BUILD]
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        )

    said = [process.communicate()[0].split() for process in [start(), start()]]
    assert sorted(map(len, said)) == [1, 2], said
    (simulator,) = {Path(lines[-1]) for lines in said}
    assert simulator.is_relative_to(left)
    simulator.write_bytes(simulator.read_bytes()[:1000])
    (left / "building-killed").mkdir()
    assert start().communicate()[0].split() == ["compiled", str(simulator)]
    assert sorted(path.suffix for path in left.iterdir()) == ["", ".lock"]
    assert start().communicate()[0].split() == [str(simulator)]
