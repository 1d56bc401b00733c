"""The rules as a table: what is free, what counts, what is refused."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models.cost import inference_cost
from models.errors import BadInput
from models.export import load_onnx
from models.vintage import QONNX


def constant(name, values):
    return onnx.numpy_helper.from_array(np.asarray(values), name)


def model_of(tmp_path, nodes, constants=(), opset=18, shape=None):
    """A file with these nodes between x (1, 2, 1024) and y, nothing else."""
    graph = helper.make_graph(
        nodes,
        "rules",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2, 1024))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        constants,
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(QONNX, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    onnx.save(onnx.shape_inference.infer_shapes(model), tmp_path / "m.onnx")
    return load_onnx(tmp_path / "m.onnx")


AXES = constant("axes", np.array([2]))
FREE = {
    "GlobalMaxPool": ({}, []),
    "GlobalAveragePool": ({}, []),
    "MaxPool": ({"kernel_shape": [2]}, []),
    "AveragePool": ({"kernel_shape": [2]}, []),
    "ReduceMean": ({}, [AXES]),
    "ReduceMax": ({}, [AXES]),
    "Flatten": ({}, []),
    "Squeeze": ({}, [constant("axes", np.array([0]))]),
    "Unsqueeze": ({}, [AXES]),
    "Slice": ({}, [constant("from", np.array([0])), constant("to", np.array([1]))]),
    "Pad": ({}, [constant("pads", np.array([0, 0, 1, 0, 0, 1]))]),
    "Transpose": ({"perm": [0, 2, 1]}, []),
    "Concat": ({"axis": 0}, [constant("more", np.zeros((1, 2, 1024), np.float32))]),
    "Reshape": ({}, [constant("shape", np.array([1, -1]))]),
    "Gather": ({}, [constant("index", np.array([0]))]),
    "Softmax": ({}, []),
    "LogSoftmax": ({}, []),
    "Sigmoid": ({}, []),
    "HardSigmoid": ({}, []),
    "Tanh": ({}, []),
    "Clip": ({}, [constant("low", np.float32(-1)), constant("high", np.float32(1))]),
    "Relu": ({}, []),
    "LeakyRelu": ({}, []),
    "Elu": ({}, []),
    "Selu": ({}, []),
    "Add": ({}, [constant("bias", np.float32(1))]),
    "Mul": ({}, [constant("scale", np.float32(2))]),
    "Dropout": ({}, []),
}


@pytest.mark.parametrize("op", FREE)
def test_what_is_free_counts_nothing(tmp_path, op):
    attributes, constants = FREE[op]
    inputs = ["x", *(item.name for item in constants)]
    node = helper.make_node(op, inputs, ["y"], name="it", **attributes)
    facts = inference_cost(model_of(tmp_path, [node], constants))
    assert (facts.score, facts.layers, facts.warnings) == (0, (), ())


def test_hardtanh_and_mean_of_old_opsets_are_free(tmp_path):
    nodes = [
        helper.make_node("Clip", ["x"], ["a"], min=-1.0, max=1.0),
        helper.make_node("ReduceMean", ["a"], ["b"], axes=[2]),
        helper.make_node("Squeeze", ["b"], ["y"], axes=[2]),
    ]
    assert inference_cost(model_of(tmp_path, nodes, opset=9)).score == 0


def weights(name, *shape):
    return constant(name, np.ones(shape, np.float32))


RECURRENT = {"hidden_size": 4}
REFUSED = {
    "ConvTranspose": (["x", "w"], {}, [weights("w", 2, 3, 5)]),
    "RNN": (["x", "w", "r"], RECURRENT, [weights("w", 1, 4, 1024), weights("r", 1, 4, 4)]),
    "GRU": (["x", "w", "r"], RECURRENT, [weights("w", 1, 12, 1024), weights("r", 1, 12, 4)]),
    "LSTM": (["x", "w", "r"], RECURRENT, [weights("w", 1, 16, 1024), weights("r", 1, 16, 4)]),
    "Einsum": (["x", "w"], {"equation": "ncl,lk->nck"}, [weights("w", 1024, 3)]),
    "MatMul": (["x", "turned"], {}, []),
}


@pytest.mark.parametrize("op", REFUSED)
def test_what_multiplies_otherwise_is_refused_by_name(tmp_path, op):
    inputs, attributes, constants = REFUSED[op]
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[0, 2, 1]),
        helper.make_node(op, inputs, ["y"], name="culprit", **attributes),
    ]
    model = model_of(tmp_path, nodes, constants)
    with pytest.raises(BadInput, match=rf"culprit \({op}"):
        inference_cost(model)


def asymmetric(zero):
    """A dense layer on a flattened frame, its operands quantized around a zero point."""
    attributes = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}
    parameters = ["step", "zero", "bits"]
    nodes = [
        helper.make_node("Quant", ["x", *parameters], ["q"], domain=QONNX, **attributes),
        helper.make_node("Quant", ["w", *parameters], ["v"], domain=QONNX, **attributes),
        helper.make_node("Flatten", ["q"], ["flat"]),
        helper.make_node("MatMul", ["flat", "v"], ["y"], name="dense"),
    ]
    values = {"step": 0.5, "zero": zero, "bits": 4.0}
    return nodes, [
        weights("w", 2048, 3),
        *(constant(name, np.float32(value)) for name, value in values.items()),
    ]


def test_quantizers_that_the_counter_does_not_see_are_warned_of(tmp_path, cli):
    facts = inference_cost(model_of(tmp_path, *asymmetric(0.0), shape=(1, 3)))
    assert facts.warnings == ()
    assert facts.bit_ops == 2048 * 3 * 4 * 4
    model_of(tmp_path, *asymmetric(3.0), shape=(1, 3))
    shown = cli("cost", tmp_path / "m.onnx", "--json", tmp_path / "c.json").stdout
    facts = json.loads((tmp_path / "c.json").read_text())
    assert facts["bit_ops"] == 2048 * 3 * 32 * 32
    (warning,) = facts["warnings"]
    assert "all layers count as FLOAT32" in warning
    assert "2 quantizers" in warning
    assert "all layers count as" in shown
