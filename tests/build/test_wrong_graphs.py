"""What cannot be built is said in one line, by node and operator, before any folder is made."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from build.source import open_source
from models.errors import BadInput
from models.vintage import QONNX

SIGNED = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], name=f"the_{output}", **attributes)


def quant(inputs, output, **attributes):
    return node("Quant", inputs, output, domain=QONNX, **(SIGNED | attributes))


class Graph:
    """A right one to spoil: quantizer, convolution, quantizer, pooling, dense."""

    def __init__(self):
        self.constants = {
            "step": np.float32(0.25), "zero": np.float32(0), "bits": np.float32(4),
            "w1": np.ones((4, 2, 16), np.float32), "w2": np.ones((32, 5), np.float32),
        }  # fmt: skip
        self.nodes = [
            quant(["x", "step", "zero", "bits"], "q0"),
            quant(["w1", "step", "zero", "bits"], "v1"),
            node("Conv", ["q0", "v1"], "conv", strides=[16], kernel_shape=[16]),
            quant(["conv", "step", "zero", "bits"], "q1"),
            node("MaxPool", ["q1"], "pool", kernel_shape=[8], strides=[8]),
            node("Flatten", ["pool"], "flat"),
            quant(["w2", "step", "zero", "bits"], "v2"),
            node("MatMul", ["flat", "v2"], "y"),
        ]
        self.inputs, self.outputs = {"x": (1, 2, 1024)}, {"y": (1, 5)}

    def between(self, before, *nodes):
        """Put nodes, the last of which gives "new", between a tensor and what took it."""
        index = next(i for i, item in enumerate(self.nodes) if before in item.output)
        for later in self.nodes[index + 1 :]:
            later.input[:] = ["new" if name == before else name for name in later.input]
        self.nodes[index + 1 : index + 1] = nodes

    def save(self, path):
        def info(shapes):
            return [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in shapes.items()
            ]

        constants = [numpy_helper.from_array(v, name) for name, v in self.constants.items()]
        graph = helper.make_graph(
            self.nodes, "wrong", info(self.inputs), info(self.outputs), constants
        )
        imports = [helper.make_opsetid("", 18), helper.make_opsetid(QONNX, 1)]
        onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=10), path)
        return path


def two_inputs(g):
    g.inputs["z"] = (1, 2, 1024)


def two_outputs(g):
    g.outputs["flat"] = (1, 32)


def dynamic(g):
    g.inputs["x"] = ("N", 2, 1024)


def batch(g):
    g.inputs["x"] = (8, 2, 1024)


def residual(g):
    g.between("q1", node("Relu", ["q1"], "side"), node("Add", ["q1", "side"], "new"))


def concatenation(g):
    g.between("q1", node("Relu", ["q1"], "side"), node("Concat", ["q1", "side"], "new", axis=1))


def attention(g):
    turned = node("Transpose", ["q1"], "turned", perm=[0, 2, 1])
    g.between("q1", turned, node("MatMul", ["q1", "turned"], "new"))


def inserted(before, op, **attributes):
    def spoil(g):
        g.between(before, node(op, [before], "new", **attributes))

    return spoil


def recurrent(g):
    g.constants |= {"w": np.ones((1, 16, 64), np.float32), "r": np.ones((1, 16, 4), np.float32)}
    g.between("q1", node("LSTM", ["q1", "w", "r"], "new", hidden_size=4))


def loop(g):
    same = node("Identity", ["inner"], "again")
    inner = [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)]
    condition = helper.make_tensor_value_info("go", TensorProto.BOOL, ())
    count = helper.make_tensor_value_info("count", TensorProto.INT64, ())
    carried = helper.make_tensor_value_info("again", TensorProto.FLOAT, (1, 4, 64))
    inner = helper.make_tensor_value_info("inner", TensorProto.FLOAT, (1, 4, 64))
    onward = node("Identity", ["go"], "on")
    on = helper.make_tensor_value_info("on", TensorProto.BOOL, ())
    body = helper.make_graph([same, onward], "body", [count, condition, inner], [on, carried])
    g.constants |= {"times": np.array(2), "yes": np.array(True)}
    g.between("q1", node("Loop", ["times", "yes", "q1"], "new", body=body))


def float_input(g):
    g.nodes[2].input[0] = "x"
    del g.nodes[0]


def float_activations(g):
    g.nodes[4].input[0] = "conv"


def float_weights(g):
    g.nodes[2].input[1] = "w1"


def wide(g):
    g.constants["sixteen"] = np.float32(16)
    g.nodes[3].input[3] = "sixteen"


def changed(name, index, value):
    def spoil(g):
        g.constants["changed"] = np.asarray(value, np.float32)
        next(n for n in g.nodes if name in n.output).input[index] = "changed"

    return spoil


def floors(g):
    g.nodes[0] = quant(["x", "step", "zero", "bits"], "q0", rounding_mode="FLOOR")


def dithers(g):
    g.nodes[3] = quant(["conv", "step", "zero", "bits"], "q1", rounding_mode="DITHER")


def padded_pool(g):
    g.nodes[4] = node("MaxPool", ["q1"], "pool", kernel_shape=[8], strides=[8], pads=[0, 7])


def no_layer_at_the_end(g):
    g.between("q0", node("MaxPool", ["q0"], "new", kernel_shape=[1024], strides=[1024]))
    g.nodes = [g.nodes[0], g.nodes[1], node("Flatten", ["new"], "y")]
    g.outputs = {"y": (1, 2)}


def padded_mean(g):
    attributes = {"kernel_shape": [8], "strides": [8], "pads": [4, 4]}
    g.nodes[4] = node("AveragePool", ["q1"], "pool", **attributes)
    g.constants["w2"] = np.ones((36, 5), np.float32)


def dilated_pool(g):
    g.nodes[4] = node("MaxPool", ["q1"], "pool", kernel_shape=[8], strides=[8], dilations=[2])
    g.constants["w2"] = np.ones((28, 5), np.float32)


def reflected(g):
    g.constants["pads"] = np.array([0, 0, 8, 0, 0, 8])
    g.between("q0", node("Pad", ["q0", "pads"], "new", mode="reflect"))


def divided_by(g):
    g.constants["one"] = np.float32(1)
    g.between("conv", node("Div", ["one", "conv"], "new"))


def with_constant(before, op, shape):
    def spoil(g):
        g.constants["one"] = np.linspace(1, 2, int(np.prod(shape))).reshape(shape)
        g.constants["one"] = g.constants["one"].astype(np.float32)
        g.between(before, node(op, [before, "one"], "new"))

    return spoil


def rows_pooled(g):
    """Two rows of a 2-D network, their maximum taken."""
    g.inputs["x"] = (1, 1, 2, 1024)
    g.constants["w1"] = np.ones((4, 1, 1, 16), np.float32)
    g.nodes[2] = node("Conv", ["q0", "v1"], "conv", strides=[1, 16], kernel_shape=[1, 16])
    g.nodes[4] = node("MaxPool", ["q1"], "pool", kernel_shape=[2, 8], strides=[2, 8])


WRONG = {
    "two_inputs": (two_inputs, r"has 2 inputs"),
    "two_outputs": (two_outputs, r"has 2 outputs"),
    "dynamic": (dynamic, r"dynamic input shape \(N, 2, 1024\)"),
    "batch": (batch, r"input shape \(8, 2, 1024\)"),
    "residual": (residual, r"the_new \(Add\): its operand side is no integer.*QuantIdentity"),
    "concatenation": (concatenation, r"the_new \(Concat\): its operand side is no integer"),
    "attention": (attention, r"the_new \(MatMul\): branches can be added and concatenated only"),
    "sigmoid": (inserted("conv", "Sigmoid"), r"the_new \(Sigmoid\).*use QuantReLU"),
    "softmax": (inserted("q1", "Softmax"), r"the_new \(Softmax\).*leave it out"),
    "unknown": (inserted("conv", "Sin"), r"the_new \(Sin\): there is no hardware for it"),
    "recurrent": (recurrent, r"the_new \(LSTM\).*feed forward"),
    "loop": (loop, r"the_new \(Loop\).*feed forward"),
    "float_input": (float_input, r"takes floats: its first node.*not the_conv \(Conv\)"),
    "float_activations": (float_activations, r"the_y takes float activations"),
    "float_weights": (float_weights, r"the_conv \(Conv\): its weights are floats"),
    "wide": (wide, r"the_q1 \(Quant\): it quantizes activations to 16 bits"),
    "per_channel": (changed("q1", 1, np.full((1, 4, 1), 0.5)), r"the_q1 \(Quant\).*per tensor"),
    "zero_point": (changed("q1", 2, 3), r"the_q1 \(Quant\): its zero point must be 0"),
    "floors": (floors, r"the_q0 \(Quant\): the input is rounded to the nearest"),
    "dithers": (dithers, r"the_q1 \(Quant\): it rounds by DITHER"),
    "padded_pool": (padded_pool, r"the_pool \(MaxPool\): pool without padding"),
    "padded_mean": (padded_mean, r"the_pool \(AveragePool\): pool without padding"),
    "dilated_pool": (dilated_pool, r"the_pool \(MaxPool\): pool without dilation"),
    "rows_pooled": (rows_pooled, r"the_pool \(MaxPool\): pool along the samples only"),
    "reflected": (reflected, r"the_new \(Pad\): zeros in front of a convolution are built"),
    "divided_by": (divided_by, r"the_new \(Div\): its divisor must be a constant"),
    "sample_by_sample": (
        with_constant("conv", "Mul", (1, 1, 64)),
        r"the_new \(Mul\): its constants must be one number, or one a channel",
    ),
    "scaled_behind": (
        with_constant("q1", "Mul", (1, 4, 1)),
        r"the_new \(Mul\): it makes floats of what the next layer takes",
    ),
    "vector_scaled": (
        with_constant("flat", "Add", (1, 32)),
        r"the_new \(Add\): it makes floats of what the next layer takes",
    ),
    "turned": (inserted("q1", "Transpose", perm=[0, 2, 1]), r"the_new \(Transpose\): axes keep"),
    "no_layer": (no_layer_at_the_end, r"must end with a layer that gives the class scores"),
    "steps_of_inputs": (
        changed("v2", 1, np.linspace(0.1, 1, 32).reshape(32, 1)),
        r"the_y \(MatMul\): its weights have a step for each input",
    ),
    "weights_zero_point": (changed("v1", 2, 3), r"the_v1 \(Quant\): its zero point must be 0"),
}


def test_the_graph_that_they_spoil_is_right(tmp_path):
    assert open_source(Graph().save(tmp_path / "m.onnx")).model.graph.node


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_graph_is_refused_in_one_line_before_any_work(tmp_path, name):
    from build.flow import build

    spoil, message = WRONG[name]
    graph = Graph()
    spoil(graph)
    path = graph.save(tmp_path / "m.onnx")
    with pytest.raises(BadInput, match=message) as caught:
        build(path, "ZCU104", tmp_path / "out")
    assert len(str(caught.value).splitlines()) == 1
    assert [item.name for item in tmp_path.iterdir()] == ["m.onnx"]


def test_the_command_says_it_too(tmp_path, refused):
    graph = Graph()
    recurrent(graph)
    graph.save(tmp_path / "m.onnx")
    line = refused("build", tmp_path / "m.onnx", "--board", "ZCU104", "-o", tmp_path / "out")
    assert "the_new (LSTM)" in line
    assert not (tmp_path / "out").exists()
