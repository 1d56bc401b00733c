"""The whole flow on a small network: verified, reported, and stopped where it must be."""

import json

import numpy as np
import pytest
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from build import xilinx
from build.build_report import DenseReport
from build.flow import build
from build.layout import graph_after
from build.verify import classes_of, graph_classes, graph_logits, network_logits, observe
from deploy.board.records import record
from models import checkpoint as checkpoints
from models.errors import BadInput, CheckFailed
from models.export import export, to_qonnx
from tests.build.small_aaronnet import frames_for, paper_form, small_checkpoint


def test_every_step_is_verified(built):
    steps = [entry.step for entry in built.report.verification]
    assert steps[0] == "export" and steps[-1] == "step_hw_codegen"
    assert {"step_streamline_exactly", "step_search_folding", "step_insert_streams"} <= set(steps)
    for entry in built.report.verification:
        assert entry.mismatches == 0 and entry.frames == 26
        assert entry.quantizers == 14
        assert entry.max_deviation < 1e-4


def test_compiled_graph_is_the_network(built):
    frames = frames_for(520, seed=5)
    logits = network_logits(small_checkpoint().network, frames)
    graph = built.load()
    assert np.array_equal(graph_classes(graph, frames), classes_of(logits))
    assert np.allclose(graph_logits(graph, frames), logits, rtol=0, atol=1e-5 * abs(logits).max())
    assert len(set(classes_of(logits))) > 3, "frames of one class only would show little"


def test_report_says_what_was_built(built):
    report = built.report
    written = json.loads((built.folder / "report.json").read_text())
    assert written == report.to_dict() and record(DenseReport, written) == report
    performance = report.performance
    assert performance.cycles_per_frame == max(row.cycles for row in report.layers)
    assert performance.fps == 250e6 / performance.cycles_per_frame >= 250e6 / 1024
    for kind, amount in report.resources.items():
        assert amount.used == sum(getattr(row, kind) for row in report.layers)
    assert report.resources["DSP"].available == 1728
    assert report.score > 0 and report.data_label == "noise"
    assert report.hls_nodes == ()
    assert (built.folder / "balance.png").stat().st_size > 1000


def test_hdl_is_there(built):
    graph = ModelWrapper(str(graph_after(built.folder, "step_hw_codegen")))
    for node in graph.graph.node:
        files = getCustomOp(node).get_rtl_file_list(abspath=True)
        assert files, node.name
    names = [node.op_type for node in graph.graph.node]
    assert "StreamingFIFO_rtl" in names and "MVAU_rtl" in names


def test_finn_reads_our_configuration(built):
    import finn.builder.build_dataflow as builder
    from finn.builder.build_dataflow_config import DataflowBuildConfig

    config = DataflowBuildConfig.construct_from(built.folder / "finn_build.yaml")
    assert config.folding_config_file.exists() and config.board == "ZCU104"
    names = [step.__name__ for step in builder.resolve_build_steps(config)]
    assert names == [entry.step for entry in built.report.verification[1:-3]] + names[-4:]


@pytest.mark.slow
def test_folding_file_gives_the_same_accelerator(built, tmp_path):
    again = build(
        small_checkpoint(),
        "ZCU104",
        tmp_path / "again",
        folding=built.folder / "folding.json",
        frames=frames_for(2),
    )
    assert again.report.folding == built.report.folding
    assert again.report.performance == built.report.performance


