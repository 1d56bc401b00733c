"""The accelerator's output: integer logits, or the index of the largest."""

import json

import numpy as np
from finn.builder.build_dataflow_config import DataflowBuildConfig
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation
from qonnx.transformation.insert_topk import InsertTopK

from models.errors import BadInput

OUTPUT_PROPERTY = "aaronnet.output"


class IntegerLogits(Transformation):
    """Drop the positive factor behind the last layer: integers order the classes just as well.

    The factor is left in the model's property `aaronnet.output`: logits = scale * integers.
    """

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite in place.

        Raises:
            BadInput: what is behind the last layer is not one positive factor.
        """
        scale = 1.0
        while (node := model.find_producer(model.graph.output[0].name)).op_type == "Mul":
            factor = model.get_initializer(node.input[1])
            if factor is None or factor.size != 1 or factor.item() <= 0:
                raise BadInput(
                    f"the logits are scaled by {node.name}, which is not one positive number: "
                    "quantize the last layer's weights and bias per tensor"
                )
            scale *= float(factor.item())
            model.find_producer(node.input[0]).output[0] = node.output[0]
            model.graph.node.remove(node)
        model.set_metadata_prop(OUTPUT_PROPERTY, json.dumps({"scale": scale}))
        return model, False


def step_integer_logits(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """After `step_tidy_up`: end the graph with the last layer's integers."""
    return model.transform(IntegerLogits())


def step_class_index(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """After `step_integer_logits`: output the index of the largest logit (int64)."""
    shape = model.get_tensor_shape(model.graph.output[0].name)
    if np.prod(shape) == 1:
        raise BadInput("the network has one output only; there is no class to choose")
    return model.transform(InsertTopK(k=1))
