"""Forks and joins: each rewrite executed before and after, FIFO depths, small networks to RTL."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_shapes import InferShapes

from models.export import load_onnx
from models.vintage import QONNX
from tests.build.branches import NETWORKS
from tests.build.foreign import export
from tests.build.small_aaronnet import frames_for

pytestmark = pytest.mark.usefixtures("finn")


def graph(nodes, inputs, constants, output="y"):
    """Return a graph of (1, C, 6, 1) tensors, each input a slice of the one."""
    model = helper.make_graph(
        nodes,
        "branches",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, inputs)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v, np.float32), name) for name, v in constants.items()],
    )
    imports = [helper.make_opsetid("", 18)]
    made = helper.make_model(model, opset_imports=imports, ir_version=10)
    return ModelWrapper(made).transform(InferShapes())


def outputs(model, frames):
    from build.execute import execute

    (found,) = execute(model, frames).values()
    return found


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], **attributes)


@pytest.mark.parametrize("kind", ["Add", "Concat"])
@pytest.mark.parametrize("factors", [(0.25, 0.25), (0.3, 0.2), (0.7, None), (1.5, 6.0)])
def test_factors_move_behind_joins(kind, factors):
    from build.steps.branches import scales_past_joins

    nodes, operands = [], []
    for name, factor in zip("ab", factors, strict=True):
        nodes.append(
            node("Mul" if factor else "Identity", ["x", name][: 1 + bool(factor)], f"{name}m")
        )
        operands.append(f"{name}m")
    attributes = {"axis": 1} if kind == "Concat" else {}
    nodes.append(node(kind, operands, "y", **attributes))
    constants = {name: f for name, f in zip("ab", factors, strict=True) if f}
    before = graph(nodes, (1, 3, 6, 1), constants)
    after = scales_past_joins(ModelWrapper(before.model, make_deepcopy=True))
    frames = np.random.default_rng(0).integers(-8, 8, (5, 3, 6, 1)).astype(np.float64)
    assert np.allclose(outputs(after, frames), outputs(before, frames), rtol=1e-6)
    (join,) = [item for item in after.graph.node if item.op_type == kind]
    fronts = [after.find_producer(name) for name in join.input]
    left = [
        after.get_initializer(n.input[1]) for n in fronts if n is not None and n.op_type == "Mul"
    ]
    if factors == (0.7, None):  # 7 to 10
        assert sorted(float(value) for value in left) == [7, 10]
    assert all(float(value) == round(float(value)) for value in left)


@pytest.mark.parametrize("kind", ["Add", "Concat"])
def test_joins_take_channels_last(kind):
    from build.steps.branches import CHANNELS_FIRST, channels_last_joins

    attributes = {"axis": 1} if kind == "Concat" else {}
    nodes = [
        node("Transpose", ["x"], "t", perm=CHANNELS_FIRST),
        node("Mul", ["t", "gains"], "m"),
        node(kind, ["t", "m"], "j", **attributes),
        node("Transpose", ["j"], "l", perm=[0, 2, 3, 1]),
        node("Relu", ["l"], "y"),
    ]
    gains = np.array([2, -1, 3]).reshape(1, 3, 1, 1)
    before = graph(nodes, (1, 6, 1, 3), {"gains": gains})
    after = channels_last_joins(ModelWrapper(before.model, make_deepcopy=True))
    frames = np.random.default_rng(0).integers(-8, 8, (5, 6, 1, 3)).astype(np.float64)
    assert np.array_equal(outputs(after, frames), outputs(before, frames))
    assert "Transpose" not in [item.op_type for item in after.graph.node]


def test_the_order_of_the_structure_is_not_that_of_the_list():
    from build.structure import in_order

    def diamond(order):
        nodes = {
            "s": node("Relu", ["x"], "s"),
            "a": node("Neg", ["s"], "a"),
            "b": node("Abs", ["s"], "b"),
            "y": node("Add", ["a", "b"], "y"),
        }
        return graph([nodes[name] for name in order], (1, 2, 6, 1), {})

    orders = [[n.output[0] for n in in_order(diamond(order))] for order in ("saby", "sbay")]
    assert orders == [["s", "a", "b", "y"]] * 2


@settings(max_examples=60, deadline=None)
@given(
    integers=st.lists(st.integers(1, 64), min_size=2, max_size=3),
    step=st.floats(1e-4, 10),
)
def test_steps_to_each_other_as_integers_are_found(integers, step):
    from build.grid import common_factors

    steps = [float(np.float32(step * number)) for number in integers]
    divisor = np.gcd.reduce(integers)
    assert common_factors(steps) == [number // divisor for number in integers]


def test_an_operand_without_a_step_has_no_factors():
    from build.grid import common_factors

    assert common_factors([0.5, None]) is None
    assert common_factors([0.5, 0.0]) is None


@pytest.mark.parametrize("name", ["unequal", "concat_quantized_behind"])
def test_branches_of_any_steps_come_to_one_grid(tmp_path, name):
    """What the file computes stays, and every sum or concatenation is of integers of one step."""
    from build.canonical import canonical
    from build.checks import joins
    from build.grid import common_factors, grid_of
    from build.one_grid import SMALL
    from build.verify import observe

    def factors(model):
        found = []
        for item in model.graph.node:
            if joins(model, item):
                grids = [grid_of(model, tensor) for tensor in item.input]
                found.append(common_factors([grid and grid.step for grid in grids]))
        return found

    before = load_onnx(export(tmp_path / "m.onnx", NETWORKS[name]))
    assert [f is None or max(f) > SMALL for f in factors(before)] == [True]
    after = canonical(before)
    assert all(f is not None for f in factors(after))
    expected, found = (observe(model, frames_for(32)) for model in (before, after))
    assert np.array_equal(found.classes, expected.classes)
    assert np.allclose(found.logits, expected.logits, rtol=1e-6)


def test_words_wait_in_front_of_a_join():
    from build.steps.branch_fifos import _waiting

    even = np.arange(1, 11) / 10
    assert _waiting(even, even) == 1
    assert _waiting(even, even + 0.31) == 4  # a window of three more positions
    assert _waiting(even, np.maximum(even, 1.0)) == 10  # a whole frame
    assert _waiting(even, even + 1.0) == 11  # the next frame comes meanwhile


@pytest.mark.parametrize(
    "name",
    [
        name if name == "unequal" else pytest.param(name, marks=pytest.mark.slow)
        for name in NETWORKS
    ],
)
def test_small_networks_with_branches_are_verified_after_every_step(tmp_path, name):
    from build.flow import build

    path = export(tmp_path / f"{name}.onnx", NETWORKS[name])
    report = build(path, "ZCU104", tmp_path / "out", frames=frames_for(26)).report
    assert list(report.hls_nodes) == []
    assert {entry.mismatches for entry in report.verification} == {0}


def test_sizing_leaves_joins_the_room_that_they_need(monkeypatch):
    """Without it the search would try depths at which one branch blocks the other."""
    from types import SimpleNamespace

    from build.rtl.kernel import Stream
    from build.simulation.sizing import size_fifos
    from build.simulation.stitch import Accelerator, Link
    from build.simulation.verilate import Design
    from models.errors import CheckFailed

    ends = {"short": "add", "long": "add", "chain": "after"}
    fifos = {"short": 40, "long": 3, "chain": 2}
    wrapper = 'fifo #(.DEPTH(2), .DATA_WIDTH(8), .RAM_STYLE("auto")) fifo();'
    links = tuple(
        Link(name, name, name, end, Stream(1, 8, True), (64, 1)) for name, end in ends.items()
    )
    design = Design("accelerator", {f"{name}.v": wrapper for name in fifos}, [], {})
    accelerator = Accelerator(design, {}, links, fifos)

    def simulated(trial, frames, **options):
        depths = {name: int(trial.files[f"{name}.depth"], 16) for name in fifos}
        if depths["short"] < 40:
            raise CheckFailed("it stands still")
        levels = {"short": 38, "long": 1, "chain": 9}
        return SimpleNamespace(cycles_per_frame=100 + (depths["chain"] < 9), fifos=levels)

    monkeypatch.setattr("build.simulation.sizing.simulate", simulated)
    sizing = size_fifos(accelerator, np.zeros((5, 1)), tolerance=0.0)
    assert sizing.depths["short"] == 40 and sizing.depths["chain"] >= 9
    assert sizing.cycles == 100


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_small_networks_with_branches_reach_rtl_bit_by_bit(tmp_path, name):
    from build.finished import open_build
    from build.flow import build
    from build.simulation.against_network import simulate_build

    path = export(tmp_path / f"{name}.onnx", NETWORKS[name])
    frames = frames_for(26)
    report = build(path, "ZCU104", tmp_path / "out", to="hdl", frames=frames).report
    assert list(report.hls_nodes) == []
    opened = open_build(tmp_path / "out")
    for stall in (0.0, 0.3):
        assert simulate_build(opened, frames[:8], stall=stall, fast=True).mismatches == 0


def addition(left: float, right: float, behind: float, bits: int) -> ModelWrapper:
    """Two quantizers of four bits, their sum, and its quantizer."""

    def quantizer(given: str, made: str, step: str, bits: str):
        return helper.make_node(
            "Quant", [given, step, "zero", bits], [made], name=made,
            domain=QONNX, signed=0, narrow=0, rounding_mode="ROUND",
        )  # fmt: skip

    nodes = [
        quantizer("x", "a", "left", "four"),
        quantizer("x", "b", "right", "four"),
        helper.make_node("Add", ["a", "b"], ["sum"], name="sum"),
        quantizer("sum", "y", "fine", "many"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 2, 4)) for name in "xy"]
    model = ModelWrapper(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:])))
    steps = {"left": left, "right": right, "fine": behind, "zero": 0.0, "four": 4.0, "many": bits}
    for name, value in steps.items():
        model.set_initializer(name, np.array(value, np.float32))
    return model.transform(InferShapes())


def test_steps_that_share_one_only_by_large_factors_are_left_at_it():
    """It was rewritten again and again, always to what it was."""
    from build.grid import common_factors, grid_of
    from build.one_grid import SMALL, BranchesOnOneGrid

    model, changed = BranchesOnOneGrid().apply(addition(1.0, 0.8067, 0.0731, 8))
    (added,) = model.get_nodes_by_op_type("Add")
    factors = common_factors([grid_of(model, name).step for name in added.input])
    assert changed and factors == [269, 217] and max(factors) > SMALL
    assert not BranchesOnOneGrid().apply(model)[1]


def test_a_step_changed_by_a_millionth_outlasts_the_removal_of_identities():
    """FINN removes multiplications by 0.99999 to 1.00001: the steps were those of before again."""
    from qonnx.transformation.remove import RemoveIdentityOps

    from build.grid import common_factors, grid_of
    from build.one_grid import BranchesOnOneGrid, decides_alike

    model = addition(0.12725744, 0.24043147, 0.29278442, 6)
    (added,) = model.get_nodes_by_op_type("Add")
    assert common_factors([grid_of(model, name).step for name in added.input]) is None
    model = model.transform(BranchesOnOneGrid()).transform(RemoveIdentityOps())
    (added,) = model.get_nodes_by_op_type("Add")
    left, right = (grid_of(model, name).step for name in added.input)
    assert common_factors([left, right]) == [244, 461]
    assert abs(right / 0.24043147 - 1) < 1e-5 and decides_alike(model, added, right / left)
