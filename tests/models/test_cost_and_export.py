import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from models import checkpoint
from models.cost import inference_cost
from models.errors import BadInput
from models.export import CentreWeights, export, load_onnx, read_metadata, to_qonnx
from models.seal import seal
from tests.conftest import PUBLISHED
from tests.models.test_checkpoint import TINY, trained

QONNX = "qonnx.custom_op.general"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "tiny.pth"
    network = trained(TINY)
    with torch.no_grad():
        network.classifier[0].weight[0] = 0
    checkpoint.save(path, network, TINY, {"data_label": "synthetic"})
    return checkpoint.load(path)


@pytest.fixture(scope="module")
def graph(tiny):
    return to_qonnx(tiny)


@pytest.fixture(scope="module")
def facts(tiny):
    return inference_cost(tiny)


def foreign(path, op="Relu", batch=1, domain=""):
    """A third party's model: one dense layer on the flattened frame, then `op`."""
    weights = np.eye(2048, 5, dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["y"]),
            helper.make_node(op, ["y"], ["z"], domain=domain),
        ],
        "foreign",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (batch, 2, 1024))],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, (batch, 5))],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    domains = [helper.make_opsetid("", 18)] + ([helper.make_opsetid(domain, 1)] * bool(domain))
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=10), path)
    return path


@pytest.mark.parametrize(("name", "score"), PUBLISHED.items())
def test_published_scores_are_met_to_six_digits(published, name, score):
    facts = inference_cost(checkpoint.load(published(name)))
    assert round(facts.score, 6) == score
    assert facts.compression == pytest.approx(1 / score, rel=1e-4)
    if name == "AaronNet32plusplus":
        # 6 x 6 bits, but the depthwise layers read floating point: 32 x 6 (reference.md)
        assert facts.bit_ops == 230282 * 36 + 24889 * 32 * 6
        assert facts.nonzero_weights == 3160


def test_layers_add_up_to_the_total(facts):
    for key in ("score", "bit_ops", "weight_bits", "macs", "nonzero_weights"):
        assert sum(getattr(layer, key) for layer in facts.layers) == pytest.approx(
            getattr(facts, key)
        )
    assert facts.layers[0].name == "expand.branch1.0.Conv"


def test_exact_zeros_are_exported_and_cost_nothing(graph, facts):
    (dense,) = (layer for layer in facts.layers if layer.name == "classifier.0.Gemm")
    assert dense.nonzero_weights == 4 * 4  # one of the five rows of four was zeroed
    assert not graph.get_initializer("classifier.0.weight_quant.Quant_param0")[0].any()


