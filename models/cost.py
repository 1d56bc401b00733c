"""The challenge's inference cost, by the official counting rules.

    score = 0.5 * bit_ops / BASELINE_BIT_OPS + 0.5 * weight_bits / BASELINE_WEIGHT_BITS

Every multiply-accumulate counts input bits x weight bits (32 for floating point), every weight its
bits; exact zeros are free. Rules: ITU-ML5G-PS-007, `qonnx.util.inference_cost`.
"""

from typing import Any

from qonnx.core.modelwrapper import ModelWrapper
from qonnx.util.inference_cost import inference_cost as qonnx_inference_cost

from models.checkpoint import Checkpoint
from models.errors import BadInput
from models.export import to_qonnx

# The VGG10 baseline with 8-bit weights and activations (problem statement of ITU-ML5G-PS-007).
BASELINE_BIT_OPS = 807_699_904
BASELINE_WEIGHT_BITS = 1_244_936


def inference_cost(network: Checkpoint | ModelWrapper, name: str = "the model") -> dict[str, Any]:
    """Count what one frame costs.

    Args:
        network: a checkpoint, or an ONNX/QONNX graph as `models.export.load_onnx` reads it.
        name: what to call the graph in messages.

    Returns:
        `score`, `bit_ops`, `weight_bits`, `macs` (sparsity discounted), `nonzero_weights`,
        `compression` (how many times cheaper than the baseline), `unsupported` (empty) and
        `layers`: a list of dicts with `name`, `op`, `bit_ops`, `weight_bits`, `macs`,
        `nonzero_weights` and `score`, the layer's share of the score.

    Raises:
        BadInput: the graph holds operators that the rules do not count; the message names them.
    """
    model = to_qonnx(network) if isinstance(network, Checkpoint) else network
    names: dict[str, list[str]] = {}
    for node in model.graph.node:
        names.setdefault(node.op_type, []).append(node.name)
    try:
        # qonnx announces each shape it cannot infer on stderr; what matters is raised below.
        counted = qonnx_inference_cost(model, discount_sparsity=True, cost_breakdown=True)
    except Exception as error:
        raise BadInput(f"{name} cannot be counted: {_first_line(error)}") from error
    total = counted["total_cost"]
    if total["unsupported"] != "set()":
        operators = total["unsupported"].strip("{}").replace("'", "")
        raise BadInput(f"{name} holds operators that the official cost does not count: {operators}")
    layers = [
        {"name": _original_name(node, names), "op": node.rsplit("_", 1)[0], **_facts(cost)}
        for node, cost in counted["node_cost"].items()
    ]
    facts = _facts(total)
    return {
        **facts,
        "compression": 1 / facts["score"] if facts["score"] else None,
        "unsupported": [],
        "layers": layers,
    }


def _facts(cost: dict[str, Any]) -> dict[str, Any]:
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


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
