"""The facts of a build: pace, resources, verification; as JSON, table and picture."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from finn.builder.build_dataflow_config import DataflowBuildConfig
from finn.custom_op.fpgadataflow.hwcustomop import HWCustomOp
from finn.custom_op.fpgadataflow.streamingdatawidthconverter import StreamingDataWidthConverter
from finn.custom_op.fpgadataflow.streamingfifo import StreamingFIFO
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from build.boards import Board
from build.finn_config import Request, builder_config
from build.folding import converter_luts, foldings
from build.layout import ESTIMATED, HDL, REPORT, finn_report, graph_after
from build.resources import node_resources
from build.rtl.specialize import hls_nodes
from build.source import Source
from build.steps.fifos import SIZING
from models.config import FRAME_LENGTH
from models.console import print_table
from models.cost import inference_cost
from models.errors import BadInput
from models.files import atomic, write_json

KINDS = ("LUT", "DSP", "BRAM_18K", "URAM")

EXAMPLE = {
    "name": "FINN's VGG10 example (w4a4, 32 filters) on ZCU104 at 250 MHz",
    "fps": 230_000,
    "LUT": 90_000,
}
"""The published example that every accelerator of this network family is compared with."""


def layer_rows(model: ModelWrapper, board: Board) -> list[dict[str, Any]]:
    """Return a row a layer of the folded graph, then one for the converters between them."""
    nodes: list[HWCustomOp] = []
    rows = []
    for node in model.graph.node:
        operator = getCustomOp(node)
        if isinstance(operator, StreamingFIFO | StreamingDataWidthConverter):
            continue
        nodes.append(operator)
        rows.append(
            {
                "name": node.name,
                "operator": node.op_type,
                "cycles": int(operator.get_exp_cycles()),
                **node_resources(operator, board),
                "folding": {
                    key: operator.get_nodeattr(key)
                    for key in ("PE", "SIMD", "parallel_window")
                    if key in operator.get_nodeattr_types()
                },
            }
        )
    luts = 0
    for before, after in pairwise(nodes):
        datatype = before.get_output_datatype()
        bits = datatype.bitwidth()
        stream = (1, bits, bool(datatype.signed()))
        given, taken = before.get_outstream_width() // bits, after.get_instream_width() // bits
        if given != taken:
            elements = int(before.get_number_output_values()) * given
            luts += converter_luts((elements, *stream[1:]), given, taken)
    nothing = dict.fromkeys(KINDS, 0)
    rows.append(
        {
            "name": "width converters",
            "operator": "StreamingDataWidthConverter",
            "cycles": 0,
            **nothing,
            "LUT": luts,
            "folding": {},
        }
    )
    return rows


def fifo_resources(model: ModelWrapper, board: Board) -> dict[str, int]:
    """Return the resources of all FIFOs of a graph that has them."""
    total = dict.fromkeys(KINDS, 0)
    for node in model.graph.node:
        if node.op_type.startswith("StreamingFIFO"):
            for kind, amount in node_resources(getCustomOp(node), board).items():
                total[kind] += amount
    return total


def collect(
    source: Source, request: Request, out: Path, verification: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the report of a finished build.

    Args:
        source: what was built.
        request: how.
        out: the build's folder, with the graphs of all steps.
        verification: one entry a step.

    Returns:
        network, data_label, board, part, to; performance (clock_mhz, cycles_per_frame, fps,
        samples_per_s, latency_cycles, latency_us, bottleneck, source); resources (LUT, DSP,
        BRAM_18K, URAM: used, available, percent); layers; score and cost by the official rules
        (None for a network they do not cover); comparison with FINN's example; hls_nodes;
        verification; folding; fifos (of `simulation.sizing`, None unless they were sized).
    """
    model = ModelWrapper(str(graph_after(out, ESTIMATED)))
    rows = layer_rows(model, request.board)
    last = graph_after(out, HDL)
    if last.exists():
        amount = fifo_resources(ModelWrapper(str(last)), request.board)
        rows.append(
            {"name": "FIFOs", "operator": "StreamingFIFO", "cycles": 0, **amount, "folding": {}}
        )
    slowest = max(rows, key=lambda row: row["cycles"])
    cycles, hertz = slowest["cycles"], request.clock * 1e6
    network = json.loads(finn_report(out, "estimate_network_performance.json").read_text())
    latency = int(network["critical_path_cycles"])
    total = {kind: sum(row[kind] for row in rows) for kind in KINDS}
    sizing = finn_report(out, SIZING)
    fps = hertz / cycles
    try:
        cost = inference_cost(source.original or source.model, source.name)
    except BadInput:
        cost = None  # the official rules do not cover every operator that FINN can build
    return {
        "network": source.name,
        "data_label": source.checkpoint.data_label if source.checkpoint else "unknown",
        "board": request.board.name,
        "part": request.board.part,
        "to": request.to,
        "performance": {
            "source": "estimated",
            "clock_mhz": request.clock,
            "cycles_per_frame": cycles,
            "fps": fps,
            "samples_per_s": fps * FRAME_LENGTH,
            "latency_cycles": latency,
            "latency_us": latency / request.clock,
            "bottleneck": slowest["name"],
        },
        "resources": {
            kind: {
                "used": total[kind],
                "available": request.board.resources[kind],
                "percent": percent(total[kind], request.board.resources[kind]),
            }
            for kind in KINDS
        },
        "layers": rows,
        "score": None if cost is None else cost.score,
        "cost": None if cost is None else cost.to_dict(),
        "comparison": {
            **EXAMPLE,
            "fps_ratio": fps / EXAMPLE["fps"],
            "LUT_ratio": total["LUT"] / EXAMPLE["LUT"],
        },
        "hls_nodes": sorted(hls_nodes(model)),
        "verification": verification,
        "folding": folding_of(model),
        "fifos": json.loads(sizing.read_text()) if sizing.exists() else None,
    }


