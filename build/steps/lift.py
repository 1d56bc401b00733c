"""1-D networks as the 2-D ones that FINN's layers are."""

from unittest import mock

from finn.builder.build_dataflow_config import DataflowBuildConfig
from onnx import helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation import change_3d_tensors_to_4d
from qonnx.transformation.base import Transformation


class LiftDilations(Transformation):
    """Give a lifted pooling as many dilations as its kernel has axes.

    `Change3DTo4DTensors` forgets them, and onnxruntime then refuses the node.
    """

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite in place."""
        for node in model.get_nodes_by_op_type("MaxPool"):
            attributes = {item.name: item for item in node.attribute}
            kernel = list(attributes["kernel_shape"].ints)
            dilations = attributes.get("dilations")
            if dilations is not None and len(dilations.ints) < len(kernel):
                padded = [*dilations.ints, *[1] * (len(kernel) - len(dilations.ints))]
                dilations.CopyFrom(helper.make_attribute("dilations", padded))
        return model, False


def step_lift_1d(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """Turn (1, C, L) tensors into (1, C, L, 1)."""
    # It leaves a graph with operators that it does not list as it is; concatenations of channels
    # are not listed and need no change.
    known = change_3d_tensors_to_4d._find_invalid_nodes

    def unknown(graph: ModelWrapper) -> list[str]:
        return [name for name in known(graph) if name != "Concat"]

    with mock.patch.object(change_3d_tensors_to_4d, known.__name__, unknown):
        model = model.transform(change_3d_tensors_to_4d.Change3DTo4DTensors())
    return model.transform(LiftDilations())
