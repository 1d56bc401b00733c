"""From a checkpoint to a static QONNX file with names that mean something.

The torch exporter leaves source paths and counters of its own in the graph; what we write depends
on the checkpoint alone, so exporting twice gives the same bytes.
"""

import hashlib
import json
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from brevitas.export import export_qonnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from pydantic import TypeAdapter
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.base import Transformation
from qonnx.transformation.general import (
    GiveReadableTensorNames,
    GiveUniqueParameterTensors,
    RemoveStaticGraphInputs,
    RemoveUnusedTensors,
)
from qonnx.transformation.infer_shapes import InferShapes

from models.checkpoint import Checkpoint
from models.config import FRAME_CHANNELS, FRAME_LENGTH
from models.errors import BadInput
from models.files import atomic, existing_file
from models.foreign import Config, ForeignConfig, read_config, without_place
from models.schema import Label
from models.seal import break_seal, check_values, seal
from models.vintage import MODERNISE

OPSET = 18  # what the flow and the cost are tested with
INPUT_SHAPE = (1, FRAME_CHANNELS, FRAME_LENGTH)
METADATA = "aaronnet."  # prefix of our entries in the model's properties
MOST_BITS = 64
_NAMES = TypeAdapter(tuple[Label, ...])


class NameNodesByModule(Transformation):
    """Name each node after the torch module it came from, e.g. `expand.branch1.0.Conv`."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rename in place; a name that occurs twice gets a counter."""
        seen: Counter[str] = Counter()
        for node in model.graph.node:
            name = f"{_module(node.name)}.{node.op_type}"
            seen[name] += 1
            node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"
        return model, False


def _module(scope: str) -> str:
    """Return `expand.branch1.0` for the exporter's `/expand/branch1/branch1.0/Conv`."""
    parts = scope.split("/")[1:-1]
    # A member of a Sequential repeats the Sequential's name before its own.
    parents = ["", *parts][: len(parts)]
    names = [part.removeprefix(f"{up}.") for up, part in zip(parents, parts, strict=True)]
    module = ".".join(names)
    for wrapping in (".export_handler", ".activation_impl"):
        module = module.removesuffix(wrapping)
    return module or "network"


class StripMetadata(Transformation):
    """Drop the exporter's notes (stack traces with the paths of this machine among them)."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Clear the metadata and doc strings of all nodes and tensors."""
        graph = model.graph
        for item in (
            graph,
            *graph.node,
            *graph.input,
            *graph.output,
            *graph.value_info,
            *graph.initializer,
        ):
            item.ClearField("metadata_props")
            item.ClearField("doc_string")
        return model, False


