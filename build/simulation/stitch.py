"""From a specialised FINN graph with generated HDL to one top module.

What Vivado's block design does in FINN, as text: an instance a node, a wire bundle a tensor, the
weight streamer beside each MVAU, configuration ports tied off. Paths inside the generated files
are cut down to file names, so that the same accelerator gives the same text in every folder.
"""

import dataclasses
import re
from pathlib import Path

import numpy as np
from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from build.rtl.kernel import Stream
from build.rtl.ops import RTL_DOMAIN
from build.rtl.patches import patched, rtllib
from build.rtl.registry import register
from build.simulation.verilate import Design, Port
from models.errors import BadInput

register()

TOP = "accelerator"
FAST_MVU = Path(__file__).parent / "mvu_fast.sv"
# MVAU_rtl's own file list leaves out its weight streamer.
STREAMER_SOURCES = (
    "axi/hdl/axilite.sv",
    "memstream/hdl/memstream.sv",
    "memstream/hdl/memstream_axi.sv",
)
# Simulation-only or superseded modules in FINN's file lists.
UNUSED_SOURCES = {"fifo_gauge.sv", "mvu_vvu_8sx9_dsp58.sv"}


@dataclasses.dataclass(frozen=True)
class Link:
    """A stream between two nodes, or between a node and the outside."""

    name: str  # wire prefix in the top module
    tensor: str
    producer: str  # node name, or "" for an input of the accelerator
    consumer: str  # node name, or "" for an output
    stream: Stream
    shape: tuple[int, ...]  # folded: (..., lanes)

    @property
    def words(self) -> int:
        """Words a frame."""
        return int(np.prod(self.shape[:-1]))

    def to_words(self, tensors: np.ndarray) -> np.ndarray:
        """Turn tensors (frames, ...) into stream words (frames * words, lanes)."""
        rounded = np.rint(np.asarray(tensors))
        return rounded.astype(np.int64).reshape(-1, self.stream.lanes)


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """A stitched graph: its top module, data files, streams and FIFOs."""

    design: Design
    files: dict[str, bytes]  # weights and thresholds, read when simulation starts
    links: tuple[Link, ...]  # in the order of the graph
    fifos: dict[str, int]  # node -> depth

    @property
    def inputs(self) -> tuple[Link, ...]:
        """Streams into the accelerator."""
        return tuple(link for link in self.links if not link.producer)

    @property
    def outputs(self) -> tuple[Link, ...]:
        """Streams out of the accelerator."""
        return tuple(link for link in self.links if not link.consumer)


