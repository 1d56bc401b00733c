"""Concatenations of branches whose numbers share no step, quantized together behind it."""

from onnx import NodeProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation
from qonnx.transformation.general import SortGraph

from build.checks import QUANTIZERS, joins
from build.grid import common_factors, grid_of
from build.one_grid import SMALL


class QuantizersBeforeConcat(Transformation):
    """Quantize branches before they are concatenated: it is the same, value by value."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Move the first quantizer or ReLU behind such a concatenation in front of it, in place."""
        for node in model.graph.node:
            if node.op_type != "Concat" or not joins(model, node) or _one_grid(model, node):
                continue
            consumers = model.find_consumers(node.output[0]) or []
            if len(consumers) != 1 or not _one_for_all(model, consumers[0]):
                continue
            behind = consumers[0]
            shapes = [model.get_tensor_shape(name) for name in node.input]
            for index, (name, shape) in enumerate(zip(node.input, shapes, strict=True)):
                output = model.make_new_valueinfo_name()
                copy = helper.make_node(
                    behind.op_type,
                    [name, *behind.input[1:]],
                    [output],
                    name=f"{behind.name or behind.output[0]}.{index}",
                    domain=behind.domain,
                )
                copy.attribute.extend(behind.attribute)
                model.graph.node.append(copy)
                model.set_tensor_shape(output, shape)
                node.input[index] = output
            node.output[0] = behind.output[0]
            model.graph.node.remove(behind)
            return model.transform(SortGraph()), True
        return model, False


def _one_grid(model: ModelWrapper, node: NodeProto) -> bool:
    grids = [grid_of(model, name) for name in node.input]
    factors = common_factors([None if grid is None else grid.step for grid in grids])
    return factors is not None and max(factors) <= SMALL


def _one_for_all(model: ModelWrapper, node: NodeProto) -> bool:
    """Whether a node does the same to every number: a ReLU or a quantizer of one step."""
    if node.op_type == "Relu":
        return True
    constants = [model.get_initializer(name) for name in node.input[1:]]
    return node.op_type in QUANTIZERS and all(c is not None and c.size == 1 for c in constants)
