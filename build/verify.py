"""Does the graph of a step still compute what the network computes?

The reference is the network in float64 with its float32 constants: computed in float32, about one
frame in three hundred has an activation within rounding of a threshold, which then falls on its
other side. Against float64 the integer graphs agree to the last bit.

Beside the class and the logits, the output of every quantizer is compared, a step's graph with the
exported QONNX model: small faults do not always reach the logits, and the first quantizer that
differs says where to look.
"""

import copy
import json
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from brevitas.core.scaling import ParameterFromRuntimeStatsScaling
from brevitas.nn.quant_layer import QuantNonLinearActLayer, QuantWeightBiasInputOutputLayer
from finn.custom_op.fpgadataflow.thresholding import Thresholding
from onnx import NodeProto, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from build.build_report import Verified
from build.execute import output_of, trace
from build.input_norm import normed
from build.staging import free_name
from build.steps.class_output import OUTPUT_PROPERTY
from build.steps.integer_input import INPUT_PROPERTY
from build.structure import in_order
from models.errors import CheckFailed
from models.files import atomic
from models.quantizers import scaling_of

TOLERANCE = 1e-6
"""Largest deviation of a logit, in parts of the largest: steps of the flow round products of the
exported constants to float32. One wrong level of one activation shows from about 1e-4."""

BATCH = 128  # frames at a time, for memory

REWRITING = (
    "step_qonnx_to_finn_exactly",
    "step_scales_past_joins",
    "step_streamline_exactly",
    "step_integer_input",
    "step_fold_stride",
)
"""Steps after which a tensor of the same name may have another scale or order."""


@dataclass(frozen=True)
class Deviation:
    """Where a graph departs from the reference.

    Attributes:
        node: name of the first node whose output differs.
        operator: its operator.
        largest: largest absolute difference of its output.
        frames: how many frames differ.
        expected: what it should compute, (N, ...).
        computed: what it computes, same shape.
    """

    node: str
    operator: str
    largest: float
    frames: int
    expected: np.ndarray = field(repr=False)
    computed: np.ndarray = field(repr=False)


def network_logits(network: torch.nn.Module, frames: np.ndarray) -> np.ndarray:
    """Return the network's logits in float64, (N, classes), for float frames (N, C, L)."""
    network = in_float64(network)
    with torch.no_grad():
        batches = torch.from_numpy(np.asarray(frames, np.float64)).split(BATCH)
        return torch.cat([network(batch) for batch in batches]).numpy()


