import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from models.cost import inference_cost
from models.errors import BadInput
from models.export import load_onnx
from models.vintage import QONNX, ModernDatatypes, ModernDomains, WeightsAreNoInputs

LEGACY = {
    "AaronNet32_export": 0.057224,
    "AaronNet32_final": 0.057224,
    "AaronNet32plusplus_export": 0.015705,
    "vgg_export": 1.0,
    "vgg_final": 1.0,
}
FRAME = np.random.default_rng(0).normal(size=(1, 2, 1024)).astype(np.float32)


def quantized(domain=QONNX, imports=((QONNX, 1), ("", 11)), inputs=(), ir_version=10):
    """A quantized input times a constant, the quantizer in the given domain."""
    constants = {"w": 3.0, "s": 0.25, "z": 0.0, "b": 4.0}
    attributes = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}
    graph = helper.make_graph(
        [
            helper.make_node("Quant", ["x", "s", "z", "b"], ["q"], domain=domain, **attributes),
            helper.make_node("Mul", ["q", "w"], ["y"]),
        ],
        "old",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2, 1024))]
        + [helper.make_tensor_value_info(name, TensorProto.FLOAT, ()) for name in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2, 1024))],
        [onnx.numpy_helper.from_array(np.float32(v), name) for name, v in constants.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid(*item) for item in imports], ir_version=ir_version
    )


def computed(model):
    return execute_onnx(model.transform(InferShapes()), {"x": FRAME})["y"]


REFERENCE = np.clip(np.rint(FRAME / 0.25), -8, 7) * 0.75


@pytest.mark.parametrize(("name", "score"), LEGACY.items())
def test_the_challenges_files_have_their_published_scores(shared, name, score, recwarn):
    assert round(inference_cost(load_onnx(shared / f"legacy-onnx/{name}.onnx")).score, 6) == score
    assert not [str(w.message) for w in recwarn if "old-style domain" in str(w.message)]


@pytest.mark.parametrize("domain", ["", "onnx.brevitas", "finn", "finn.custom_op.general", QONNX])
@pytest.mark.parametrize("imported", [True, False])
def test_quantizers_of_old_domains_compute_the_same(tmp_path, domain, imported):
    imports = [(domain, 1)] * (imported and bool(domain)) + [("", 11)]
    old = quantized(domain, imports)
    model = ModelWrapper(old).transform(ModernDomains())
    assert np.array_equal(computed(model), REFERENCE)
    assert [item.domain for item in model.model.opset_import] == ["", QONNX]
    onnx.save(quantized(domain, imports), tmp_path / "old.onnx")
    assert np.array_equal(computed(load_onnx(tmp_path / "old.onnx")), REFERENCE)


def test_a_versions_meaning_moves_with_the_domain():
    model = ModelWrapper(quantized("onnx.brevitas", [("onnx.brevitas", 2), ("", 13)]))
    model = model.transform(ModernDomains())
    imports = {item.domain: item.version for item in model.model.opset_import}
    assert imports == {"": 13, QONNX: 2}


def test_annotations_in_the_old_spelling_are_read():
    model = ModelWrapper(quantized())
    for tensor, name in (("q", "SCALEDINT4"), ("s", "FLOAT32"), ("x", "SCALEDINT<8>")):
        entry = onnx.StringStringEntryProto(key="finn_datatype", value=name)
        annotation = onnx.TensorAnnotation(tensor_name=tensor)
        annotation.quant_parameter_tensor_names.append(entry)
        model.graph.quantization_annotation.append(annotation)
    with pytest.raises(ValueError, match="SCALEDINT4"):
        model.get_tensor_datatype("q")
    model = model.transform(ModernDatatypes())
    found = [model.get_tensor_datatype(tensor) for tensor in "qsx"]
    assert found == [DataType["SCALEDINT<4>"], DataType["FLOAT32"], DataType["SCALEDINT<8>"]]
    assert np.array_equal(computed(model), REFERENCE)


def test_weights_listed_as_inputs_are_none(tmp_path):
    old = quantized(inputs=("w", "s", "z", "b"), ir_version=3)
    model = ModelWrapper(old).transform(WeightsAreNoInputs())
    assert [value.name for value in model.graph.input] == ["x"]
    assert np.array_equal(computed(model), REFERENCE)
    onnx.checker.check_model(model.model)
    onnx.save(quantized(inputs=("w", "s", "z", "b"), ir_version=3), tmp_path / "old.onnx")
    assert np.array_equal(computed(load_onnx(tmp_path / "old.onnx")), REFERENCE)


def test_damaged_is_said_of_damaged_files_only(tmp_path):
    path = tmp_path / "m.onnx"
    whole = quantized().SerializeToString()
    for damaged in (whole[:-40], b"", b"no model at all"):
        path.write_bytes(damaged)
        with pytest.raises(BadInput, match="damaged"):
            load_onnx(path)
    invalid = quantized()
    invalid.graph.node[1].input[0] = "nowhere"
    outside = quantized()
    outside.graph.initializer[0].data_location = TensorProto.EXTERNAL
    outside.graph.initializer[0].ClearField("raw_data")
    outside.graph.initializer[0].external_data.add(key="location", value="weights.bin")
    for model, message in ((invalid, "no valid ONNX graph"), (outside, "weights in another file")):
        path.write_bytes(model.SerializeToString())
        with pytest.raises(BadInput, match=message) as caught:
            load_onnx(path)
        assert "is damaged" not in str(caught.value)
