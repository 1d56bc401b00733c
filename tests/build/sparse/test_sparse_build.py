"""`aaronnet build --style sparse`, and what can be done with its folder."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from models.errors import BadInput, CheckFailed
from tests.build.small_aaronnet import frames_for, small_checkpoint

pytestmark = pytest.mark.usefixtures("finn")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    from build.sparse.sparse_build import build_sparse

    out = tmp_path_factory.mktemp("sparse") / "small"
    return build_sparse(small_checkpoint(), "ZCU104", out, frames=frames_for(26))


def test_the_package_is_what_a_board_takes(built):
    from deploy.board.package import read_package

    package = read_package(built.folder / "package")
    assert package.graph is None and package.rtl is not None
    assert package.performance.cycles_per_frame == 257
    assert package.input.folded == (1, 256, 8) and package.input.packed == (1, 256, 4)
    assert [step.mismatches for step in built.report.verification] == [0, 0, 0, 0]


def test_the_report_has_the_keys_of_a_dense_one_and_says_what_is_not_known(built):
    from dataclasses import fields

    from build.build_report import BuildReport, show

    written = json.loads((built.folder / "report.json").read_text())
    assert written == built.report.to_dict() and written["style"] == "sparse"
    assert written.keys() >= {field.name for field in fields(BuildReport)} | {"score", "layers"}
    for key in ("resources", "folding", "fifos"):
        assert written[key] is None
    assert written["comparison"]["LUT_ratio"] is None and written["comparison"]["fps_ratio"] > 4
    show(built.report, layers=True)


def test_the_build_is_simulated_tensor_by_tensor(built):
    from build.finished import open_build, record_simulation
    from build.sparse.sparse_sim import simulate_sparse

    opened = open_build(built.folder)
    found = simulate_sparse(opened, frames_for(6), per_node=True)
    assert found.mismatches == 0 and found.differences == ()
    assert found.nodes_compared > 25
    assert found.cycles_per_frame == 257
    assert found.latency_cycles == built.report.performance.latency_cycles
    record_simulation(opened, found)
    manifest = json.loads((built.folder / "package" / "manifest.json").read_text())
    assert manifest["performance"]["source"] == "simulated"


def test_from_memory_to_memory_it_keeps_its_pace_and_breaks_no_rule_of_axi(built):
    from build.finished import open_build, record_simulation
    from build.simulation.against_network import check
    from build.sparse.sparse_sim import simulate_sparse

    opened = open_build(built.folder)
    found = simulate_sparse(opened, frames_for(26), system=True, processes=1)
    check(found)
    around = found.system
    assert found.mismatches == 0 and around.violations == {} and around.rules >= 15
    assert (around.data_bits, around.address_bits, around.transfers) == (128, 40, 3)
    assert around.own_cycles_per_frame == 257 and around.share >= 0.98
    assert around.frame_bytes == 256 * 4 + 1
    slow = simulate_sparse(opened, frames_for(8), system=True, stall=0.7, processes=1)
    assert slow.mismatches == 0 and slow.system.violations == {}
    # It is not what a package is told to expect.
    before = json.loads((built.folder / "package" / "manifest.json").read_text())["performance"]
    record_simulation(opened, slow)
    after = json.loads((built.folder / "package" / "manifest.json").read_text())["performance"]
    assert before == after
    assert json.loads((built.folder / "report.json").read_text())["system"]["frames"] == 8


def test_the_packages_rtl_classifies_as_the_network_does(built):
    from build.finished import open_build
    from build.simulation.rtl_folder import read_rtl
    from build.simulation.verilate import Collect, Feed, build, run
    from build.source import open_source
    from build.sparse.from_graph import network_of
    from build.sparse.sparse_sim import hardware_of

    network = network_of(open_source(small_checkpoint()).model)
    integers = network.quantize(frames_for(6))
    _, made = hardware_of(open_build(built.folder))
    (taken,) = made.accelerator.inputs
    rtl = read_rtl(built.folder / "package" / "rtl")
    result = run(
        build(rtl.design),
        {rtl.input.name: Feed(taken.stream.pack(taken.to_words(integers.transpose(0, 2, 1))))},
        {rtl.output.name: Collect(6)},
        widths={rtl.output.name: rtl.output.width},
    )
    assert not result.failure
    np.testing.assert_array_equal(result.data[rtl.output.name][:, 0], network.classes(integers))


def test_a_changed_weight_is_noticed_by_the_build(built, monkeypatch):
    from build.source import open_source
    from build.sparse import phases
    from build.sparse.from_graph import network_of

    source = open_source(small_checkpoint())
    network = network_of(source.model)
    layer = network.layers[4]
    layer.weights[0, 0, np.flatnonzero(layer.weights[0, 0])[0]] += 1
    with pytest.raises(CheckFailed, match="quant_feats_0_block_2"):
        phases.check_lifted(network, source, frames_for(26))


def test_options_of_the_other_style_are_refused(tmp_path):
    from aaronnet import app

    out = tmp_path / "out"
    sparse, dense = ["--style", "sparse"], ["--style", "dense"]
    for options in (
        *([*sparse, "--fps", "1000"], [*sparse, "--logits"], [*sparse, "--to", "stitched"]),
        *([*sparse, "--clocks", "fast"], [*dense, "--clocks", "257"]),
    ):
        arguments = ["build", "x.pth", "-o", str(out), *options]
        done = CliRunner().invoke(app, arguments)
        assert isinstance(done.exception, BadInput | SystemExit), done.output
    assert not out.exists()


@pytest.mark.parametrize("clocks", [256, 64 * 257 + 1])
def test_clocks_out_of_range_are_refused(clocks, tmp_path):
    from build.sparse.sparse_build import build_sparse

    with pytest.raises(BadInput, match="between 257 and 16448 clocks"):
        build_sparse(
            small_checkpoint(), "ZCU104", tmp_path / "out", clocks=clocks, frames=frames_for(2)
        )
    assert not (tmp_path / "out").exists()


def test_a_slower_build_is_simulated_at_its_rate(tmp_path):
    from build.finished import open_build
    from build.sparse.sparse_build import build_sparse
    from build.sparse.sparse_sim import simulate_sparse

    built = build_sparse(
        small_checkpoint(), "ZCU104", tmp_path / "out", clocks=600, frames=frames_for(2)
    )
    assert built.report.performance.cycles_per_frame == 600
    facts = simulate_sparse(open_build(built.folder), frames_for(5))
    assert facts.mismatches == 0 and facts.cycles_per_frame == 600


def test_every_module_is_counted_on_its_own(built, monkeypatch):
    from build.finished import open_build
    from build.sparse import sparse_sim

    asked = []
    monkeypatch.setattr(sparse_sim, "synthesise_jobs", lambda todo, *_: asked.extend(todo) or [])
    opened = open_build(built.folder)
    sparse_sim.synthesise_sparse(opened, "xcup")
    _, made = sparse_sim.hardware_of(opened)
    *modules, (_, whole) = made.accelerator.design.sources.items()
    assert {file for job in asked for file in job.texts} == {file for file, _ in modules}
    assert all(f" {job.name} (.clk(" in whole for job in asked)
    adders = {job.name: job.texts for job in asked}
    asked.clear()
    sparse_sim.synthesise_sparse(opened, "xcup", flat=True)
    (job,) = asked
    assert job.texts == made.accelerator.design.sources and job.top == "accelerator" and not job.dsp
    asked.clear()
    sparse_sim.synthesise_sparse(opened, "xcup", depth=1)
    deeper = {job.name: str(job.texts).count("<=") for job in asked}
    assert set(deeper) == set(adders)
    registers = str(adders["conv_expand_0"]).count("<=")
    assert deeper["conv_expand_0"] > registers


@pytest.mark.slow  # the first run of Yosys on a machine compiles it for a minute
def test_a_module_is_counted_with_its_parameters_and_without_dsp_slices(built):
    from build.finished import open_build
    from build.sparse.sparse_sim import hardware_of
    from build.yosys import synthesise

    _, made = hardware_of(open_build(built.folder))
    sources = made.accelerator.design.sources
    unit = next(unit for unit in made.units if unit.module == "sparse_argmax")
    texts = {"unit.sv": sources[f"{unit.module}.sv"]}
    found = synthesise(texts, {}, "xcup", unit.module, unit.parameters)
    scores = unit.parameters["LANES"] * unit.parameters["BITS"]  # they wait in flip-flops
    assert scores < found["FF"] < 2 * scores and found["LUT"] > 0
    square = "module square(input [15:0] a, b, output [31:0] y); assign y = a * b; endmodule"
    counts = [synthesise({"a.v": square}, {}, "xcup", "square", dsp=dsp) for dsp in (True, False)]
    assert [facts["DSP"] for facts in counts] == [1, 0]
