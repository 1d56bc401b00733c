"""Foreign spellings: each rewrite executed before and after, then small networks to HDL."""

import math
from fractions import Fraction

import brevitas.nn as qnn
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_shapes import InferShapes
from torch import nn

from models.export import load_onnx
from models.vintage import QONNX
from tests.build.foreign import Mean, dense, export, quantized_input, stem
from tests.build.small_aaronnet import frames_for

pytestmark = pytest.mark.usefixtures("finn")

MEANS = {
    "module": lambda: [nn.AdaptiveAvgPool1d(1), nn.Flatten(), qnn.QuantIdentity(bit_width=6)],
    "mean": lambda: [Mean(), qnn.QuantIdentity(bit_width=6)],
    "windows": lambda: [nn.AvgPool1d(64), qnn.QuantIdentity(bit_width=6), nn.Flatten()],
}


def observed(model):
    from build.verify import observe

    return observe(model, frames_for(32))


@pytest.mark.parametrize("kind", MEANS)
def test_a_mean_is_a_convolution_of_ones(tmp_path, kind):
    from build.canonical import canonical

    before = load_onnx(export(tmp_path / "m.onnx", lambda: [*stem(), *MEANS[kind](), dense(8, 5)]))
    after = canonical(before)
    kinds = [node.op_type for node in after.graph.node]
    assert not {"GlobalAveragePool", "AveragePool", "ReduceMean"} & set(kinds)
    assert kinds.count("Conv") == 2
    flat = kinds.index("Flatten")
    assert kinds[flat - 1] == "Quant", "quantizers come before the flattening"
    expected, found = observed(before), observed(after)
    assert np.allclose(found.logits, expected.logits, rtol=1e-6)
    assert np.array_equal(found.classes, expected.classes)
    assert len(set(found.classes)) > 1


def test_a_flatten_names_its_axis(tmp_path):
    from build.canonical import canonical

    before = load_onnx(
        export(tmp_path / "m.onnx", lambda: [*stem(), nn.Flatten(), dense(8 * 64, 5)])
    )
    (flatten,) = before.get_nodes_by_op_type("Flatten")
    del flatten.attribute[:]
    after = canonical(before)
    (flatten,) = after.get_nodes_by_op_type("Flatten")
    assert [(item.name, item.i) for item in flatten.attribute] == [("axis", 1)]
    assert np.array_equal(observed(after).logits, observed(before).logits)


def test_overlapping_windows_keep_their_stride(tmp_path):
    from build.canonical import canonical

    def layers():
        pool = [nn.AvgPool1d(4, stride=2), qnn.QuantIdentity(bit_width=6), nn.Flatten()]
        return [*stem(), *pool, dense(8 * 31, 5)]

    before = load_onnx(export(tmp_path / "m.onnx", layers))
    after = canonical(before)
    assert np.allclose(observed(after).logits, observed(before).logits, rtol=1e-6)


def last_layer(weights: np.ndarray, bias: np.ndarray, steps: tuple[float, float]) -> ModelWrapper:
    """A quantized vector through a dense layer with a float bias."""
    inputs = weights.shape[1]
    values = {"a": steps[0], "b": steps[1], "zero": 0.0, "bits": 8.0}
    attributes = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}
    graph = helper.make_graph(
        [
            helper.make_node(
                "Quant", ["x", "a", "zero", "bits"], ["q"], domain=QONNX, **attributes
            ),
            helper.make_node(
                "Quant", ["w", "b", "zero", "bits"], ["v"], domain=QONNX, **attributes
            ),
            helper.make_node("Gemm", ["q", "v", "bias"], ["y"], transB=1),
        ],
        "last",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, inputs))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, len(weights)))],
        [
            numpy_helper.from_array((weights * steps[1]).astype(np.float32), "w"),
            numpy_helper.from_array(bias.astype(np.float32), "bias"),
            *(numpy_helper.from_array(np.float32(v), name) for name, v in values.items()),
        ],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid(QONNX, 1)]
    model = ModelWrapper(helper.make_model(graph, opset_imports=imports, ir_version=10))
    return model.transform(InferShapes())


@settings(max_examples=40, deadline=None)
@example(seed=0, classes=20, steps=(1.0, 0.75), size=1.0)  # ties but for a rounded quotient
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(2, 24),
    steps=st.tuples(st.floats(1e-3, 1), st.floats(1e-3, 1)),
    size=st.floats(0.1, 50),
)
def test_an_integer_bias_keeps_the_order_of_all_classes(seed, classes, steps, size):
    from build.canonical import IntegerBias
    from build.execute import trace

    rng = np.random.default_rng(seed)
    weights = rng.integers(-3, 4, (classes, 3))
    steps = tuple(float(np.float32(step)) for step in steps)
    product = steps[0] * steps[1]
    # Some classes share the fraction of their bias: only whole steps apart.
    bias = rng.normal(0, size, classes).round(int(rng.integers(0, 3))) * product
    before = last_layer(weights, bias, steps)
    after = ModelWrapper(before.model, make_deepcopy=True).transform(IntegerBias())
    vectors = rng.integers(-4, 5, (200, 3)) * steps[0]
    accumulators = np.rint(vectors / steps[0]) @ weights.T
    # Over a common denominator: rounded quotients tell classes apart that tie.
    offsets = [
        Fraction(float(value)) / (Fraction(steps[0]) * Fraction(steps[1]))
        for value in before.get_initializer("bias")
    ]
    common = math.lcm(*(offset.denominator for offset in offsets))
    exact = accumulators.astype(int).astype(object) * common
    exact = exact + np.array([int(offset * common) for offset in offsets], object)
    *_, (_, found) = trace(after, vectors)
    step = float(after.get_initializer("bias.step"))
    integers = np.rint(found / step)
    assert np.abs(found / step - integers).max() < 0.1
    above, below = exact[:, :, None], exact[:, None]
    order = (above > below).astype(int) - (above < below).astype(int)
    assert np.array_equal(np.sign(integers[:, :, None] - integers[:, None]), order)


NETWORKS = {
    "mean_and_bias": lambda: [*stem(), *MEANS["mean"](), dense(8, 24, bias=True)],
    "no_bias": lambda: [*stem(), nn.MaxPool1d(8), nn.Flatten(), dense(64, 24)],
    "float_bias": lambda: [*stem(), nn.MaxPool1d(8), nn.Flatten(), dense(64, 24, bias=True)],
    "signed": lambda: [
        quantized_input(),
        qnn.QuantConv1d(2, 8, 17, stride=16, padding=4, bias=True, weight_bit_width=3),
        nn.BatchNorm1d(8),
        qnn.QuantHardTanh(bit_width=3, min_val=-1.0, max_val=1.0),
        nn.Dropout(0.5),
        nn.Flatten(),
        dense(8 * 64, 24),
    ],
}


@pytest.mark.parametrize(
    "name",
    [
        name if name == "mean_and_bias" else pytest.param(name, marks=pytest.mark.slow)
        for name in NETWORKS
    ],
)
def test_small_foreign_networks_reach_rtl_bit_by_bit(tmp_path, name):
    from build.finished import open_build
    from build.flow import build
    from build.simulation.against_network import simulate_build

    path = export(tmp_path / f"{name}.onnx", NETWORKS[name])
    frames = frames_for(26)
    built = build(path, "ZCU104", tmp_path / "out", to="hdl", frames=frames)
    assert built.report.hls_nodes == ()
    assert {entry.mismatches for entry in built.report.verification} == {0}
    found = simulate_build(open_build(tmp_path / "out"), frames[:8], stall=0.3)
    assert found.mismatches == 0
