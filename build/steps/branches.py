"""Forks and joins: scales move behind them, channels come last, streams are doubled.

FINN's streamlining works along chains. These rewrites take the factor that makes floats of a
quantizer's integers past every fork and every join, and with it the transpose to channels last, so
that additions and concatenations add and concatenate integers.
"""

import numpy as np
from finn.builder.build_dataflow_config import DataflowBuildConfig
from finn.transformation.streamline.absorb import (
    AbsorbConsecutiveTransposes,
    AbsorbTransposeIntoMultiThreshold,
)
from finn.transformation.streamline.collapse_repeated import CollapseRepeatedMul
from finn.transformation.streamline.reorder import (
    MakeMaxPoolNHWC,
    MoveMulPastFork,
    MoveMulPastMaxPool,
    MoveTransposePastFork,
)
from onnx import NodeProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation
from qonnx.transformation.general import GiveUniqueNodeNames, SortGraph
from qonnx.transformation.infer_data_layouts import InferDataLayouts
from qonnx.transformation.infer_datatypes import InferDataTypes
from qonnx.transformation.infer_shapes import InferShapes

from build.checks import joins
from build.grid import common_factors

CHANNELS_FIRST = [0, 3, 1, 2]
"""The transpose that lowered convolutions and poolings leave behind them."""


class FactorsPastJoins(Transformation):
    """Move the positive scalar factors in front of a join behind it, as far as they are common.

    Factors to each other as small integers leave these in front.
    """

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite one join, in place."""
        for node in model.graph.node:
            if not joins(model, node):
                continue
            producers = [model.find_producer(name) for name in node.input]
            values = [_factor(model, producer) for producer in producers]
            factors = common_factors([1.0 if value is None else value for value in values])
            if factors is None or values == [None if f == 1 else f for f in factors]:
                continue
            common = next(v or 1.0 for v in values) / factors[0]
            for index, (producer, value) in enumerate(zip(producers, values, strict=True)):
                if value is not None:
                    node.input[index] = producer.input[0]
                    model.graph.node.remove(producer)
                if factors[index] != 1:
                    node.input[index] = _multiplied(model, node.input[index], factors[index])
            output = node.output[0]
            node.output[0] = model.make_new_valueinfo_name()
            model.set_tensor_shape(node.output[0], model.get_tensor_shape(output))
            _multiplied(model, node.output[0], common, output)
            model = model.transform(SortGraph())
            return model.transform(InferDataTypes()), True
        return model, False


def _factor(model: ModelWrapper, node: NodeProto | None) -> float | None:
    """Return the positive scalar that a node multiplies with for one consumer; None for others."""
    if node is None or node.op_type != "Mul" or model.is_fork_node(node):
        return None
    value = model.get_initializer(node.input[1])
    return float(value.item()) if value is not None and value.size == 1 and value > 0 else None


def _multiplied(model: ModelWrapper, tensor: str, factor: float, output: str = "") -> str:
    """Append a multiplication of a tensor by a scalar; return its output."""
    output = output or model.make_new_valueinfo_name()
    constant = model.make_new_valueinfo_name()
    model.set_initializer(constant, np.array(factor, np.float32))
    model.graph.node.append(helper.make_node("Mul", [tensor, constant], [output]))
    model.set_tensor_shape(output, model.get_tensor_shape(tensor))
    return output


class TransposesPastJoins(Transformation):
    """Join channels-last tensors: move the transposes in front of a join behind it."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite one join, in place."""
        for node in model.graph.node:
            if not joins(model, node):
                continue
            producers = [model.find_producer(name) for name in node.input]
            if any(_transposes(item) != CHANNELS_FIRST for item in producers):
                continue
            for index, producer in enumerate(producers):
                node.input[index] = producer.input[0]
                if len(model.find_consumers(producer.output[0])) == 0:
                    model.graph.node.remove(producer)
            for item in node.attribute:
                if item.name == "axis":
                    item.i = CHANNELS_FIRST[item.i]
            output = node.output[0]
            node.output[0] = model.make_new_valueinfo_name()
            shape = model.get_tensor_shape(output)
            model.set_tensor_shape(node.output[0], [shape[0], *shape[2:], shape[1]])
            model.graph.node.append(
                helper.make_node("Transpose", [node.output[0]], [output], perm=CHANNELS_FIRST)
            )
            model = model.transform(SortGraph())
            return model.transform(InferDataTypes()), True
        return model, False


class TransposesPastFactors(Transformation):
    """Multiply channels-last tensors: move the transpose in front of a constant behind it."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite one multiplication or addition of a constant, in place."""
        for node in model.graph.node:
            if node.op_type not in ("Mul", "Add") or joins(model, node):
                continue
            producer, values = (
                model.find_producer(node.input[0]),
                model.get_initializer(node.input[1]),
            )
            if values is None or _transposes(producer) != CHANNELS_FIRST:
                continue
            if model.is_fork_node(producer):
                continue
            datatype = model.get_tensor_datatype(node.input[1])
            if values.size > 1:
                model.set_initializer(node.input[1], values.reshape(-1))
                model.set_tensor_datatype(node.input[1], datatype)
            shape, output = model.get_tensor_shape(producer.input[0]), node.output[0]
            node.input[0], node.output[0] = producer.input[0], producer.output[0]
            producer.input[0], producer.output[0] = node.output[0], output
            model.set_tensor_shape(node.output[0], shape)
            model = model.transform(SortGraph())
            return model.transform(InferDataTypes()), True
        return model, False


def _transposes(node: NodeProto | None) -> list[int] | None:
    if node is None or node.op_type != "Transpose":
        return None
    return list(next(item for item in node.attribute if item.name == "perm").ints)


def _until_settled(model: ModelWrapper, rewrites: list[type[Transformation]]) -> ModelWrapper:
    """Apply rewrites in turn until none changes the graph."""
    before = b""
    while (now := model.model.SerializeToString(deterministic=True)) != before:
        before = now
        for rewrite in rewrites:
            model = model.transform(rewrite())
    return model


def scales_past_joins(model: ModelWrapper) -> ModelWrapper:
    """Return the graph with the scales of all branches behind their joins."""
    if not any(joins(model, node) for node in model.graph.node):
        return model
    rewrites = [MoveMulPastFork, MoveMulPastMaxPool, CollapseRepeatedMul, FactorsPastJoins]
    model = _until_settled(model, rewrites)
    return model.transform(GiveUniqueNodeNames())


def channels_last_joins(model: ModelWrapper) -> ModelWrapper:
    """Return the graph, its convolutions lowered, with joins of channels-last tensors."""
    if not any(joins(model, node) for node in model.graph.node):
        return model
    rewrites = [
        MoveTransposePastFork,
        AbsorbTransposeIntoMultiThreshold,
        MakeMaxPoolNHWC,
        TransposesPastJoins,
        TransposesPastFactors,
        AbsorbConsecutiveTransposes,
    ]
    model = _until_settled(model, rewrites)
    for rewrite in (InferShapes(), InferDataTypes(), InferDataLayouts(), GiveUniqueNodeNames()):
        model = model.transform(rewrite)
    return model


def step_scales_past_joins(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """After `step_tidy_up`: join integers, their scale behind them."""
    return scales_past_joins(model)
