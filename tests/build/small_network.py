"""A small network straight from FINN's abstract ops: every node type that AaronNet needs.

Pad - windows - dense convolution - thresholds - pad - depthwise convolution - thresholds -
pointwise convolution - max pooling - global max pooling - dense - bias - argmax, with random
integers in place of trained ones.
"""

import numpy as np
from onnx import TensorProto, helper
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.general import GiveUniqueNodeNames
from qonnx.util.basic import qonnx_make_model

DOMAIN = "finn.custom_op.fpgadataflow"


class Builder:
    """Appends nodes to a chain."""

    def __init__(self, shape, datatype):
        self.nodes, self.values, self.types, self.shapes = [], {}, {}, {}
        self.last = "frame"
        self.declare("frame", shape, datatype)

    def declare(self, name, shape, datatype):
        self.shapes[name], self.types[name] = list(shape), datatype

    def add(self, op, shape, datatype, constant=None, **attributes):
        name = f"t{len(self.nodes)}"
        inputs = [self.last]
        if constant is not None:
            values, constant_type = constant
            inputs.append(f"{name}_constant")
            self.values[inputs[1]] = np.asarray(values, dtype=np.float32)
            self.types[inputs[1]] = constant_type
        self.nodes.append(
            helper.make_node(
                op, inputs, [name], domain=DOMAIN, backend="fpgadataflow", **attributes
            )
        )
        self.declare(name, shape, datatype)
        self.last = name

    def model(self):
        def info(name):
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shapes[name])

        inner = [info(n) for n in self.shapes if n not in ("frame", self.last)]
        graph = helper.make_graph(
            self.nodes, "small", [info("frame")], [info(self.last)], value_info=inner
        )
        model = ModelWrapper(qonnx_make_model(graph))
        for name, values in self.values.items():
            model.set_initializer(name, values)
        for name, datatype in self.types.items():
            model.set_tensor_datatype(name, DataType[datatype])
        return model.transform(GiveUniqueNodeNames())


def small_network(seed=0, length=16, channels=4, labels=6, bias=True, label_select=True):
    """Return the abstract network: int6 frames (1, length, 1, 2) to a class index or logits."""
    rng = np.random.default_rng(seed)
    b = Builder((1, length, 1, 2), "INT6")

    def weights(shape, low=-7, high=7):
        return rng.integers(low, high, size=shape, endpoint=True)

    def pad(size, depth, datatype, amount):
        b.add(
            "FMPadding", (1, size + 2 * amount, 1, depth), datatype, ImgDim=[size, 1],
            Padding=[amount, 0, amount, 0], NumChannels=depth, SIMD=1, inputDataType=datatype,
        )  # fmt: skip

    def windows(size, depth, datatype, kernel, stride, depthwise):
        out = (size - kernel) // stride + 1
        b.add(
            "ConvolutionInputGenerator", (1, out, 1, kernel * depth), datatype,
            ConvKernelDim=[kernel, 1], IFMChannels=depth, IFMDim=[size, 1], OFMDim=[out, 1],
            SIMD=1, Stride=[stride, 1], Dilation=[1, 1], inputDataType=datatype,
            outputDataType=datatype, depthwise=int(depthwise), is1D=1,
        )  # fmt: skip
        return out

    def mvau(size, inputs, outputs, datatype, result, shape):
        b.add(
            "MVAU", shape, result, (weights((inputs, outputs)), "INT4"), MW=inputs, MH=outputs,
            SIMD=1, PE=1, inputDataType=datatype, weightDataType="INT4", outputDataType=result,
            accDataType=result, noActivation=1, ActVal=0, binaryXnorMode=0,
            numInputVectors=[1, size, 1] if size else [1],
        )  # fmt: skip

    def thresholds(size, depth, datatype, result, levels, bias, scale):
        steps = np.sort(rng.integers(-scale, scale, size=(depth, levels)), axis=1)
        b.add(
            "Thresholding", (1, size, 1, depth), result, (steps, datatype), NumChannels=depth,
            PE=1, numSteps=levels, inputDataType=datatype, weightDataType=datatype,
            outputDataType=result, ActVal=bias, numInputVectors=[1, size, 1],
        )  # fmt: skip

    pad(length, 2, "INT6", 2)
    size = windows(length + 4, 2, "INT6", 4, 2, False)
    mvau(size, 8, channels, "INT6", "INT14", (1, size, 1, channels))
    thresholds(size, channels, "INT14", "INT5", 31, -16, 500)
    pad(size, channels, "INT5", 1)
    size = windows(size + 2, channels, "INT5", 3, 1, True)
    b.add(
        "VVAU", (1, size, 1, channels), "INT11", (weights((channels, 1, 3, 1)), "INT4"),
        PE=1, SIMD=1, Dim=[size, 1], Channels=channels, Kernel=[3, 1], inputDataType="INT5",
        weightDataType="INT4", outputDataType="INT11", accDataType="INT11", noActivation=1,
    )  # fmt: skip
    thresholds(size, channels, "INT11", "UINT4", 15, 0, 150)
    mvau(size, channels, channels, "UINT4", "INT11", (1, size, 1, channels))

    def pool(size, kernel):
        out = windows(size, channels, "INT11", kernel, kernel, True)
        b.add(
            "Pool", (1, out, 1, channels), "INT11", Channels=channels, PE=1,
            KernelSize=[kernel, 1], Function="MaxPool", OutImgDims=[out, 1],
            InputDataType="INT11", OutputDataType="INT11", BatchSize=1,
        )  # fmt: skip
        return out

    size = pool(size, 2)
    pool(size, size)
    mvau(0, channels, labels, "INT11", "INT18", (1, 1, 1, labels))
    b.nodes[-1].attribute.remove(
        next(a for a in b.nodes[-1].attribute if a.name == "numInputVectors")
    )
    b.nodes[-1].attribute.append(helper.make_attribute("numInputVectors", [1, 1, 1]))
    if bias:
        b.add(
            "ElementwiseAdd", (1, 1, 1, labels), "INT19",
            (rng.integers(-300, 300, size=labels), "INT10"), lhs_dtype="INT18",
            rhs_dtype="INT10", out_dtype="INT19", lhs_shape=[1, 1, 1, labels], rhs_shape=[labels],
            out_shape=[1, 1, 1, labels], lhs_style="input", rhs_style="const", PE=1,
        )  # fmt: skip
    if label_select:
        b.add(
            "LabelSelect", (1, 1, 1, 1), "UINT8", Labels=labels, PE=1, K=1,
            inputDataType="INT19" if bias else "INT18", outputDataType="UINT8",
            numInputVectors=[1, 1, 1],
        )  # fmt: skip
    return b.model()


def frames(count, seed=0, length=16):
    """Return random int6 frames (count, 1, length, 1, 2)."""
    rng = np.random.default_rng(seed)
    return rng.integers(-32, 31, size=(count, 1, length, 1, 2), endpoint=True).astype(np.float32)