def stitch(
    model: ModelWrapper,
    generated: Path | None = None,
    fast: bool = False,
    only: str | None = None,
) -> Accelerator:
    """Stitch a specialised graph whose nodes have generated HDL (FINN's PrepareIP).

    Args:
        model: the graph.
        generated: where the nodes' folders are now, if the build has been moved since.
        fast: replace FINN's matrix-vector core by a model that simulates several times faster.
        only: stitch this node alone, its streams as ports in<i> and out<i>.

    Raises:
        BadInput: a node is not RTL, has no generated HDL, or a stream does not fit.
    """
    nodes = [node for node in model.graph.node if only in (None, node.name)]
    links = _links(model)
    if only is not None:
        links = _around(links, only)
    by_tensor = {link.tensor: link for link in links}
    sources: dict[str, str] = {}
    files: dict[str, bytes] = {}
    body: list[str] = []
    fifos: dict[str, int] = {}
    for node in nodes:
        op = getCustomOp(node)
        folder = Path(op.get_nodeattr("code_gen_dir_ipgen") or "nowhere")
        if generated is not None and (generated / folder.name).is_dir():
            folder = generated / folder.name
            op.set_nodeattr("code_gen_dir_ipgen", str(folder))
        if not folder.is_dir():
            raise BadInput(f"node {node.name} has no generated HDL; build with --to hdl first")
        _collect(node, op, folder, sources, files)
        streams = {}
        for index, tensor in enumerate(node.input):
            if tensor in by_tensor:
                streams[f"in{index}_V"] = by_tensor[tensor].name
        for index, tensor in enumerate(node.output):
            streams[f"out{index}_V"] = by_tensor[tensor].name
        module = op.get_nodeattr("gen_top_module") or node.name
        if node.op_type == "MVAU_rtl":
            body += _weight_streamer(node.name, module, op, sources)
            streams["in1_V"] = f"{node.name}_weights"
        extra = {}
        if node.op_type == "StreamingFIFO_rtl":
            body.append(f"\twire [31:0] {node.name}_maxcount /*verilator public_flat_rd*/;")
            extra["maxcount"] = f"{node.name}_maxcount"
            fifos[node.name] = op.get_nodeattr("depth")
        body.append(_instance(module, node.name, streams, sources, extra))
    if fast and "mvu.sv" in sources:
        sources["mvu.sv"] = FAST_MVU.read_text()
    ports, wires = _declarations(links)
    top = f"module {TOP} (\n\t{ports}\n);\n{wires}\n" + "\n".join(body) + "\nendmodule\n"
    # Packages first, then files in the order of the graph, then the top.
    ordered = sorted(sources, key=lambda name: not name.endswith("_pkg.sv"))
    texts = {name: sources[name] for name in ordered} | {f"{TOP}.sv": top}
    design = Design(
        TOP,
        texts,
        [Port(k.name, k.stream.width, bool(k.producer and k.consumer)) for k in links],
        {name: f"{name}_maxcount" for name in fifos},
    )
    return Accelerator(design, files, tuple(links), fifos)


