"""Foreign networks in the spelling that the flow knows: one small rewrite a habit, each exact.

What comes out computes the same classes: `Source.original` keeps what was given, and the build
compares both on its frames.
"""

from fractions import Fraction

import numpy as np
from onnx import helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation
from qonnx.transformation.fold_constants import FoldConstants
from qonnx.transformation.general import GiveUniqueParameterTensors, RemoveUnusedTensors
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.remove import RemoveIdentityOps

from build.checks import QUANTIZERS, quantizer_of
from build.concatenations import QuantizersBeforeConcat
from build.integers.layers import window_of
from build.one_grid import BranchesOnOneGrid
from models.vintage import QONNX


class FlattenNamesItsAxis(Transformation):
    """Write the axis of a Flatten, which FINN's lift to 4-D asks for, where it is the default."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite in place."""
        for node in model.get_nodes_by_op_type("Flatten"):
            if not node.attribute:
                node.attribute.append(helper.make_attribute("axis", 1))
        return model, False


class MeansAreConvolutions(Transformation):
    """Write a mean over positions as a depthwise convolution whose weights are all 1, scaled.

    Its accumulator is the exact sum. Where a mean drops its axis, a Flatten follows.
    """

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite the first mean over the positions of (1, C, L) without padding, in place."""
        for node in model.graph.node:
            window = window_of(model, node)
            if window is None:
                continue
            kernel, stride = window
            shape = model.get_tensor_shape(node.input[0])
            positions = (shape[2] - kernel) // stride + 1
            if shape[2] == kernel:
                stride = 1  # FINN's window generator waits for each sample that a stride skips
            name = node.name or node.output[0]
            ones, values = f"{name}.ones", {"step": 1 / kernel, "zero": 0.0, "bits": 2.0}
            model.set_initializer(ones, np.ones((shape[1], 1, kernel), np.float32))
            for key, value in values.items():
                model.set_initializer(f"{name}.{key}", np.array(value, np.float32))
            output = node.output[0]
            dropped = len(model.get_tensor_shape(output)) == 2
            pooled = f"{output}.pooled" if dropped else output
            added = [
                helper.make_node(
                    "Quant",
                    [ones, *(f"{name}.{key}" for key in values)],
                    [f"{name}.weights"],
                    name=f"{name}.Quant",
                    domain=QONNX,
                    signed=1,
                    narrow=1,
                    rounding_mode="ROUND",
                ),
                helper.make_node(
                    "Conv",
                    [node.input[0], f"{name}.weights"],
                    [pooled],
                    name=name,
                    kernel_shape=[kernel],
                    strides=[stride],
                    pads=[0, 0],
                    dilations=[1],
                    group=shape[1],
                ),
            ]
            if dropped:
                added.append(
                    helper.make_node("Flatten", [pooled], [output], name=f"{name}.Flatten")
                )
            model.set_tensor_shape(f"{name}.weights", [shape[1], 1, kernel])
            model.set_tensor_shape(pooled, [1, shape[1], positions])
            index = list(model.graph.node).index(node)
            model.graph.node.remove(node)
            for offset, item in enumerate(added):
                model.graph.node.insert(index + offset, item)
            return model, True
        return model, False


class QuantizersBeforeFlatten(Transformation):
    """Quantize before positions are made channels: it is the same, value by value."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Swap the first such pair, in place."""
        for node in model.graph.node:
            # ReLUs too: a quantizer follows them.
            if node.op_type not in (*QUANTIZERS, "Relu") or any(
                (values := model.get_initializer(name)) is None or values.size != 1
                for name in node.input[1:]
            ):
                continue
            before = model.find_producer(node.input[0])
            if before is None or before.op_type not in ("Flatten", "Reshape", "Squeeze"):
                continue
            if len(model.find_consumers(before.output[0])) != 1:
                continue
            source, middle, output = before.input[0], before.output[0], node.output[0]
            shape, flat = model.get_tensor_shape(source), model.get_tensor_shape(output)
            node.input[0], node.output[0] = source, middle
            before.input[0], before.output[0] = middle, output
            model.set_tensor_shape(middle, shape)
            model.set_tensor_shape(output, flat)
            nodes = list(model.graph.node)
            index = nodes.index(before)
            model.graph.node.remove(node)
            model.graph.node.insert(index, node)
            return model, True
        return model, False


class IntegerBias(Transformation):
    """Make integers of the last layer's float bias without changing the order of any two classes.

    A class's logit is its integer accumulator plus b = bias / step. Two classes compare by
    accumulator + floor(b), and where that is equal by the rest of b, whatever the accumulators
    are. So (accumulator + floor(b)) * K + rank of the rest, with K no less than the number of
    ranks, orders them as the floats do.
    """

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite in place, or leave a last layer that has no float bias as it is."""
        layer = model.find_producer(model.graph.output[0].name)
        if layer.op_type != "Gemm" or len(layer.input) < 3:
            return model, False
        bias = model.get_initializer(layer.input[2])
        operands = [quantizer_of(model, name) for name in layer.input[:2]]
        if bias is None or None in operands:
            return model, False
        steps = [model.get_initializer(node.input[1]) for node in operands if node is not None]
        if any(step is None or step.size != 1 for step in steps):
            return model, False
        # Exact: a quotient that is rounded tells classes apart that are whole steps apart.
        exact = Fraction(float(steps[0].item())) * Fraction(float(steps[1].item()))
        wanted = [Fraction(float(value)) / exact for value in np.asarray(bias).reshape(-1)]
        rests = sorted({value % 1 for value in wanted})
        factor = 1 << (len(rests) - 1).bit_length()
        integers = np.array(
            [float(value // 1 * factor + rests.index(value % 1)) for value in wanted]
        )
        step = float(exact)
        name = layer.input[2]
        values = {"step": step / factor, "zero": 0.0, "bits": 32.0}
        model.set_initializer(name, (integers * step / factor).astype(np.float32))
        for key, value in values.items():
            model.set_initializer(f"{name}.{key}", np.array(value, np.float32))
        quantizer = helper.make_node(
            "Quant",
            [name, *(f"{name}.{key}" for key in values)],
            [f"{name}.quantized"],
            name=f"{name}.Quant",
            domain=QONNX,
            signed=1,
            narrow=0,
            rounding_mode="ROUND",
        )
        layer.input[2] = quantizer.output[0]
        model.set_tensor_shape(quantizer.output[0], list(bias.shape))
        model.graph.node.insert(list(model.graph.node).index(layer), quantizer)
        return model, False


def canonical(model: ModelWrapper) -> ModelWrapper:
    """Return a foreign QONNX graph (its copy) in the spelling that the flow knows."""
    model = ModelWrapper(model.model, make_deepcopy=True)
    for step in (
        InferShapes(),
        GiveUniqueParameterTensors(),
        FoldConstants(exclude_op_types=list(QUANTIZERS)),
        RemoveIdentityOps(),
        MeansAreConvolutions(),
        FlattenNamesItsAxis(),
        QuantizersBeforeFlatten(),
        QuantizersBeforeConcat(),
        BranchesOnOneGrid(),
        IntegerBias(),
        RemoveUnusedTensors(),
    ):
        model = model.transform(step)
    return model