def percent(used: int, available: int) -> float:
    """Return used in per cent of available; 0 of 0 is 0."""
    return 100 * used / available if available else 0.0


def folding_of(model: ModelWrapper) -> dict[str, Any]:
    """Return the folding of a graph as FINN's JSON."""
    content: dict[str, Any] = {"Defaults": {}}
    for node in model.graph.node:
        operator = getCustomOp(node)
        names = {name for choice in foldings(operator) for name in choice}
        if names:
            content[node.name] = {name: operator.get_nodeattr(name) for name in sorted(names)}
    return content


def write(facts: dict[str, Any], request: Request, out: Path) -> None:
    """Write report.json, folding.json, finn_build.yaml and balance.png to the build's folder.

    `finn build finn_build.yaml network.onnx` repeats the build with FINN+'s own command.
    """
    write_json(out / REPORT, facts)
    write_json(out / "folding.json", facts["folding"])
    config = builder_config(request, Path("finn_build_output")).to_dict()
    config |= {"folding_config_file": "folding.json", "target_fps": None}
    usual = DataflowBuildConfig().to_dict()
    config = {key: value for key, value in config.items() if value != usual[key]}
    with atomic(out / "finn_build.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(config, sort_keys=True))
    # Drawing is slow to import, and only a finished build draws.
    from training.pictures import balance

    balance(facts, FRAME_LENGTH, out / "balance.png")


def show(facts: dict[str, Any], layers: bool = False) -> None:
    """Print the report as tables on stdout."""
    performance, example = facts["performance"], facts["comparison"]
    rows = [
        ("frames/s", f"{performance['fps']:,.0f} at {performance['clock_mhz']:g} MHz"),
        ("samples/s", f"{performance['samples_per_s'] / 1e6:,.1f} million"),
        ("clocks a frame", f"{performance['cycles_per_frame']:,} ({performance['bottleneck']})"),
        ("latency", f"{performance['latency_us']:,.1f} us"),
    ]
    for kind, amount in facts["resources"].items():
        if amount["used"]:
            rows.append(
                (
                    kind,
                    f"{amount['used']:,} of {amount['available']:,} ({amount['percent']:.1f} %)",
                )
            )
    if facts["fifos"]:
        found = facts["fifos"]
        pace = f"{found['cycles_per_frame']:,.0f} ({found['least']:,.0f} with the least FIFOs)"
        rows.append(("simulated clocks a frame", pace))
    if facts["score"] is not None:
        rows.append(("official score", f"{facts['score']:.6f}"))
    rows.append(
        (
            "against FINN's VGG10 example",
            f"{example['fps_ratio']:.2f} x frames/s, {example['LUT_ratio']:.2f} x LUT",
        )
    )
    checked = facts["verification"]
    rows.append(
        ("verified", f"{len(checked)} steps, {checked[-1]['frames']} frames each, no mismatch")
    )
    rows.append(("HLS nodes", ", ".join(facts["hls_nodes"]) or "none"))
    title = f"{facts['network']} on {facts['board']} (estimates)"
    print_table(title, ("fact", "value"), rows)
    if layers:
        print_table(
            "layers",
            ("layer", "clocks", "folding", *KINDS[:3]),
            (
                [
                    row["name"],
                    row["cycles"],
                    " ".join(f"{key}={value}" for key, value in row["folding"].items()),
                    *(row[kind] for kind in KINDS[:3]),
                ]
                for row in facts["layers"]
            ),
        )