def change_weight(model: ModelWrapper, operator: str, index: int) -> str:
    """Change a weight or threshold of the index-th node of a kind; return the node's name."""
    node = model.get_nodes_by_op_type(operator)[index]
    values = model.get_initializer(node.input[1]).copy()
    values[tuple(size // 2 for size in values.shape)] += 1 if values.max() < 8 else 20
    model.set_initializer(node.input[1], values)
    return node.name


@pytest.mark.parametrize(
    ("step", "operator"),
    [
        ("step_specialize_for_rtl", "MVAU_rtl"),
        ("step_specialize_for_rtl", "VVAU_rtl"),
        ("step_convert_to_hw", "Thresholding"),
    ],
)
def test_injected_faults_are_located(step, operator, built, tmp_path):
    """The graphs of the finished build stand for the steps, which saves running them again."""
    from build.verify import Verifier

    checkpoint = small_checkpoint()
    verifier = Verifier(to_qonnx(checkpoint), frames_for(26), tmp_path, network=checkpoint.network)
    before = {"step_convert_to_hw": "step_streamline_exactly"}.get(
        step, "step_create_dataflow_partition"
    )
    verifier.check(before, ModelWrapper(str(graph_after(built.folder, before))))
    model = ModelWrapper(str(graph_after(built.folder, step)))
    name = change_weight(model, operator, 1)
    with pytest.raises(CheckFailed, match=rf"{step}: node {name} \({operator}\) differs in \d+ of"):
        verifier.check(step, model)
    saved = np.load(tmp_path / f"{step}.npz")
    assert saved["node"] == name
    assert np.any(saved["expected"] != saved["computed"])
    assert len(verifier.results) == 2, "a step that failed must not count as verified"


def test_a_fault_stops_the_build(tmp_path):
    def alter(step: str, model: ModelWrapper) -> ModelWrapper:
        if step == "step_tidy_up":
            node = model.get_nodes_by_op_type("MultiThreshold")[2]
            steps = model.get_initializer(node.input[1]).copy()
            steps[0, 3] = steps[0, 4]
            model.set_initializer(node.input[1], steps)
        return model

    with pytest.raises(CheckFailed, match="step_tidy_up: node MultiThreshold_2"):
        build(small_checkpoint(), "ZCU104", tmp_path / "out", frames=frames_for(8), alter=alter)
    left = [path.name for path in (tmp_path / "out").rglob("*")]
    assert sorted(left) == ["step_tidy_up.npz", "verification"]


def test_neighbours_with_unequal_folding_are_found(built, tmp_path):
    from build.verify import Verifier

    checkpoint = small_checkpoint()
    verifier = Verifier(to_qonnx(checkpoint), frames_for(26), tmp_path, network=checkpoint.network)
    path = graph_after(built.folder, "step_specialize_for_rtl")
    model = ModelWrapper(str(path))
    node = model.get_nodes_by_op_type("VVAU_rtl")[0]
    getCustomOp(node).set_nodeattr("PE", 3)
    with pytest.raises(CheckFailed, match="Thresholding_rtl_2"):
        verifier.check("step_search_folding", model)


def test_streams_are_printed_only_when_asked(tmp_path, capfd):
    with pytest.raises(BadInput, match="no such board"):
        build(small_checkpoint(), "no such board", tmp_path / "out")
    captured = capfd.readouterr()
    assert captured.out == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"board": "Zedboard"}, "unknown board 'Zedboard'; choose one of Ultra96, "),
        ({"to": "moon"}, "unknown target 'moon'; choose one of estimate, "),
        ({"given": "nosuch.pth"}, "nosuch"),
        ({"fps": -1.0}, "frames/s must be positive"),
        ({"fps": float("nan")}, "frames/s must be positive"),
        ({"fps": 1.0, "folding": "folding.json"}, "either --fps or --folding"),
        ({"folding": "nowhere.json"}, "folding file nowhere.json does not exist"),
        ({"folding": "tuned"}, "no tuned folding for small-hw4 on ZCU104; there are aaronnet32-"),
        ({"clock": 0.0}, "between 1 and 1000 MHz"),
        ({"frames": np.zeros((3, 1024, 2), np.float32)}, r"shape \(N, 2, 1024\)"),
        ({"given": paper_form()}, "float activations between its blocks.*aaronnet quantize"),
    ],
)
def test_bad_requests_are_refused_before_any_work(change, message, tmp_path):
    arguments = {"given": small_checkpoint(), "board": "ZCU104", "out": tmp_path / "out", **change}
    with pytest.raises(BadInput, match=message):
        build(**arguments)
    assert not (tmp_path / "out").exists()


def test_a_refused_build_leaves_nothing_half_made(tmp_path):
    folding = tmp_path / "folding.json"
    folding.write_text('{"Defaults": {}, "MVAU_rtl_99": {"PE": 1}}')
    out = tmp_path / "out"
    with pytest.raises(BadInput, match="is for another network: this one has no MVAU_rtl_99"):
        build(small_checkpoint(), "ZCU104", out, folding=folding, frames=frames_for(1))
    assert not out.exists()


def test_float_activations_are_refused(tmp_path):
    export(paper_form(), tmp_path / "paper.onnx")
    with pytest.raises(BadInput, match=r"paper.onnx: feats.0.block.0.Conv takes float activations"):
        build(tmp_path / "paper.onnx", "ZCU104", tmp_path / "out")