@torch.no_grad()
def in_float64(network: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of a Brevitas network that computes in float64 with the same quantizers.

    Brevitas derives each step from a range, in the type of the computation. The steps of the copy
    are those of the float32 network, which are the ones that are exported.
    """
    original = copy.deepcopy(network).float().eval()
    wide = copy.deepcopy(original).double()
    twin: Any  # torch gives a module's attributes no types
    for layer, twin in zip(original.modules(), wide.modules(), strict=True):
        if isinstance(layer, QuantWeightBiasInputOutputLayer):
            weight = layer.quant_weight()
            # The largest integer times the step: divided by it, this gives the step to the bit.
            twin.weight.copy_(weight.int().double() * weight.scale.double())
        elif isinstance(layer, QuantNonLinearActLayer):
            scaling = scaling_of(twin)
            if isinstance(scaling, ParameterFromRuntimeStatsScaling):
                step = layer.act_quant.scale().double()
                scaling.value.copy_(step * (scaling.value / step).round())
    return wide


def classes_of(logits: np.ndarray) -> np.ndarray:
    """Return the class (N,) of each frame: the largest logit, the first among equals.

    Logits are integers times a step: equal ones may differ in the last bit of their floats.
    """
    close = np.abs(logits).max() * TOLERANCE
    return (logits >= logits.max(axis=1, keepdims=True) - close).argmax(axis=1)


def is_best(logits: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return for each frame whether its class (N,) has the largest logit (N, classes) or an equal.

    Logits are floats: they count as equal up to rounding.
    """
    chosen = np.take_along_axis(logits, classes[:, None], axis=1)[:, 0]
    return chosen >= logits.max(axis=1) - np.abs(logits).max() * TOLERANCE


def differing_integers(
    network: ModelWrapper, integers: ModelWrapper, shared: dict[str, float], frames: np.ndarray
) -> str:
    """Return where a network and the graph of integers made from it differ first; empty if nowhere.

    Args:
        network: as it was given.
        integers: `build.integers.lower.lowered`'s graph.
        shared: tensors of both -> what an integer stands for in the network.
        frames: (N, C, L).
    """
    wanted = {
        output_of(node): value
        for node, value in trace(network, graph_input(network, frames))
        if output_of(node) in shared
    }
    for node, value in trace(integers, graph_input(integers, frames)):
        name = output_of(node)
        if name in wanted:
            expected = np.rint(wanted[name] / shared[name]).reshape(value.shape)
            if (frames_off := (expected != value).reshape(len(value), -1).any(axis=1)).any():
                return f"{name} in {int(frames_off.sum())} of {len(frames)} frames"
    return ""


def graph_input(model: ModelWrapper, frames: np.ndarray) -> np.ndarray:
    """Return float frames (N, C, L) as a step's graph takes them.

    That is the quantizer's integers once `step_integer_input` has run, channels last once
    `step_channels_last_input` has. What the host does in front of them is done
    (`build.input_norm`).
    """
    frames = normed(model, np.asarray(frames, np.float64))
    if text := model.get_metadata_prop(INPUT_PROPERTY):
        facts = json.loads(text)
        frames = np.clip(np.rint(frames / facts["step"]), facts["minimum"], facts["maximum"])
        if facts["channels_last"]:
            frames = frames.transpose(0, 2, 1)
    shape = model.get_tensor_shape(model.graph.input[0].name)
    return frames.reshape(len(frames), *shape[1:])


@dataclass(frozen=True)
class Observation:
    """What a graph computes for some frames.

    Attributes:
        quantizers: name and operator of each quantizer behind the input, in the order of the
            structure.
        levels: int16 (N, C, positions) of each: counts of levels above the lowest.
        logits: float64 (N, classes).
        classes: int (N,), the graph's own where it ends in them, else of the logits.
    """

    quantizers: list[tuple[str, str]]
    levels: list[np.ndarray]
    logits: np.ndarray
    classes: np.ndarray


def observe(model: ModelWrapper, frames: np.ndarray) -> Observation:
    """Execute a step's graph on float frames (N, C, L)."""
    parts = [_observe(model, batch) for batch in np.array_split(frames, -(-len(frames) // BATCH))]
    return Observation(
        parts[0].quantizers,
        [np.concatenate(levels) for levels in zip(*(p.levels for p in parts), strict=True)],
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.classes for part in parts]),
    )


def _observe(model: ModelWrapper, frames: np.ndarray) -> Observation:
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    source, final = model.graph.input[0].name, model.graph.output[0].name
    facts = json.loads(model.get_metadata_prop(OUTPUT_PROPERTY) or "{}")
    wanted = logit_tensor(model)
    found: dict[str, np.ndarray] = {}
    values: dict[str, np.ndarray] = {}
    for node, value in trace(model, graph_input(model, frames)):
        if is_quantizer(node, constants.keys()) and node.input[0] != source:
            found[node.output[0]] = levels(node, value, constants).astype(np.int16)
        if output_of(node) in (wanted, final):
            values[output_of(node)] = value
    scores = values[wanted].reshape(len(frames), -1)
    logits = scores * facts.get("scale", 1.0)
    # Integers up to rounding tell even classes apart that are closer than floats' tolerance.
    classes = np.rint(scores).argmax(axis=1) if facts.get("integers") else classes_of(logits)
    if final != wanted:
        output = values[final].reshape(len(frames)).astype(int)
        # Before streamlining TopK sees floats, and equal ones differ in their last bits.
        equal = model.graph.node[-1].op_type == "TopK"
        best = np.take_along_axis(logits, output[:, None], axis=1)[:, 0]
        chosen = logits[np.arange(len(logits)), classes]
        rounding = TOLERANCE * np.abs(logits).max()
        classes = np.where(equal & (best >= chosen - rounding), classes, output)
    quantizers = [node for node in in_order(model) if node.output[0] in found]
    return Observation(
        [(node.name, node.op_type) for node in quantizers],
        [found[node.output[0]] for node in quantizers],
        logits,
        classes,
    )


def graph_logits(model: ModelWrapper, frames: np.ndarray) -> np.ndarray:
    """Return the logits (N, classes), float64, that a step's graph computes for float frames.

    A graph that ends in the class index has them one node earlier, as integers.
    """
    return observe(model, frames).logits


def graph_classes(model: ModelWrapper, frames: np.ndarray) -> np.ndarray:
    """Return the class indices (N,) that a step's graph computes for float frames."""
    return observe(model, frames).classes


def logit_tensor(model: ModelWrapper) -> str:
    """Return the name of the tensor that holds the logits."""
    for node in reversed(model.graph.node):
        if node.op_type == "TopK" or node.op_type.startswith("LabelSelect"):
            name = node.input[0]
            # A FIFO in front of the class selection only passes the logits on.
            while (producer := model.find_producer(name)).op_type.startswith("Streaming"):
                name = producer.input[0]
            return name
    return model.graph.output[0].name


def is_quantizer(node: NodeProto, constants: Container[str]) -> bool:
    """Whether a node quantizes activations, in whatever form of the graph."""
    quantizers = ("Quant", "IntQuant", "MultiThreshold")
    kind = node.op_type in quantizers or node.op_type.startswith("Thresholding")
    return kind and node.input[0] not in constants


def levels(node: NodeProto, value: np.ndarray, constants: dict[str, np.ndarray]) -> np.ndarray:
    """Return a quantizer's output (N, C, positions) as counts of levels above the lowest."""
    operator = getCustomOp(node)
    if isinstance(operator, Thresholding):
        value = np.moveaxis(value - operator.get_nodeattr("ActVal"), -1, 1)
    elif node.op_type == "MultiThreshold":
        value = (value - operator.get_nodeattr("out_bias")) / operator.get_nodeattr("out_scale")
        # Before the lift to 4-D all tensors are (N, C, L), whatever a 3-D layout attribute says.
        if value.ndim == 4 and operator.get_nodeattr("data_layout") == "NHWC":
            value = np.moveaxis(value, -1, 1)
    else:
        scale, bits = constants[node.input[1]].item(), int(constants[node.input[3]].item())
        lowest = -(2 ** (bits - 1)) + operator.get_nodeattr("narrow")
        value = np.rint(value / scale) - (lowest if operator.get_nodeattr("signed") else 0)
    return value.reshape(*value.shape[:2], -1)


class Verifier:
    """Compares every step's graph with the network, and keeps the results.

    Args:
        source: the exported QONNX model, as yet untouched.
        frames: float32 (N, C, L), best over all SNRs.
        network: the Brevitas network; without one (a foreign ONNX file) the QONNX model is the
            reference.
        folder: where the tensors of a deviation are saved.
    """

    def __init__(
        self,
        source: ModelWrapper,
        frames: np.ndarray,
        folder: Path,
        network: torch.nn.Module | None = None,
    ):
        self.frames, self.folder = frames, folder
        exported = observe(source, frames)
        self.levels = exported.levels
        self.logits = exported.logits if network is None else network_logits(network, frames)
        self.classes = exported.classes if network is None else classes_of(self.logits)
        self.results: list[Verified] = []
        self._previous: ModelWrapper | None = None
        self._record("export", exported)

    def check(self, step: str, model: ModelWrapper) -> Verified:
        """Compare the graph that `step` left behind; return and keep the result.

        Raises:
            CheckFailed: it differs; names the node, the largest deviation and the saved tensors.
        """
        seen = observe(model, self.frames)
        if deviation := self.locate(model, seen, step not in REWRITING):
            path = free_name(self.folder / f"{step}.npz")
            with atomic(path) as temporary:
                np.savez_compressed(
                    temporary,
                    node=deviation.node,
                    expected=deviation.expected,
                    computed=deviation.computed,
                    frames=self.frames,
                )
            raise CheckFailed(
                f"{step}: node {deviation.node} ({deviation.operator}) differs in "
                f"{deviation.frames} of {len(self.frames)} frames, by up to "
                f"{deviation.largest:g}; tensors saved in {path}"
            )
        result = self._record(step, seen)
        self._previous = copy.deepcopy(model)
        return result

    @property
    def _close(self) -> float:
        return TOLERANCE * np.abs(self.logits).max()

    def _record(self, step: str, seen: Observation) -> Verified:
        error = np.abs(seen.logits - self.logits).max(axis=1)
        wrong = (error > self._close) | (seen.classes != self.classes)
        result = Verified(
            step, len(self.frames), int(wrong.sum()), float(error.max()), len(seen.levels)
        )
        self.results.append(result)
        if wrong.any():
            raise CheckFailed(
                f"{step}: {int(wrong.sum())} of {len(self.frames)} frames differ from the "
                f"network, logits by up to {error.max():g}"
            )
        return result

    def locate(
        self, model: ModelWrapper, seen: Observation, same_names: bool = False
    ) -> Deviation | None:
        """Return where the graph departs from the reference first; None where it does not.

        With `same_names`, tensors mean what they meant under that name in the graph checked before,
        which locates the node between two quantizers.
        """
        good = ""
        for name, wanted, value in zip(seen.quantizers, self.levels, seen.levels, strict=False):
            if not np.array_equal(value, wanted):
                refined = self._refine(model, good) if same_names else None
                return refined or _deviation(*name, wanted, value)
            good = name[0]
        if len(seen.levels) != len(self.levels):
            raise CheckFailed(f"{len(seen.levels)} quantizers are left of {len(self.levels)}")
        if (np.abs(seen.logits - self.logits) > self._close).any():
            refined = self._refine(model, good) if same_names else None
            last = model.find_producer(logit_tensor(model))
            return refined or _deviation(last.name, last.op_type, self.logits, seen.logits)
        if not np.array_equal(seen.classes, self.classes):
            last = model.graph.node[-1]
            return _deviation(last.name, last.op_type, self.classes, seen.classes)
        return None

    def _refine(self, model: ModelWrapper, good: str) -> Deviation | None:
        """Return the first node behind the last good quantizer that was right one step before.

        All tensors of one name up to the node called `good` must be equal in both graphs;
        otherwise names do not mean the same, and the answer is None.
        """
        if self._previous is None:
            return None
        before = {
            output_of(node): value
            for node, value in trace(self._previous, graph_input(self._previous, self.frames))
        }
        behind = not good
        for node, value in trace(model, graph_input(model, self.frames)):
            wanted = before.get(output_of(node))
            if wanted is not None and not _same(wanted, value):
                return _deviation(node.name, node.op_type, wanted, value) if behind else None
            behind = behind or node.name == good
        return None


def _same(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether a tensor is the same up to rounding, or cannot be compared: it has another shape."""
    return before.shape != after.shape or np.allclose(after, before, rtol=1e-6, atol=1e-9)


def _deviation(node: str, operator: str, expected: np.ndarray, computed: np.ndarray) -> Deviation:
    difference = np.abs(expected.astype(np.float64) - computed.astype(np.float64))
    frames = int((difference.reshape(len(difference), -1) > 0).any(axis=1).sum())
    return Deviation(node, operator, float(difference.max()), frames, expected, computed)
