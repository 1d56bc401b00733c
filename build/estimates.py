"""The report of a dense build from FINN's estimates: as record, JSON and picture."""

import json
import math
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
from build.build_report import (
    DENSE,
    KINDS,
    DenseReport,
    Estimate,
    Layer,
    Resource,
    Verified,
    against_example,
    head,
)
from build.finn_config import Request, builder_config
from build.folding import converter_luts, foldings
from build.layout import ESTIMATED, HDL, REPORT, finn_report, graph_after
from build.resources import node_resources
from build.rtl.specialize import hls_nodes
from build.source import Source
from build.steps.fifos import SIZING
from models.files import atomic, write_json


def layer_rows(model: ModelWrapper, board: Board) -> list[Layer]:
    """Return a row a layer of the folded graph, then one for the converters between them."""
    nodes: list[HWCustomOp] = []
    rows = []
    for node in model.graph.node:
        operator = getCustomOp(node)
        if isinstance(operator, StreamingFIFO | StreamingDataWidthConverter):
            continue
        nodes.append(operator)
        folding = {
            key: operator.get_nodeattr(key)
            for key in ("PE", "SIMD", "parallel_window")
            if key in operator.get_nodeattr_types()
        }
        cycles = int(operator.get_exp_cycles())
        resources = node_resources(operator, board)
        rows.append(Layer(node.name, node.op_type, cycles, **resources, folding=folding))
    luts = sum(_converters_in_front(model, operator) for operator in nodes)
    resources = dict.fromkeys(KINDS, 0) | {"LUT": luts}
    operator = "StreamingDataWidthConverter"
    rows.append(Layer("width converters", operator, 0, **resources, folding={}))
    return rows


def _converters_in_front(model: ModelWrapper, operator: HWCustomOp) -> int:
    """Return the LUTs of the width converters between a node and those that feed it."""
    luts = 0
    for index, name in enumerate(operator.onnx_node.input):
        producer = model.find_producer(name)
        if producer is None:
            continue
        before = getCustomOp(producer)
        datatype = before.get_output_datatype()
        bits = datatype.bitwidth()
        given = before.get_outstream_width() // bits
        taken = operator.get_instream_width(index) // bits
        stream = (math.prod(before.get_normal_output_shape()), bits, bool(datatype.signed()))
        luts += converter_luts(stream, given, taken)
    return luts


def fifo_resources(model: ModelWrapper, board: Board) -> dict[str, int]:
    """Return the resources of all FIFOs of a graph that has them."""
    total = dict.fromkeys(KINDS, 0)
    for node in model.graph.node:
        if node.op_type.startswith("StreamingFIFO"):
            for kind, amount in node_resources(getCustomOp(node), board).items():
                total[kind] += amount
    return total


def collect(
    source: Source, request: Request, out: Path, verification: list[Verified]
) -> DenseReport:
    """Return the report of a finished build.

    Args:
        source: what was built.
        request: how.
        out: the build's folder, with the graphs of all steps.
        verification: one entry a step.
    """
    model = ModelWrapper(str(graph_after(out, ESTIMATED)))
    rows = layer_rows(model, request.board)
    last = graph_after(out, HDL)
    if last.exists():
        amount = fifo_resources(ModelWrapper(str(last)), request.board)
        rows.append(Layer("FIFOs", "StreamingFIFO", 0, **amount, folding={}))
    slowest = max(rows, key=lambda row: row.cycles)
    network = json.loads(finn_report(out, "estimate_network_performance.json").read_text())
    latency = int(network["critical_path_cycles"])
    performance = Estimate(
        *(request.clock, slowest.cycles, latency, slowest.name),
        samples_per_frame=source.task.length,
    )
    total = {kind: sum(getattr(row, kind) for row in rows) for kind in KINDS}
    sizing = finn_report(out, SIZING)
    return DenseReport(
        **head(source, request, DENSE),
        performance=performance,
        resources={kind: Resource(total[kind], request.board.resources[kind]) for kind in KINDS},
        layers=tuple(rows),
        comparison=against_example(performance.fps, total["LUT"]),
        hls_nodes=tuple(sorted(hls_nodes(model))),
        verification=tuple(verification),
        folding=folding_of(model),
        fifos=json.loads(sizing.read_text()) if sizing.exists() else None,
    )


def folding_of(model: ModelWrapper) -> dict[str, Any]:
    """Return the folding of a graph as FINN's JSON."""
    content: dict[str, Any] = {"Defaults": {}}
    for node in model.graph.node:
        operator = getCustomOp(node)
        names = {name for choice in foldings(operator) for name in choice}
        if names:
            content[node.name] = {name: operator.get_nodeattr(name) for name in sorted(names)}
    return content


def write(report: DenseReport, request: Request, out: Path) -> None:
    """Write report.json, folding.json, finn_build.yaml and balance.png to the build's folder.

    `finn build finn_build.yaml network.onnx` repeats the build with FINN+'s own command.
    """
    write_json(out / REPORT, report.to_dict())
    write_json(out / "folding.json", report.folding or {})
    config = builder_config(request, Path("finn_build_output")).to_dict()
    config |= {"folding_config_file": "folding.json", "target_fps": None}
    usual = DataflowBuildConfig().to_dict()
    config = {key: value for key, value in config.items() if value != usual[key]}
    with atomic(out / "finn_build.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(config, sort_keys=True))
    # Drawing is slow to import, and only a finished build draws.
    from training.pictures import balance

    balance(
        {layer.name: layer.cycles for layer in report.layers},
        report.performance.bottleneck,
        f"{report.network} on {report.board}: {report.performance.fps:,.0f} frames/s",
        report.performance.samples_per_frame,
        out / "balance.png",
    )