def test_impossible_rates_name_the_layer_and_the_best(built, tmp_path, monkeypatch):
    from build.boards import find_board
    from build.folding import units
    from build.steps.search_folding import choose

    model = ModelWrapper(str(graph_after(built.folder, "step_specialize_for_rtl")))
    board = find_board("ZCU104")
    chain = units(model, board)
    with pytest.raises(BadInput, match=r"25 clocks a frame, but \w+_0 takes 26\d .* best is 9\d\d"):
        choose(chain, board, 250.0, 10e6)
    fast = choose(chain, board, 250.0, 250e6 / 300)
    slow = choose(chain, board, 250.0, 1000.0)
    assert fast.cycles <= 300 and slow.cycles <= 250_000
    assert fast.resources["DSP"] > slow.resources["DSP"]


def test_folding_of_another_network_is_refused(built, tmp_path):
    folding = json.loads((built.folder / "folding.json").read_text())
    model = ModelWrapper(str(graph_after(built.folder, "step_specialize_for_rtl")))
    from build.folding import check_folding

    check_folding(model, folding, "f")
    changes = {
        "has no MVAU_rtl_99": {"MVAU_rtl_99": {"PE": 1, "SIMD": 1}},
        "does not fit this network: MVAU_rtl_0 cannot be folded as PE=5, SIMD=1": {
            "MVAU_rtl_0": {"PE": 5, "SIMD": 1}
        },
    }
    for message, change in changes.items():
        with pytest.raises(BadInput, match=message):
            check_folding(model, {**folding, **change}, "f")
    folding.pop("VVAU_rtl_1")
    with pytest.raises(BadInput, match="says nothing of VVAU_rtl_1"):
        check_folding(model, folding, "f")


@pytest.mark.parametrize(
    ("board", "to", "message"),
    [
        ("ZCU104", "bitfile", r"needs Vivado \(2022.2 or 2024.2\) on the PATH; .*--to project"),
        ("ZCU104", "stitched", r"needs Vivado .* on the PATH; .*--to hdl"),
        ("U250", "bitfile", "no shell for U250"),
        ("VEK280", "project", "no shell for VEK280"),
    ],
)
def test_missing_tools_are_named_before_any_work(board, to, message, tmp_path, monkeypatch):
    monkeypatch.delenv("XILINX_VIVADO", raising=False)
    monkeypatch.setattr(xilinx.shutil, "which", lambda name: None)
    with pytest.raises(BadInput, match=message):
        build(small_checkpoint(), board, tmp_path / "out", to=to)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_logits_instead_of_classes(tmp_path):
    result = build(
        small_checkpoint(), "Pynq-Z2", tmp_path / "out", to="hdl", logits=True, frames=frames_for(8)
    )
    frames = frames_for(52, seed=6)
    seen = observe(result.load(), frames)
    wanted = network_logits(small_checkpoint().network, frames)
    assert np.allclose(seen.logits, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    manifest = json.loads((result.folder / "package" / "manifest.json").read_text())
    assert manifest["output"]["kind"] == "logits" and manifest["output"]["normal"] == [1, 24]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["AaronNet32plusplus", "AaronNet32", "vgg"])
def test_published_networks_build_for_zcu104(name, published, tmp_path):
    from build.stimuli import synthetic_frames
    from models.fuse import to_hardware

    frames = synthetic_frames()
    made = to_hardware(checkpoints.load(published(name)), 8, torch.from_numpy(frames))
    result = build(made, "ZCU104", tmp_path / "out", to="hdl", frames=frames)
    assert {entry.mismatches for entry in result.report.verification} == {0}
    assert result.report.hls_nodes == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("board", "cycles"), [("Pynq-Z2", 4112), ("ZCU104", 1024), ("RFSoC4x2", 266)]
)
def test_tuned_foldings_fit_their_boards(board, cycles, published, tmp_path):
    from build.stimuli import synthetic_frames
    from models.fuse import to_hardware

    frames = synthetic_frames()
    loaded = checkpoints.load(published("AaronNet32plusplus"))
    made = to_hardware(loaded, 8, torch.from_numpy(frames))
    result = build(made, board, tmp_path / "out", folding="tuned", frames=frames)
    assert result.report.performance.cycles_per_frame <= cycles
    assert max(amount.percent for amount in result.report.resources.values()) <= 100