class CentreWeights(Transformation):
    """Move each weight to the middle of the step that its quantizer, in float32, puts it in.

    A weight between two steps, but for float32's rounding, is one integer there and the next one
    where somebody divides in float64. In the middle everybody finds the same.
    """

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite the constants that quantizers take, in place."""
        constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type in ("Quant", "IntQuant") and set(node.input) <= constants.keys():
                quantizer = getCustomOp(node)
                if quantizer.get_nodeattr("rounding_mode") != "ROUND":
                    continue  # its steps do not end halfway
                values = {name: constants[name] for name in node.input}
                quantizer.execute_node(values, model.graph)
                model.set_initializer(node.input[0], values[node.output[0]].astype(np.float32))
        return model, False


def export(checkpoint: Checkpoint, path: str | Path) -> str:
    """Write `checkpoint` as a static QONNX file with input (1, 2, L) and output (1, classes).

    A class of the user's has the input that it takes, and the output that it gives.

    The model's properties carry `aaronnet.config`, `aaronnet.checkpoint_sha256` and
    `aaronnet.data_label`, and `aaronnet.class_names` where they are not RadioML 2018.01A's;
    `read_metadata` gives them back.

    Returns:
        The file's SHA-256.

    Raises:
        BadInput: `path` cannot be written.
    """
    return save_onnx(to_qonnx(checkpoint), path)


def save_onnx(model: ModelWrapper, path: str | Path) -> str:
    """Write a graph with its digest, which `load_onnx` compares; return the file's SHA-256.

    Raises:
        BadInput: `path` cannot be written.
    """
    content = seal(model.model).SerializeToString(deterministic=True)
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def to_qonnx(checkpoint: Checkpoint) -> ModelWrapper:
    """Return `checkpoint` as a QONNX graph; see `export` for shapes and properties."""
    frame = torch.zeros(_input_shape(checkpoint.config))
    with torch.no_grad():
        # The tracing exporter: the same graph as the dynamo one's in an eighth of its time.
        proto = export_qonnx(checkpoint.network, frame, opset_version=OPSET, dynamo=False)
    model = ModelWrapper(proto)
    for step in (
        NameNodesByModule(),
        StripMetadata(),
        RemoveStaticGraphInputs(),
        GiveUniqueParameterTensors(),
        RemoveUnusedTensors(),
        CentreWeights(),
        InferShapes(),
        GiveReadableTensorNames(),
    ):
        model = model.transform(step)
    model.graph.name = checkpoint.config.name
    entries = {
        "config": json.dumps(without_place(checkpoint.config).to_dict(), sort_keys=True),
        "checkpoint_sha256": checkpoint.info.get("sha256", ""),
        "data_label": checkpoint.data_label,
    }
    if names := checkpoint.info.get("class_names"):
        entries["class_names"] = json.dumps(names)
    onnx.helper.set_model_props(
        model.model, {METADATA + key: value for key, value in entries.items()}
    )
    return model


def _input_shape(config: Config) -> tuple[int, ...]:
    if isinstance(config, ForeignConfig):
        return 1, *config.spelling
    return 1, FRAME_CHANNELS, config.length


def read_metadata(model: ModelWrapper) -> dict[str, Any]:
    """Return our own properties of a QONNX model without their prefix; {} for a foreign model.

    Raises:
        BadInput: its configuration is none.
    """
    entries = {
        prop.key.removeprefix(METADATA): prop.value
        for prop in model.model.metadata_props
        if prop.key.startswith(METADATA)
    }
    if "config" in entries:
        try:
            entries["config"] = json.loads(entries["config"])
        except ValueError as error:
            raise BadInput(f"the model's {METADATA}config is no JSON: {error}") from error
        read_config(entries["config"], f"the model's {METADATA}config")
    if "class_names" in entries:
        try:
            entries["class_names"] = _NAMES.validate_json(entries["class_names"])
        except ValueError as error:
            raise BadInput(f"the model's {METADATA}class_names are no names") from error
    return entries


def load_onnx(path: str | Path) -> ModelWrapper:
    """Read an ONNX/QONNX file with one static input of frames, ours or anybody's, old or new.

    Raises:
        BadInput: the file is missing, damaged or no valid graph, or its input has a dynamic shape
            or one that `frame_of` does not know.
    """
    path = existing_file(path, "model")
    model = _parse(path)
    try:
        for habit in MODERNISE:
            model = model.transform(habit())
        onnx.checker.check_model(model.model)
    except BadInput:
        raise
    except Exception as error:  # a loop or a name twice meet qonnx in many ways
        raise BadInput(f"model {path} is no valid ONNX graph: {first_line(error)}") from error
    inputs = model.graph.input
    if len(inputs) != 1:
        raise BadInput(f"model {path} has {len(inputs)} inputs; one is needed, of frames")
    if (kind := inputs[0].type.tensor_type.elem_type) != onnx.TensorProto.FLOAT:
        name = onnx.TensorProto.DataType.Name(kind).lower()
        raise BadInput(f"model {path} takes input of type {name}; export it for float32 frames")
    try:
        frame_of(model)
    except ValueError as error:
        raise BadInput(f"model {path} has {error}") from error
    for node in model.get_nodes_by_op_type("Quant") + model.get_nodes_by_op_type("IntQuant"):
        bits = model.get_initializer(node.input[3]) if len(node.input) > 3 else None
        if bits is not None and (bits.size != 1 or not 1 <= bits.item() <= MOST_BITS):
            raise BadInput(
                f"model {path}: {node.name or node.op_type} quantizes to {bits.ravel()[:3]} bits; "
                f"one number from 1 to {MOST_BITS} is expected"
            )
    return model.transform(CentreWeights())


def frame_of(model: ModelWrapper) -> tuple[int, int]:
    """Return channels C and samples L of the frames that a graph takes.

    Its input is (1, C, L), or the same spelled for 2-D convolutions: (1, 1, C, L), (1, C, 1, L).

    Raises:
        ValueError: it has another shape, or a dynamic one; the message continues "it has ...".
    """
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
        for dim in model.graph.input[0].type.tensor_type.shape.dim
    )
    sizes = [size for size in shape if isinstance(size, int) and size > 0]
    if len(sizes) == len(shape) and len(shape) in (3, 4) and sizes[0] == 1:
        channels = [size for size in sizes[1:-1] if size > 1]
        if len(channels) <= 1:
            return (channels or [1])[0], sizes[-1]
    kind = "a dynamic" if len(sizes) < len(shape) else "the"
    raise ValueError(
        f"{kind} input shape ({', '.join(map(str, shape))}); export it with a static shape "
        f"(1, channels, samples), such as {INPUT_SHAPE}"
    )


def _parse(path: Path) -> ModelWrapper:
    """Read a file as it is, weights that it keeps beside it included.

    Raises:
        BadInput: it is damaged, or its weights are not there.
    """
    try:
        proto = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise BadInput(f"model {path} is damaged or no ONNX file: {first_line(error)}") from error
    break_seal(proto, f"model {path}")
    if not proto.graph.node:
        raise BadInput(f"model {path} is damaged or no ONNX file: it has no operators")
    newest = onnx.defs.onnx_opset_version()
    for used in proto.opset_import:
        if used.domain in ("", "ai.onnx") and used.version > newest:
            raise BadInput(
                f"model {path} is of opset {used.version}, later than {newest}, the last that is "
                f"known here; export it with opset {OPSET}"
            )
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise BadInput(
            f"model {path} keeps weights in another file: {first_line(error)}"
        ) from error
    check_values(proto, f"model {path}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # qonnx mends some of the old domains itself, and says so
        return ModelWrapper(proto)


def first_line(error: Exception) -> str:
    """Return what an error of a library says first, or its name."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
