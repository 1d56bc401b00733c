"""The challenge's inference cost, by the official counting rules.

    score = 0.5 * bit_ops / BASELINE_BIT_OPS + 0.5 * weight_bits / BASELINE_WEIGHT_BITS

Every multiply-accumulate counts input bits x weight bits (32 for floating point), every weight its
bits; exact zeros are free. Rules: ITU-ML5G-PS-007, `qonnx.util.inference_cost`; docs/cost.md.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.util.inference_cost import inference_cost as qonnx_inference_cost

from deploy.board.radioml import Layout
from deploy.board.records import to_json
from models.checkpoint import Checkpoint
from models.errors import BadInput
from models.export import first_line, frame_of, to_qonnx

# The VGG10 baseline with 8-bit weights and activations (problem statement of ITU-ML5G-PS-007).
BASELINE_BIT_OPS = 807_699_904
BASELINE_WEIGHT_BITS = 1_244_936

COUNTED = {"Conv", "MatMul", "Gemm", "Upsample"}

FREE = {
    *("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "QuantAvgPool2d"),
    *("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"),
    *("Concat", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Shape", "Slice"),
    *("Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Cast", "Constant", "Dropout"),
    *("Add", "BatchNormalization", "Div", "Mul", "Neg", "Sub", "Max", "Min", "Abs"),
    *("Clip", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "HardTanh", "LeakyRelu", "PRelu"),
    *("Relu", "Selu", "Celu", "Sigmoid", "Sign", "Softplus", "Softsign", "Tanh"),
    *("ArgMax", "LogSoftmax", "Softmax", "TopK"),
    *("BipolarQuant", "FloatQuant", "IntQuant", "MultiThreshold", "Quant", "Trunc"),
    *("DequantizeLinear", "QuantizeLinear", "Ceil", "Floor", "Round"),
}
"""Pooling, moving, adding, scaling, nonlinearities and quantizers: the rules count layers only."""

QUANTIZERS = {"BipolarQuant", "FloatQuant", "IntQuant", "MultiThreshold", "Quant", "QuantizeLinear"}


@dataclass(frozen=True)
class LayerCost:
    """What one layer adds to the cost of a frame, sparsity discounted.

    Attributes:
        name: of its node.
        op: its operator.
        score: its share of the official score.
        bit_ops: bit operations.
        weight_bits: bits of its weights.
        macs: multiply-accumulates.
        nonzero_weights: weights that are counted.
    """

    name: str
    op: str
    score: float
    bit_ops: int
    weight_bits: int
    macs: int
    nonzero_weights: int


@dataclass(frozen=True)
class Cost:
    """What one frame costs; the numbers are sums over `layers`, as `LayerCost` names them.

    Attributes:
        layers: in the graph's order.
        warnings: what makes the count doubtful, in one line each.
        note: what the score is defined on, where the network takes other frames or classes.
    """

    score: float
    bit_ops: int
    weight_bits: int
    macs: int
    nonzero_weights: int
    layers: tuple[LayerCost, ...]
    warnings: tuple[str, ...]
    note: str = ""

    DERIVED: ClassVar = ("compression", "unsupported")

    @property
    def compression(self) -> float | None:
        """How many times cheaper than the baseline; None where nothing costs anything."""
        return 1 / self.score if self.score else None

    @property
    def unsupported(self) -> tuple[str, ...]:
        """Operators that are not counted: none, they are refused."""
        return ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, fit for JSON."""
        return to_json(self)


def inference_cost(network: Checkpoint | ModelWrapper, name: str = "the model") -> Cost:
    """Count what one frame costs.

    Args:
        network: a checkpoint, or an ONNX/QONNX graph as `models.export.load_onnx` reads it.
        name: what to call the graph in messages.

    Raises:
        BadInput: the graph holds an operator that the rules do not count; names it and its node.
    """
    model = to_qonnx(network) if isinstance(network, Checkpoint) else network
    if uncounted := _uncounted(model):
        raise BadInput(f"{name} holds operators that the official cost does not count: {uncounted}")
    names: dict[str, list[str]] = {}
    for node in model.graph.node:
        names.setdefault(node.op_type, []).append(node.name)
    try:
        # qonnx announces each shape it cannot infer on stderr; what matters is raised below.
        counted = qonnx_inference_cost(model, discount_sparsity=True, cost_breakdown=True)
    except Exception as error:
        raise BadInput(f"{name} cannot be counted: {first_line(error)}") from error
    layers = tuple(
        LayerCost(_original_name(node, names), node.rsplit("_", 1)[0], **_counts(cost))
        for node, cost in counted["node_cost"].items()
    )
    warnings = _warnings(model, counted["node_cost"])
    note = _note(model)
    return Cost(layers=layers, warnings=warnings, note=note, **_counts(counted["total_cost"]))


def _uncounted(model: ModelWrapper) -> str:
    """Return the nodes that multiply in a way the rules do not know, with their operators."""
    activations = {value.name for value in model.graph.input}
    found = []
    for node in model.graph.node:
        inputs = [name for name in node.input if name in activations]
        # A shape is a constant: inputs are static.
        if inputs and node.op_type != "Shape":
            activations.update(node.output)
        if node.op_type in COUNTED and len(inputs) > 1:
            found.append(f"{_called(node)} ({node.op_type} of two activations)")
        elif node.op_type not in COUNTED | FREE:
            found.append(f"{_called(node)} ({node.op_type})")
    return ", ".join(found)


def _called(node: NodeProto) -> str:
    return node.name or node.output[0]


def _warnings(model: ModelWrapper, costs: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    """Return what speaks against the count, in one line each."""
    quantizers = sum(node.op_type in QUANTIZERS for node in model.graph.node)
    products = [key for cost in costs.values() for key in cost if key.startswith("op_mac_")]
    if quantizers and products and set(products) == {"op_mac_FLOAT32_FLOAT32"}:
        return (
            f"all layers count as FLOAT32 although the graph holds {quantizers} quantizers: "
            "none of them stands where the official counter sees it",
        )
    return ()


def _note(model: ModelWrapper) -> str:
    """Return what the score is defined on, unless that is what the graph takes and tells apart."""
    try:
        channels, samples = frame_of(model)
    except ValueError:
        return ""
    classes = math.prod(model.get_tensor_shape(model.graph.output[0].name) or (0,))
    if (found := Layout(samples, channels, classes)) == Layout():
        return ""
    return f"the score is defined on RadioML 2018.01A ({Layout()}); this is for {found}"


def _counts(cost: dict[str, Any]) -> dict[str, Any]:
    bit_ops, weight_bits = cost["total_bops"], cost["total_mem_w_bits"]
    return {
        "score": 0.5 * bit_ops / BASELINE_BIT_OPS + 0.5 * weight_bits / BASELINE_WEIGHT_BITS,
        "bit_ops": round(bit_ops),
        "weight_bits": round(weight_bits),
        "macs": round(cost["total_macs"]),
        "nonzero_weights": round(cost["total_mem_w_elems"]),
    }


def _original_name(node: str, names: dict[str, list[str]]) -> str:
    """Undo qonnx's renaming (Conv_3 is the fourth Conv) where the graph had names of its own."""
    op, _, index = node.rpartition("_")
    originals = names.get(op, [])
    return (originals[int(index)] if int(index) < len(originals) else "") or node
