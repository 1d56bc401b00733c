"""A strided first convolution as an unstrided one over several samples at once.

With stride s over channels-last samples (L, C), s neighbours can be read as one position of s * C
channels: the memory is the same, the kernel shrinks to k / s positions, nothing is computed twice,
and padding and window generator handle up to s samples a clock instead of one. Without this the
padded frame of 1056 samples alone takes more than the 1024 clocks of the line rate.
"""

import numpy as np
from finn.builder.build_dataflow_config import DataflowBuildConfig
from onnx import NodeProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation


class FoldStride(Transformation):
    """Rewrite the first convolution where stride divides length, kernel and padding.

    Expects the graph to start with the transpose from channels last, possibly a scalar `Mul`, then
    the convolution, all with shapes (1, C, L, 1). The input's shape becomes (1, L / s, 1, s * C).
    """

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite in place, or leave a graph that does not fit as it is."""
        path = _path_to_convolution(model)
        if path is None:
            return model, False
        conv = path[-1]
        attributes = {item.name: item for item in conv.attribute}
        stride = attributes["strides"].ints[0]
        weight = model.get_initializer(conv.input[1])
        filters, channels, kernel, _ = weight.shape
        pads = list(attributes["pads"].ints)
        shape = model.get_tensor_shape(model.graph.input[0].name)
        group = attributes["group"].i if "group" in attributes else 1
        parts = (shape[1], kernel, pads[0], pads[2])
        dilated = "dilations" in attributes and attributes["dilations"].ints[0] != 1
        if stride == 1 or group != 1 or dilated or any(part % stride for part in parts):
            return model, False
        # weight[f, c, s * p + j] -> weight[f, j * C + c, p]
        folded = weight.reshape(filters, channels, kernel // stride, stride)
        folded = folded.transpose(0, 3, 1, 2).reshape(filters, stride * channels, -1, 1)
        datatype = model.get_tensor_datatype(conv.input[1])
        model.set_initializer(conv.input[1], np.ascontiguousarray(folded))
        model.set_tensor_datatype(conv.input[1], datatype)
        changes = {
            "kernel_shape": [kernel // stride, 1],
            "strides": [1, 1],
            "pads": [pads[0] // stride, 0, pads[2] // stride, 0],
        }
        for name, value in changes.items():
            attributes[name].CopyFrom(helper.make_attribute(name, value))
        positions = shape[1] // stride
        model.set_tensor_shape(path[0].input[0], [1, positions, 1, stride * channels])
        for node in path[:-1]:
            model.set_tensor_shape(node.output[0], [1, stride * channels, positions, 1])
        return model, False


def _path_to_convolution(model: ModelWrapper) -> list[NodeProto] | None:
    """Return the nodes from the input's transpose to the first convolution."""
    path = [model.find_consumer(model.graph.input[0].name)]
    if path[0].op_type != "Transpose" or len(model.get_tensor_shape(path[0].input[0])) != 4:
        return None
    while path[-1].op_type != "Conv":
        following = model.find_consumers(path[-1].output[0])
        if following is None or len(following) != 1:
            return None
        node = following[0]
        scalar = node.op_type == "Mul" and model.get_initializer(node.input[1]).size == 1
        if not scalar and node.op_type != "Conv":
            return None
        path.append(node)
    return path


def step_fold_stride(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """After `step_channels_last_input`: take `stride` samples at once."""
    return model.transform(FoldStride())
