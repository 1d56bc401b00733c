"""Foreign networks in integers: what each rewrite computes, before and after; then all to RTL."""

import brevitas.nn as qnn
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_shapes import InferShapes
from torch import nn

from build.execute import execute
from models.export import load_onnx
from models.vintage import QONNX
from tests.build.foreign import (
    KINDS,
    SMALL,
    conv,
    export,
    export_kind,
    quantized_input,
    some_frames,
)

pytestmark = pytest.mark.usefixtures("finn")


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_in_integers_is_the_network_that_was_given(tmp_path, name):
    from build.flow import check_rewritten
    from build.source import open_source
    from build.verify import graph_classes

    source = open_source(export_kind(name, tmp_path / "m.onnx"), integers=True)
    frames = some_frames(64, SMALL, seed=2)
    classes = graph_classes(source.model, frames)
    assert len(set(classes)) > 1, "frames of one class only would show little"
    check_rewritten(source, frames, classes)
    kinds = {node.op_type for node in source.model.graph.node}
    moving = {"Div", "Conv", "MatMul", "MultiThreshold", "MaxPool", "Flatten", "Identity"}
    assert kinds <= moving | {"Quant", "Mul", "Add"}
    if name not in ("one_layer", "mean_of_scores"):
        assert source.shared, "no quantizer was compared"
    for node in source.model.graph.node[2:]:
        for constant in map(source.model.get_initializer, node.input[1:]):
            doubled = 2 * constant if node.op_type == "MultiThreshold" else constant
            assert np.array_equal(doubled, np.rint(doubled)), node.name


def test_a_fault_in_the_integers_is_found_by_its_tensor(tmp_path):
    from build.flow import check_rewritten
    from build.source import open_source
    from build.verify import graph_classes
    from models.errors import CheckFailed

    source = open_source(export_kind("coprime", tmp_path / "m.onnx"), integers=True)
    node = source.model.get_nodes_by_op_type("MultiThreshold")[1]
    values = source.model.get_initializer(node.input[1]).copy()
    values[3] += 2
    source.model.set_initializer(node.input[1], values)
    frames = some_frames(64, SMALL, seed=2)
    classes = graph_classes(source.model, frames)
    with pytest.raises(CheckFailed, match=rf"differs in {node.output[0]} in \d+ of 64 frames"):
        check_rewritten(source, frames, classes)