def _links(model: ModelWrapper) -> list[Link]:
    """Return every stream of the graph, checked for agreement of both ends."""
    links: list[Link] = []
    for value in model.graph.input:
        if model.get_initializer(value.name) is None:
            consumer = model.find_consumer(value.name)
            index = list(consumer.input).index(value.name)
            op = getCustomOp(consumer)
            datatype, shape = op.get_input_datatype(index), op.get_folded_input_shape(index)
            stream = Stream(int(shape[-1]), datatype.bitwidth(), datatype.signed())
            name = f"in{len(links)}"
            links.append(Link(name, value.name, "", consumer.name, stream, tuple(shape)))
    for node in model.graph.node:
        if node.domain != RTL_DOMAIN:
            raise BadInput(f"node {node.name} ({node.op_type}) is not RTL: it cannot be simulated")
        op = getCustomOp(node)
        for index, tensor in enumerate(node.output):
            consumers = model.find_consumers(tensor) or []
            if len(consumers) > 1:
                raise BadInput(f"the output of {node.name} has {len(consumers)} consumers")
            datatype, shape = op.get_output_datatype(index), op.get_folded_output_shape(index)
            lanes = op.get_outstream_width(index) // datatype.bitwidth()
            stream = Stream(lanes, datatype.bitwidth(), datatype.signed())
            consumer = consumers[0].name if consumers else ""
            if consumers:
                other = getCustomOp(consumers[0])
                width = other.get_instream_width_padded(list(consumers[0].input).index(tensor))
                if width != stream.width:
                    raise BadInput(
                        f"{node.name} sends {stream.width} bits and {consumer} takes {width}: "
                        "insert a width converter"
                    )
            name = f"{node.name}_out{index}" if consumers else f"out{index}"
            shape = (int(np.prod(shape)) // lanes, lanes)
            links.append(Link(name, tensor, node.name, consumer, stream, shape))
    return links


def _around(links: list[Link], node: str) -> list[Link]:
    """Return the links of one node, with nothing at their other ends."""
    inputs = [link for link in links if link.consumer == node]
    outputs = [link for link in links if link.producer == node]
    return [
        dataclasses.replace(link, name=f"in{i}", producer="") for i, link in enumerate(inputs)
    ] + [dataclasses.replace(link, name=f"out{i}", consumer="") for i, link in enumerate(outputs)]


def _collect(
    node: NodeProto, op, folder: Path, sources: dict[str, str], files: dict[str, bytes]
) -> None:
    """Add a node's HDL and data files, with paths into its folder cut down to `<node>.<file>`."""
    paths = [Path(file) for file in op.get_rtl_file_list(abspath=True)]
    if node.op_type == "MVAU_rtl":
        paths += [rtllib() / file for file in STREAMER_SOURCES]
        paths += [folder / f"{op.get_nodeattr('gen_top_module')}_memstream_wrapper.v"]
    for path in paths:
        if path.name in UNUSED_SOURCES:
            continue
        text = patched(path)
        if path.parent == folder:
            # "/somewhere/folder/memblock.dat" or, from Thresholding, a path relative to anywhere
            text = re.sub(r'"[^"\n]*/([^"/\n]*)"', rf'"{node.name}.\1"', text)
        if sources.setdefault(path.name, text) != text:
            raise BadInput(f"{node.name} brings another {path.name} than a node before it")
    for path in sorted(folder.glob("*.dat")):
        files[f"{node.name}.{path.name}"] = path.read_bytes()


def _weight_streamer(name: str, module: str, op, sources: dict[str, str]) -> list[str]:
    """Return wires and instance of the streamer that feeds an MVAU its weights."""
    wire, width = f"{name}_weights", op.get_instream_width_padded(1)
    streams = {"m_axis_0": wire}
    return [
        f"\twire [{width - 1}:0] {wire}_TDATA;\n\twire {wire}_TVALID, {wire}_TREADY;",
        _instance(f"{module}_memstream_wrapper", f"{name}_streamer", streams, sources, {}),
    ]


def _instance(
    module: str, name: str, streams: dict[str, str], sources: dict[str, str], extra: dict[str, str]
) -> str:
    """Return an instance with its streams connected and every other input tied to zero."""
    text = next(t for t in sources.values() if re.search(rf"^module {module}\b", t, re.MULTILINE))
    code = re.sub(r"//.*|\(\*.*?\*\)", "", text)
    inputs = re.findall(r"\binput\b\s*(?:wire|logic)?\s*(?:\[[^\]]*\])?\s*(\w+)", code)
    pins = {"ap_clk": "ap_clk", "ap_clk2x": "ap_clk", "ap_rst_n": "ap_rst_n"}
    pins = {pin: net for pin, net in pins.items() if pin in inputs} | extra
    for stream, wire in streams.items():
        lower = stream.startswith("m_axis")
        for signal in ("TDATA", "TVALID", "TREADY"):
            pins[f"{stream}_{signal.lower() if lower else signal}"] = f"{wire}_{signal}"
    pins |= {pin: "'0" for pin in inputs if pin not in pins}
    connections = ", ".join(f".{pin}({net})" for pin, net in pins.items())
    return f"\t{module} {name} ({connections});"


def _declarations(links: list[Link]) -> tuple[str, str]:
    """Return the ports of the top module and the declarations of the inner wires."""
    ports, wires = ["input ap_clk", "input ap_rst_n"], []
    public = "/*verilator public_flat_rd*/"
    for link in links:
        span, name = f"[{link.stream.width - 1}:0]", link.name
        if link.producer and link.consumer:
            wires.append(
                f"\twire {span} {name}_TDATA {public}; wire {name}_TVALID {public}; "
                f"wire {name}_TREADY {public};"
            )
        else:
            forward, back = ("output", "input") if link.producer else ("input", "output")
            ports += [
                f"{forward} {span} {name}_TDATA",
                f"{forward} {name}_TVALID",
                f"{back} {name}_TREADY",
            ]
    return ",\n\t".join(ports), "\n".join(wires)
