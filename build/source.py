"""What a build starts from, a network, and what it leaves after a step, a graph."""

import importlib
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import google.protobuf.message
import onnx
import torch
from qonnx.core.modelwrapper import ModelWrapper

from build.buildable import check_buildable
from build.canonical import canonical
from build.checks import check_quantized, integers_of
from build.environment import setup
from build.input_norm import hand_on, range_of_samples, without_norm
from build.integers.check import check_operators
from build.integers.line import straight
from build.integers.lower import lowered
from build.integers.spelling import folded, prepared
from build.layout import GENERATED
from build.stimuli import Task
from models import checkpoint as checkpoints
from models.checkpoint import Checkpoint
from models.errors import BadInput
from models.export import frame_of, load_onnx, read_metadata, to_qonnx
from models.files import existing_file
from models.foreign import ForeignConfig
from models.user_code import Trust


@dataclass(frozen=True)
class Source:
    """What is built: the exported model, and the checkpoint that it came from, if there is one.

    A foreign network, be it a file or the checkpoint of a class of the user's, is also there as it
    was given: `original`; `shared` names the tensors that it and `model` have in common, and the
    step of the integers that they are in `model`. `class_names`: of its outputs, if anybody said.
    """

    model: ModelWrapper
    checkpoint: Checkpoint | None
    name: str
    original: ModelWrapper | None = None
    shared: dict[str, float] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()

    @property
    def network(self) -> torch.nn.Module | None:
        """The Brevitas network; None for an ONNX file, and for what was rewritten in integers."""
        if self.checkpoint is None or self.original is not None:
            return None
        return self.checkpoint.network

    @property
    def task(self) -> Task:
        """What it classifies."""
        task, names = task_of(self.model), self.class_names
        return replace(task, names=names) if len(names) == task.classes else task


def task_of(model: ModelWrapper) -> Task:
    """Return what a network's graph, as exported, classifies.

    Its range of values is that of the quantizer of its input, in the samples' units.
    """
    channels, length = frame_of(model)
    classes = math.prod(model.get_tensor_shape(model.graph.output[0].name))
    quantizer = model.find_consumer(model.graph.input[0].name)
    low, high = integers_of(model, quantizer)
    step = float(model.get_initializer(quantizer.input[1]).item())
    return Task(channels, length, classes, *(range_of_samples(model) or (step * low, step * high)))


def open_source(
    given: str | Path | Checkpoint | Source, integers: bool = False, trust: Trust = Trust()
) -> Source:
    """Return the model of a checkpoint, a checkpoint file (.pth) or a QONNX file (.onnx).

    Args:
        given: one of them, or what was opened before.
        integers: write a foreign network in integers, where it is a straight line
            (`build.integers`).
        trust: which code may run, where a checkpoint needs some.

    Raises:
        BadInput: it is unusable, or has activations that are not quantized.
    """
    if isinstance(given, Source):
        return given
    if not isinstance(given, Checkpoint) and Path(given).suffix == ".onnx":
        model = load_onnx(given)
        metadata = read_metadata(model)
        ours = bool(metadata) and metadata.get("config", {}).get("family") != ForeignConfig.family
        made = _foreign(model, Path(given).stem, str(given), integers and not ours, ours)
        return replace(made, class_names=metadata.get("class_names", ()))
    opened = given if isinstance(given, Checkpoint) else checkpoints.load(given, trust=trust)
    names = tuple(opened.info.get("class_names", ()))
    if isinstance(opened.config, ForeignConfig):
        file = opened.config.name if isinstance(given, Checkpoint) else str(given)
        made = _foreign(to_qonnx(opened), opened.config.name, file, integers)
        return replace(made, checkpoint=opened, class_names=names)
    if not opened.config.hardware_form:
        what = opened.config.name if isinstance(given, Checkpoint) else given
        raise BadInput(
            f"{what} has float activations between its blocks, which dataflow hardware cannot "
            "compute; make its hardware form first: aaronnet quantize CHECKPOINT --bits 8"
        )
    model = to_qonnx(opened)
    if opened.config.family == "bacalhaunet":  # the others are in the flow's spelling as they are
        model = canonical(model)
    return Source(model, opened, opened.config.name, class_names=names)


def _foreign(
    model: ModelWrapper, name: str, what: str, integers: bool, ours: bool = False
) -> Source:
    """Return the source of a graph.

    Args:
        model: as it was read or exported.
        name: of the network.
        what: to call it in messages.
        integers: as `open_source`.
        ours: it was exported from a network of ours, and is buildable as soon as it is quantized.
    """
    original = model if ours else folded(model)
    try:
        bare = original if ours else without_norm(original)
        if integers and straight(bare):
            check_operators(bare)
            known, shared = lowered(prepared(bare))
            return Source(hand_on(bare, known), None, name, original=original, shared=shared)
    except BadInput as error:
        raise BadInput(f"{what}: {error}") from error
    known = canonical(model) if bare is original else hand_on(bare, canonical(bare))
    if not ours:
        check_buildable(known, what)
    check_quantized(known, what)
    return Source(known, None, name, original=model)


def load_graph(path: str | Path) -> ModelWrapper:
    """Read a step's graph from a build's folder and make its operators known.

    Raises:
        BadInput: there is none, or it is no ONNX file.
    """
    model = read_graph(path)
    setup(Path(path).parent.parent / GENERATED)
    importlib.import_module("build.rtl.specialize")
    return model


def read_graph(path: str | Path) -> ModelWrapper:
    """Read a graph that a build wrote.

    Raises:
        BadInput: there is none, or it is no ONNX file.
    """
    try:
        graph = onnx.load(existing_file(path, "graph"))
    except (google.protobuf.message.Error, OSError, ValueError) as error:
        raise BadInput(f"graph {path} is damaged; build it again") from error
    if not graph.graph.node:
        raise BadInput(f"graph {path} is empty; build it again")
    return ModelWrapper(graph)