def graph_of(nodes, shape, constants, shape_out=None):
    """A graph from x of this shape to y."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape_out)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid(QONNX, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    return ModelWrapper(onnx.shape_inference.infer_shapes(model))


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 3])
def test_pads_meant_by_a_word_are_those_of_onnxruntime(mode, stride):
    import onnxruntime

    from build.integers.spelling import ExplicitPads

    weights = np.random.default_rng(0).normal(size=(4, 3, 4)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], auto_pad=mode, strides=[stride])
    model = graph_of([node], (1, 3, 20), {"w": weights})
    x = np.random.default_rng(1).normal(size=(1, 3, 20)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.model.SerializeToString())
    (expected,) = session.run(None, {"x": x})
    after = model.transform(ExplicitPads())
    assert "auto_pad" not in {item.name for item in after.graph.node[0].attribute}
    np.testing.assert_allclose(execute(after, x)["y"], expected, rtol=1e-4, atol=1e-5)


def test_a_pad_becomes_the_convolutions_own(tmp_path):
    from build.integers.spelling import PadsIntoConvolutions, folded

    path = export_kind("pads_in_front", tmp_path / "m.onnx")
    before = folded(load_onnx(path))
    after = before.transform(PadsIntoConvolutions())
    assert len(before.get_nodes_by_op_type("Pad")) == 2 and not after.get_nodes_by_op_type("Pad")
    frames = some_frames(8, SMALL, seed=2).astype(np.float64)
    (expected,), (found,) = (execute(model, frames).values() for model in (before, after))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["rows", "rows_kept", "rows_strided", "one_row", "truncated_mean"])
def test_two_dimensions_are_one(tmp_path, name):
    from build.integers.one_dimension import OneDimension
    from build.integers.spelling import folded

    before = folded(load_onnx(export_kind(name, tmp_path / "m.onnx")))
    after = ModelWrapper(before.model, make_deepcopy=True)
    after = after.transform(OneDimension()).transform(InferShapes())
    assert all(len(after.get_tensor_shape(node.output[0])) < 4 for node in after.graph.node)
    frames = some_frames(8, SMALL, seed=2).astype(np.float64)
    (expected,), (found,) = (execute(model, frames).values() for model in (before, after))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.integers(1, 5),
    count=st.integers(1, 15),
    width=st.integers(0, 300),
)
def test_thresholds_are_where_the_levels_step(seed, channels, count, width):
    from build.integers.staircase import thresholds_of

    rng = np.random.default_rng(seed)
    low = rng.integers(-200, 200, channels)
    high = low + rng.integers(0, width + 1, channels)
    slope, offset = rng.uniform(0, 0.2, channels), rng.uniform(-20, 20, channels)

    def levels(integers):
        return np.clip(np.rint(slope * integers + offset), 0, count)

    thresholds = thresholds_of(levels, low, high, count)
    assert thresholds.shape == (channels, count)
    for channel in range(channels):
        integers = np.arange(low[channel], high[channel] + 1)
        every = np.zeros((len(integers), channels))
        every[:, channel] = integers
        found = (integers[:, None] >= thresholds[channel]).sum(axis=1)
        assert np.array_equal(found, levels(every)[:, channel])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(2, 24),
    alike=st.booleans(),
    size=st.floats(0.1, 50),
)
def test_integer_scores_keep_the_order_of_all_classes(seed, classes, alike, size):
    from build.integers.logits import integer_scores

    rng = np.random.default_rng(seed)
    slopes = np.float32(rng.uniform(0.5, 4, 1 if alike else classes) * 2e-3).astype(np.float64)
    slopes = np.broadcast_to(slopes, classes)
    # Some classes share the fraction of their bias: only whole steps apart.
    bias = rng.normal(0, size, classes).round(int(rng.integers(0, 3))) * slopes
    if not alike:
        bias = bias.astype(np.float32).astype(np.float64)
    scores = integer_scores(lambda integers: integers * slopes + bias, classes)
    for constants in (scores.factors, scores.bias):
        assert np.array_equal(constants, np.rint(constants))
        assert np.array_equal(constants, constants.astype(np.float32)), "FINN's are float32"
    accumulators = rng.integers(-40, 41, (200, classes))
    exact = accumulators * slopes + bias
    found = scores.factors * accumulators + scores.bias
    apart = np.abs(exact[:, :, None] - exact[:, None])
    order = np.sign(exact[:, :, None] - exact[:, None])
    sure = apart > (1e-6 * np.abs(exact).max() if not alike else 1e-9 * slopes[0])
    order = np.where(sure, order, 0)
    different = np.sign(found[:, :, None] - found[:, None])
    assert np.array_equal(np.where(sure, different, 0), order)
    if alike:
        assert np.array_equal(different == 0, ~sure), "equal scores stay equal"


def test_a_convolution_of_rows_keeps_its_weights_bits(tmp_path):
    """Zeros for other rows are integers of the same quantizer, whatever its step."""
    from build.source import open_source

    def layers():
        convolution = conv(1, 4, (1, 3), weight_bit_width=3)
        return [quantized_input(), convolution, qnn.QuantReLU(bit_width=3), nn.Flatten(),
                qnn.QuantLinear(4 * 3 * 30, 5, bias=False, weight_bit_width=3)]  # fmt: skip

    path = export(tmp_path / "m.onnx", layers, frame=SMALL, spelling=(1, 3, 32))
    model = open_source(path, integers=True).model
    (node,) = model.get_nodes_by_op_type("Conv")
    weights = model.get_initializer(node.input[1])
    assert weights.shape == (12, 3, 3) and np.abs(weights).max() == 3
    assert np.count_nonzero(weights) <= 4 * 3 * 3


def to_rtl(path, folder, stall=0.3):
    """Build a network to HDL, simulate it, and return what was left and found."""
    from build.finished import open_build
    from build.flow import build
    from build.simulation.against_network import simulate_build
    from build.stimuli import usual_frames

    built = build(path, "ZCU104", folder, to="hdl")
    assert built.report.hls_nodes == ()
    assert {one.mismatches for one in built.report.verification} == {0}
    opened = open_build(folder)
    return simulate_build(opened, usual_frames(opened.task)[:12], stall=stall)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_each_kind_reaches_rtl_bit_by_bit(tmp_path, name):
    assert to_rtl(export_kind(name, tmp_path / "m.onnx"), tmp_path / "out").mismatches == 0
