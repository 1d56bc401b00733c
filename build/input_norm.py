"""What a network does to its frames in front of the quantizer of its input: the host's work.

A batch norm there, or any scaling and adding by channel, is a monotone function of a sample, and
so are the integers behind it: a staircase of the sample, whose steps are float32 numbers. They are
found by bisection over all of float32, the function evaluated in float64 as the graph has it, and
go into the model's property `aaronnet.norm`, from there into the package. The host counts the steps
that a sample reaches; the graph begins with the quantizer.
"""

import json
from collections.abc import Callable

import numpy as np
from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.general import RemoveUnusedTensors

from build.checks import integers_of
from build.execute import run_node
from build.integers.line import Constants, told

NORM_PROPERTY = "aaronnet.norm"
AFFINE = ("BatchNormalization", "Mul", "Add", "Sub", "Div")

Array = np.ndarray


def without_norm(model: ModelWrapper) -> ModelWrapper:
    """Return a graph (its copy) that begins with the quantizer of its input, and the property.

    A graph with nothing in front of that, or with something else, is returned as it is.

    Raises:
        BadInput: what is in front is no function of a sample that rises or falls.
    """
    front, quantizer = _front(model)
    if not front or quantizer is None:
        return model
    constants = Constants(model)
    for node in front:
        _check(node, constants)
    step, zero = (model.get_initializer(name) for name in quantizer.input[1:3])
    if step is None or step.size != 1 or zero is None or np.any(zero != 0):
        raise told(quantizer, "the quantizer of the input must have one step and no zero point")
    if getCustomOp(quantizer).get_nodeattr("rounding_mode").upper() != "ROUND":
        raise told(quantizer, "the input is rounded to the nearest")
    low, high = integers_of(model, quantizer)
    shape = model.get_tensor_shape(model.graph.input[0].name)
    channels = int(np.prod(shape[1:-1]))
    wide = float(step.item())

    def integers(samples: Array) -> Array:
        """Return the integers (M, C) of samples (M, C)."""
        value = samples.reshape(len(samples), *shape[1:-1], 1).astype(np.float64)
        for node in front:
            known = [constants.get(name) for name in node.input]
            value = run_node(node, [value if given is None else given for given in known])
        if value.shape[-1] != 1:
            raise told(front[0], "what it is scaled by or adds must be the same at all positions")
        return np.clip(np.rint(value / wide), low, high).reshape(len(samples), channels)

    signs, thresholds = staircase(integers, channels, low, high, front[0])
    made = ModelWrapper(model.model, make_deepcopy=True)
    begin = made.graph.input[0].name
    names = {node.output[0] for node in front}
    for node in [node for node in made.graph.node if node.output[0] in names]:
        made.graph.node.remove(node)
    for node in made.graph.node:
        node.input[:] = [begin if name == front[-1].output[0] else name for name in node.input]
    facts = {"step": wide, "minimum": low, "signs": signs.tolist()}
    facts["thresholds"] = thresholds.tolist()
    made = made.transform(RemoveUnusedTensors())
    made.set_metadata_prop(NORM_PROPERTY, json.dumps(facts))
    return made


def normed(model: ModelWrapper, frames: Array) -> Array:
    """Return frames (N, C, L) as the model's first node takes them: as they are, without a norm."""
    text = model.get_metadata_prop(NORM_PROPERTY)
    if not text:
        return frames
    facts = json.loads(text)
    signs, thresholds = np.array(facts["signs"]), np.array(facts["thresholds"], np.float64)
    counted = [
        np.searchsorted(steps, sign * frames[:, channel], side="right")
        for channel, (sign, steps) in enumerate(zip(signs, thresholds, strict=True))
    ]
    return (np.stack(counted, 1) + facts["minimum"]) * facts["step"]


def norm_of(model: ModelWrapper) -> dict:
    """Return `signs` and `thresholds` of a package's quantizer; {} without a norm."""
    facts = json.loads(model.get_metadata_prop(NORM_PROPERTY) or "{}")
    return {key: facts[key] for key in ("signs", "thresholds") if key in facts}


def hand_on(given: ModelWrapper, made: ModelWrapper) -> ModelWrapper:
    """Let a graph that was made from another have its norm, in place."""
    if text := given.get_metadata_prop(NORM_PROPERTY):
        made.set_metadata_prop(NORM_PROPERTY, text)
    return made


def range_of_samples(model: ModelWrapper) -> tuple[float, float] | None:
    """Return the least and the largest sample at which a norm's integers change; None without."""
    facts = norm_of(model)
    if not facts:
        return None
    ends = np.array(facts["thresholds"])[:, [0, -1]] * np.array(facts["signs"])[:, None]
    return float(ends.min()), float(ends.max())


def staircase(
    integers: Callable[[Array], Array], channels: int, low: int, high: int, node: NodeProto
) -> tuple[Array, Array]:
    """Return ±1 (C,) and ascending float32 thresholds (C, high - low).

    integer = low + the number of thresholds <= sign * sample, for every float32.

    Args:
        integers: of samples (M, C), monotone in each.
        channels: C.
        low, high: the range of the integers.
        node: what to name in a message.

    Raises:
        BadInput: a channel never gives all of the integers, or the samples must be infinite.
    """
    largest = np.finfo(np.float32).max
    ends = integers(np.outer([-largest, largest], np.ones(channels)))
    signs = np.where(ends[1] >= ends[0], 1, -1)
    if wrong := np.flatnonzero((ends.min(0) > low) | (ends.max(0) < high)).tolist():
        raise told(node, f"channel {wrong[0]} of the frames hardly changes behind it; remove it")
    levels = np.arange(low + 1, high + 1)[:, None]  # (T, 1)
    few = np.full((high - low, channels), _ordered(np.float32(-largest)))
    enough = np.full_like(few, _ordered(np.float32(largest)))
    while np.any(enough - few > 1):
        middle = (few + enough) // 2
        reached = integers(signs * _float(middle)) >= levels
        enough, few = np.where(reached, middle, enough), np.where(reached, few, middle)
    return signs, _float(enough).T


def _ordered(number: np.float32) -> int:
    """Return an integer for a float32, in the floats' order."""
    bits = int(number.view(np.int32))
    return bits if bits >= 0 else -(bits & 0x7FFFFFFF)


def _float(ordered: Array) -> Array:
    magnitude = np.abs(ordered).astype(np.int32).view(np.float32)
    return np.where(ordered < 0, -magnitude, magnitude).astype(np.float32)


def _front(model: ModelWrapper) -> tuple[list[NodeProto], NodeProto | None]:
    """Return the scaling nodes between the input and its quantizer, and that."""
    front: list[NodeProto] = []
    tensor = model.graph.input[0].name
    while True:
        consumers = model.find_consumers(tensor) or []
        if len(consumers) != 1:
            return front, None
        node = consumers[0]
        if node.op_type in ("Quant", "IntQuant"):
            return front, node
        if node.op_type not in AFFINE:
            return front, None
        front.append(node)
        tensor = node.output[0]


def _check(node: NodeProto, constants: Constants) -> None:
    if node.op_type == "Div" and node.input[1] not in constants:
        raise told(node, "its divisor must be a constant")