def test_the_graph_computes_what_the_network_computes(tiny, graph):
    frames = np.random.default_rng(0).normal(size=(4, 1, 2, 1024)).astype(np.float32)
    for frame in frames:
        found = execute_onnx(graph, {"global_in": frame})["global_out"]
        with torch.no_grad():
            expected = tiny.network(torch.from_numpy(frame)).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_weights_lie_in_the_middle_of_their_steps():
    # 43.5 steps in float32, where half goes to the even 44, and less than that in float64.
    steps = np.random.default_rng(0).uniform(0.01, 0.02, 10_000).astype(np.float32)
    ties = np.float32(43.5) * steps
    step = next(
        s for s, tie in zip(steps, ties, strict=True)
        if tie / s == np.float32(43.5) and float(tie) / float(s) < 43.5
    )  # fmt: skip
    weights = np.array([43.5, -20.25, 0.0, 126.75], np.float32) * step
    constants = {"w": weights, "s": step, "z": np.float32(0), "b": np.float32(8)}
    attributes = {"signed": 1, "narrow": 1, "rounding_mode": "ROUND"}
    graph = helper.make_graph(
        [
            helper.make_node("Quant", list("wszb"), ["q"], domain=QONNX, **attributes),
            helper.make_node("Mul", ["x", "q"], ["y"]),
        ],
        "tie",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4))],
        [onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    domains = [helper.make_opsetid("", 18), helper.make_opsetid(QONNX, 1)]
    model = ModelWrapper(helper.make_model(graph, opset_imports=domains, ir_version=10))
    model = model.transform(InferShapes())
    ones = {"x": np.ones((1, 4), np.float32)}
    before = execute_onnx(model, ones)["y"]
    model = model.transform(CentreWeights())
    assert np.array_equal(execute_onnx(model, ones)["y"], before)
    wide = model.get_initializer("w").astype(np.float64) / np.float64(step)
    assert np.rint(wide).tolist() == [44, -20, 0, 127]
    assert np.abs(wide - np.rint(wide)).max() < 1e-5


def test_export_is_deterministic_and_says_where_it_came_from(tmp_path, tiny, graph, facts):
    export(tiny, tmp_path / "a.onnx")
    first = (tmp_path / "a.onnx").read_bytes()
    assert first == seal(graph.model).SerializeToString(deterministic=True)
    assert b".py" not in first, "source paths of this machine have leaked into the model"
    model = load_onnx(tmp_path / "a.onnx")
    metadata = read_metadata(model)
    assert metadata["config"] == TINY.to_dict()
    assert metadata["checkpoint_sha256"] == tiny.info["sha256"]
    assert metadata["data_label"] == "synthetic"
    assert inference_cost(model).score == facts.score


def test_a_third_partys_model_is_counted(tmp_path):
    facts = inference_cost(load_onnx(foreign(tmp_path / "m.onnx")))
    assert facts.macs == facts.nonzero_weights == 5
    assert facts.bit_ops == 5 * 32 * 32
    assert read_metadata(load_onnx(tmp_path / "m.onnx")) == {}


def test_operators_that_nobody_knows_are_named(tmp_path):
    with pytest.raises(BadInput, match="Wavelet"):
        inference_cost(load_onnx(foreign(tmp_path / "m.onnx", "Wavelet", domain="my.ops")))


@pytest.mark.parametrize(
    ("batch", "message"), [("N", r"a dynamic input shape \(N, 2, 1024\)"), (8, r"\(8, 2, 1024\)")]
)
def test_other_input_shapes_are_refused(tmp_path, batch, message):
    with pytest.raises(BadInput, match=message):
        load_onnx(foreign(tmp_path / "m.onnx", batch=batch))


def test_a_damaged_model_is_refused(tmp_path):
    path = foreign(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match="damaged"):
        load_onnx(path)


def test_the_command_prints_what_the_json_holds(tmp_path, cli, graph):
    graph.save(str(tmp_path / "tiny.onnx"))
    shown = cli("cost", tmp_path / "tiny.onnx", "--breakdown", "--json", tmp_path / "c.json")
    facts = json.loads((tmp_path / "c.json").read_text())
    assert {"score", "bit_ops", "weight_bits", "macs", "nonzero_weights", "compression"} <= set(
        facts
    )
    assert f"{facts['score']:.6f}" in shown.stdout
    assert f"{facts['bit_ops']:,}" in shown.stdout
    assert "classifier.3.Gemm" in shown.stdout
    assert facts["trained_on"] == "synthetic"
    assert shown.stderr == ""


def test_the_commands_refuse_bad_input(tmp_path, refused, tiny):
    foreign(tmp_path / "m.onnx", "Wavelet", domain="my.ops")
    assert "Wavelet" in refused("cost", tmp_path / "m.onnx", "--json", tmp_path / "c.json")
    checkpoint.save(tmp_path / "t.pth", tiny.network, TINY, {})
    assert "does not fit aaronnet48" in refused("cost", tmp_path / "t.pth", "--model", "aaronnet48")
    (tmp_path / "file").touch()
    assert "cannot write" in refused(
        "export", tmp_path / "t.pth", "-o", tmp_path / "file" / "m.onnx"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "m.onnx", "t.pth"]
