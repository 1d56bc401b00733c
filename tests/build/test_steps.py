"""Each of our rewrites: the graph executed before and after gives the same."""

import json

import numpy as np
import pytest
from onnx import TensorProto, helper
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.util.basic import qonnx_make_model

from build.layout import graph_after
from models.errors import BadInput, CheckFailed
from models.export import to_qonnx
from tests.build.small_aaronnet import frames_for, small_checkpoint

pytestmark = pytest.mark.usefixtures("finn")


def built_graph(built, step: str) -> ModelWrapper:
    return ModelWrapper(str(graph_after(built.folder, step)))


def logits(model: ModelWrapper, count: int = 8) -> np.ndarray:
    from build.verify import graph_logits

    return graph_logits(model, frames_for(count))


def test_integer_input_takes_the_quantizers_integers():
    from build.steps.integer_input import INPUT_PROPERTY, TakeQuantizedInput
    from build.verify import graph_input

    before = to_qonnx(small_checkpoint())
    after = before.transform(TakeQuantizedInput())
    facts = json.loads(after.get_metadata_prop(INPUT_PROPERTY))
    quantizer = {"bits": 4, "signed": True, "step": 0.25, "minimum": -8, "maximum": 7}
    assert facts == quantizer | {"frame": [2, 1024], "channels_last": False}
    assert after.get_tensor_datatype(after.graph.input[0].name) == DataType["INT4"]
    integers = graph_input(after, frames_for(8))
    assert np.array_equal(integers, np.clip(np.rint(frames_for(8) * 4), -8, 7))
    assert np.allclose(logits(before), logits(after), rtol=0, atol=1e-9)


def test_integer_input_needs_a_quantizer():
    from build.steps.integer_input import TakeQuantizedInput

    model = to_qonnx(small_checkpoint())
    first = model.find_consumer(model.graph.input[0].name)
    first.op_type = "Relu"
    with pytest.raises(BadInput, match="first node must be a quantizer of the input, not Relu"):
        model.transform(TakeQuantizedInput())


def test_channels_last_input_is_the_same_frame_transposed(built):
    from build.steps.integer_input import step_channels_last_input

    before = built_graph(built, "step_lift_1d")
    after = step_channels_last_input(before, None)
    assert before.get_tensor_shape("global_in") == [1, 2, 1024, 1]
    assert after.get_tensor_shape("global_in") == [1, 1024, 1, 2]
    assert np.array_equal(logits(before), logits(after))


def test_lift_keeps_numbers_and_gives_poolings_two_dilations(built):
    from build.steps.lift import step_lift_1d

    before = built_graph(built, "step_class_index")
    after = step_lift_1d(before, None)
    pools = after.get_nodes_by_op_type("MaxPool")
    assert len(pools) == 5
    for node in pools:
        attributes = {item.name: list(item.ints) for item in node.attribute}
        assert len(attributes["kernel_shape"]) == len(attributes["dilations"]) == 2
    assert np.array_equal(logits(before), logits(after))


def test_lifted_poolings_run_in_onnxruntime(built):
    from finn.core.onnx_exec import execute_onnx

    from build.verify import graph_classes, graph_input

    model, frames = built_graph(built, "step_lift_1d"), frames_for(8)
    inputs = [graph_input(model, frame[None]).astype(np.float32) for frame in frames]
    outputs = [next(iter(execute_onnx(model, {"global_in": x}).values())).item() for x in inputs]
    expected = graph_classes(model, frames)
    assert len(set(expected)) > 1
    assert outputs == expected.tolist()


def test_fold_stride_shrinks_the_first_convolution(built):
    from build.steps.fold_stride import FoldStride

    before = built_graph(built, "step_channels_last_input")
    after = before.transform(FoldStride())
    assert after.get_tensor_shape("global_in") == [1, 256, 1, 8]
    conv = after.get_nodes_by_op_type("Conv")[0]
    assert after.get_tensor_shape(conv.input[1]) == [12, 8, 8, 1]
    assert after.get_tensor_datatype(conv.input[1]) == DataType["INT4"]
    assert np.allclose(logits(before), logits(after), rtol=0, atol=1e-9)
    again = after.transform(FoldStride())
    assert again.get_tensor_shape("global_in") == [1, 256, 1, 8]


def strided(kernel: int, stride: int, pad: int, length: int = 24) -> ModelWrapper:
    """Return transpose and convolution over (1, length, 1, 3)."""
    positions = (length + 2 * pad - kernel) // stride + 1
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["in"], ["t"], perm=[0, 3, 1, 2]),
            helper.make_node(
                "Conv",
                ["t", "w"],
                ["out"],
                kernel_shape=[kernel, 1],
                strides=[stride, 1],
                pads=[pad, 0, pad, 0],
                group=1,
            ),
        ],
        "strided",
        [info("in", TensorProto.FLOAT, [1, length, 1, 3])],
        [info("out", TensorProto.FLOAT, [1, 5, positions, 1])],
    )
    model = ModelWrapper(qonnx_make_model(graph))
    rng = np.random.default_rng(0)
    model.set_initializer("w", rng.integers(-8, 8, (5, 3, kernel, 1)).astype(np.float32))
    return model.transform(InferShapes())


