"""Malformed ONNX files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.campaign.checkpoints import bytes_of, folder_instead

Change = Callable[[onnx.ModelProto], object]


def edited(change: Change) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        model = onnx.load(path)
        del model.metadata_props[-1]  # the digest, which would be all that is looked at
        change(model)
        path.write_bytes(model.SerializeToString())

    return damage


def input_shape(*shape: int | str, kind: int = TensorProto.FLOAT) -> Callable[[Path], None]:
    def change(model: onnx.ModelProto) -> None:
        name = model.graph.input[0].name
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info(name, kind, list(shape)))

    return edited(change)


def first_weight(value: float) -> Callable[[Path], None]:
    """Put a value into the first tensor of more than ten elements."""

    def change(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor).copy()
            if values.size > 10:
                values.flat[3] = value
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
                return

    return edited(change)


def first_node(op_type: str, change: Callable[[onnx.NodeProto], object]) -> Callable[[Path], None]:
    return edited(lambda model: change(next(n for n in model.graph.node if n.op_type == op_type)))


def bits(value: float | np.ndarray) -> Callable[[Path], None]:
    """Give the first quantizer other bits."""

    def change(model: onnx.ModelProto) -> None:
        name = next(n for n in model.graph.node if "Quant" in n.op_type).input[3]
        tensor = next(t for t in model.graph.initializer if t.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(value, np.float32), name))

    return edited(change)


def external(location: str) -> Callable[[Path], None]:
    """Have a weight lie in another file."""

    def change(model: onnx.ModelProto) -> None:
        tensor = max(model.graph.initializer, key=lambda t: t.ByteSize())
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return edited(change)


def metadata(key: str, value: str) -> Callable[[Path], None]:
    def change(model: onnx.ModelProto) -> None:
        for entry in model.metadata_props:
            if entry.key == key:
                entry.value = value
                return
        model.metadata_props.add(key=key, value=value)

    return edited(change)


def short_raw_data(model: onnx.ModelProto) -> None:
    tensor = max(model.graph.initializer, key=lambda t: t.ByteSize())
    tensor.raw_data = tensor.raw_data[:-5]


MALFORMED: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: path.unlink(),
    "a folder": folder_instead,
    "empty": bytes_of(lambda data: b""),
    "text": bytes_of(lambda data: b"# no model\n"),
    "cut in half": bytes_of(lambda data: data[: len(data) // 2]),
    "cut by a byte": bytes_of(lambda data: data[:-1]),
    "no graph": edited(lambda model: model.ClearField("graph")),
    "no nodes": edited(lambda model: model.graph.ClearField("node")),
    "no weights": edited(lambda model: model.graph.ClearField("initializer")),
    "no input": edited(lambda model: model.graph.ClearField("input")),
    "two inputs": edited(
        lambda model: model.graph.input.append(
            helper.make_tensor_value_info("more", TensorProto.FLOAT, [1])
        )
    ),
    "a later operator set": edited(
        lambda model: setattr(model.opset_import[0], "version", onnx.defs.onnx_opset_version() + 1)
    ),
    "texts for frames": input_shape(1, 2, 1024, kind=TensorProto.STRING),
    "integers for frames": input_shape(1, 2, 1024, kind=TensorProto.INT8),
    "no operator set": edited(lambda model: model.ClearField("opset_import")),
    "a dynamic batch": input_shape("N", 2, 1024),
    "two frames": input_shape(2, 2, 1024),
    "no samples": input_shape(1, 2, 0),
    "no rank": input_shape(),
    "NaN weight": first_weight(float("nan")),
    "infinite weight": first_weight(float("-inf")),
    "a missing tensor": first_node("Conv", lambda node: node.input.__setitem__(1, "nowhere")),
    "a node less": edited(lambda model: model.graph.node.pop(2)),
    "an unknown operator": first_node("Conv", lambda node: setattr(node, "op_type", "Convolve")),
    "a circle": first_node("Conv", lambda node: node.input.__setitem__(0, node.output[0])),
    "no operands": first_node("Conv", lambda node: node.ClearField("input")),
    "a tensor written twice": edited(
        lambda model: model.graph.node[3].output.__setitem__(0, model.graph.node[2].output[0])
    ),
    "short raw data": edited(short_raw_data),
    "bits NaN": bits(float("nan")),
    "bits zero": bits(0),
    "bits negative": bits(-4),
    "bits of 99": bits(99),
    "bits several": bits(np.array([4.0, 5.0])),
    "weights elsewhere": external("weights.bin"),
    "weights outside": external("../../../etc/hostname"),
    "config of text": metadata("aaronnet.config", "no JSON"),
    "config a list": metadata("aaronnet.config", "[1]"),
    "another digest": metadata("aaronnet.digest", "0" * 64),
}