@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "folds"),
    [(6, 2, 2, True), (6, 3, 3, True), (8, 4, 0, True), (3, 1, 1, False), (5, 2, 2, False)],
)
def test_fold_stride_only_where_it_divides(kernel, stride, pad, folds):
    from build.execute import execute
    from build.steps.fold_stride import FoldStride

    before = strided(kernel, stride, pad)
    after = before.transform(FoldStride())
    assert (after.get_tensor_shape("in") != [1, 24, 1, 3]) == folds
    data = np.random.default_rng(1).integers(-8, 8, (4, 24, 1, 3)).astype(np.float64)
    assert np.array_equal(execute(before, data)["out"], execute(after, data)["out"])


def test_integer_logits_leave_the_factor_behind(built):
    from build.steps.class_output import OUTPUT_PROPERTY, IntegerLogits

    before = built_graph(built, "step_tidy_up")
    after = before.transform(IntegerLogits())
    scale = json.loads(after.get_metadata_prop(OUTPUT_PROPERTY))["scale"]
    assert 0 < scale < 1
    assert np.allclose(logits(before), logits(after), rtol=0, atol=1e-5)
    final = built_graph(built, "step_convert_to_hw")
    integers = logits(final) / scale
    assert np.allclose(integers, np.rint(integers), atol=1e-6)


def test_class_index_is_the_largest_logit(built):
    from build.execute import execute
    from build.steps.class_output import step_class_index
    from build.verify import graph_input

    before = built_graph(built, "step_integer_logits")
    after = step_class_index(before, None)
    inputs = graph_input(after, frames_for(26))
    found = execute(after, inputs)[after.graph.output[0].name].reshape(-1)
    scores = logits(before, 26)
    assert np.allclose(scores[np.arange(26), found], scores.max(axis=1))


def test_exact_thresholds_undo_rounding_and_are_integers(built):
    from build.steps.exact_thresholds import SOURCE, ExactThresholds

    source = ModelWrapper(str(graph_after(built.folder, SOURCE)))
    exact = built_graph(built, "step_streamline_exactly")
    rounded = built_graph(built, "step_streamline_exactly")
    rng = np.random.default_rng(2)
    for node in rounded.get_nodes_by_op_type("MultiThreshold"):
        steps = rounded.get_initializer(node.input[1])
        assert np.array_equal(steps, np.rint(steps))
        noise = rng.uniform(-0.9, 0.6, steps.shape).astype(np.float32)
        rounded.set_initializer(node.input[1], steps + noise)
    assert not np.array_equal(logits(rounded), logits(exact))
    repaired = rounded.transform(ExactThresholds(source))
    for node in repaired.get_nodes_by_op_type("MultiThreshold"):
        wanted = exact.get_initializer(node.input[1])
        assert np.array_equal(repaired.get_initializer(node.input[1]), wanted)


def test_exact_thresholds_decide_like_the_quantizer(built):
    """Every threshold is the first accumulator of its level, one less is not."""
    from build.levels import levels_of
    from build.steps.exact_thresholds import SOURCE, _pairs

    source = ModelWrapper(str(graph_after(built.folder, SOURCE)))
    model = built_graph(built, "step_streamline_exactly")
    falling = 0
    for node, quantizer in _pairs(model, source):
        steps = model.get_initializer(node.input[1]).astype(np.float64).T
        levels = levels_of(source, quantizer)
        far = np.full((1, steps.shape[1]), 2.0**30)
        sign = np.sign(levels(far) - levels(-far))
        falling += int((sign < 0).sum())
        wanted = np.arange(1, len(steps) + 1)[:, None]
        assert (levels(sign * steps) >= wanted)[:, sign[0] != 0].all()
        assert (levels(sign * (steps - 1)) < wanted)[:, sign[0] != 0].all()
    assert falling > 10, "no batch norm had a negative gain"


def test_exact_thresholds_refuse_another_network(built):
    from build.steps.exact_thresholds import SOURCE, ExactThresholds

    source = ModelWrapper(str(graph_after(built.folder, SOURCE)))
    model = built_graph(built, "step_streamline_exactly")
    node = model.get_nodes_by_op_type("MultiThreshold")[3]
    model.set_initializer(node.input[1], model.get_initializer(node.input[1]) + 7)
    with pytest.raises(CheckFailed, match="that are not its own"):
        model.transform(ExactThresholds(source))


def test_streams_are_connected_without_changing_numbers(built):
    before = built_graph(built, "step_generate_estimate_reports")
    after = built_graph(built, "step_insert_streams")
    kinds = {node.op_type for node in after.graph.node} - {n.op_type for n in before.graph.node}
    assert kinds <= {"StreamingFIFO_rtl", "StreamingDataWidthConverter_rtl"} and kinds
    nodes = list(after.graph.node)
    for one, two in zip(nodes, nodes[1:], strict=False):
        assert getCustomOp(one).get_outstream_width() == getCustomOp(two).get_instream_width()
    assert np.array_equal(logits(before), logits(after))
