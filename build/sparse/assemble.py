"""The modules of a network put together: a stitched accelerator like the dense way's.

A free-running pipeline without back-pressure between `sparse_source`, which holds frames back, and
`sparse_sink`. Every tensor is a wire bundle that a simulation can record.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from build.rtl.kernel import Stream
from build.simulation.simulate import Difference, Simulation, difference
from build.simulation.stitch import TOP, Accelerator, Link
from build.simulation.verilate import Design, Port
from build.sparse.adders import AdderGraph, adder_graph
from build.sparse.emit import LEVELS, Module, matrix_module, window_range
from build.sparse.emit_dense import dense_module, rows_of
from build.sparse.emit_lookup import requantize_module
from build.sparse.emit_serial import lag, serial_module
from build.sparse.emit_shared import shared_module
from build.sparse.known import CLASS_BITS, check_known
from build.sparse.network import (
    ArgMax,
    Layer,
    Linear,
    MaxPool,
    Network,
    Requantize,
    Tensor,
    bits_of,
)
from build.sparse.schedule import DRAIN, SERIAL, check_clocks, lanes_for, spacings, words_ahead
from build.sparse.serial import serial_graph
from build.sparse.shared import share
from models.errors import BadInput

FIXED = ("source", "frame_window", "window", "pool", "digit_adder", "argmax", "sink")
ROOM = 16
"""Classes that the end of the pipeline holds; more frames than that are never on their way."""


@dataclass(frozen=True)
class Unit:
    """An instance of a module: the layer's name, or what it is; the module and its parameters."""

    name: str
    module: str
    parameters: dict[str, int]


@dataclass(frozen=True)
class Sparse:
    """What `compile_network` made.

    Attributes:
        accelerator: the modules put together.
        clocks: from one frame to the next, if the input keeps up.
        latency: clocks from a frame's first word to its class in an empty pipeline.
        adders: two-input adders of all matrices.
        units: every module that it consists of.
    """

    accelerator: Accelerator
    clocks: int
    latency: int
    adders: int
    units: tuple[Unit, ...]


@dataclass
class _Top:
    """The top module as it grows: what the next module takes is `raw`, valid with `valid`.

    `times` are the clocks of a frame's positions there; a frame starts every `clocks`.
    """

    network: Network
    clocks: int
    depth: int  # of adders between two registers
    sources: dict[str, str] = field(default_factory=dict)
    body: list[str] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    raw: str = ""
    valid: str = ""
    graph: AdderGraph | None = None  # of the layer before
    raw_bits: int = 0
    pooled: bool = False  # the quantizers before the present pooling have done it
    times: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    adders: int = 0
    units: list[Unit] = field(default_factory=list)

    def fixed(self, name: str) -> None:
        """Add the source of a module that needs no generation."""
        file = f"sparse_{name}.sv"
        self.sources[file] = (Path(__file__).parent / file).read_text()

    def stream(self, name: str, tensor: Tensor, bits: int, signed: bool, wires: str) -> None:
        """Add a layer's result: a stream that the simulation records."""
        stream = Stream(tensor.channels, bits, signed)
        shape = (tensor.positions, tensor.channels)
        self.links.append(Link(name, name, name, "next", stream, shape))
        public = "/*verilator public_flat_rd*/"
        self.body += [
            f"\twire [{stream.width - 1}:0] {name}_TDATA {public};",
            f"\twire {name}_TVALID {public}, {name}_TREADY {public};",
            f"\tassign {name}_TDATA = {wires}, {name}_TVALID = {name}_valid, {name}_TREADY = 1;",
        ]

    def place(self, module: str, name: str, parameters: dict[str, int], ports: str) -> None:
        """Add an instance of a module."""
        self.units.append(Unit(name, module, parameters))
        settings = ", ".join(f".{key}({value})" for key, value in parameters.items())
        self.body.append(
            f"\t{module}{f' #({settings})' if settings else ''} {name} (.clk(ap_clk), .rst(reset), "
            f"{ports});"
        )

    def instance(self, module: str, name: str, bits: int, **parameters: int) -> None:
        """Add a module that takes the present result and whose result is the next."""
        self.body.append(f"\twire [{bits - 1}:0] {name}_raw; wire {name}_valid;")
        self.place(
            module,
            name,
            parameters,
            f".in_data({self.raw}), .in_valid({self.valid}), .out_data({name}_raw), "
            f".out_valid({name}_valid)",
        )
        self.raw, self.valid = f"{name}_raw", f"{name}_valid"

    def module(self, module: Module, name: str, bits: int) -> None:
        """Add a generated module and its instance."""
        self.sources[f"{module.name}.sv"] = module.text
        self.times = self.times + module.latency
        self.instance(module.name, name, bits)


def compile_network(network: Network, clocks: int | None = None, depth: int = LEVELS) -> Sparse:
    """Return the hardware of a folded network (`fold.fold`).

    Args:
        network: the folded network.
        clocks: from one frame to the next; default: the least.
        depth: of adders between two registers.

    Raises:
        BadInput: a layer is none of those that sparse hardware computes, or `clocks` too few.
    """
    check_known(network)
    first = network.layers[0]
    assert isinstance(first, Linear)
    samples = first.stride
    words = network.length // samples
    clocks = words + 1 if clocks is None else clocks
    check_clocks(clocks, words)
    top = _Top(network, clocks, depth)
    for name in FIXED:
        top.fixed(name)
    bits = network.tensors[0].bits
    source = Stream(samples * network.channels, bits, network.tensors[0].signed)
    top.links.append(
        Link("in0", "in0", "", first.name, source, (words, samples * network.channels))
    )
    spacing = spacings(network, clocks)
    waiting = [c for c, layer in zip(spacing, network.layers, strict=False) if _windowed(layer, c)]
    _begin(top, first, words, source, max((lag(c) for c in waiting), default=0))
    for index, layer in enumerate(network.layers):
        before, after = network.tensors[index], network.tensors[index + 1]
        following = network.layers[index + 1 : index + 2]
        if isinstance(layer, Linear) and after.positions == 1:
            _dense(top, layer, following[0], index)
        elif isinstance(layer, Linear):
            _convolution(top, layer, before, after, spacing[index], first=index == 0)
        elif isinstance(layer, Requantize):
            if top.graph is None:
                continue  # the dense layer before has done it
            pool = following[0] if following and isinstance(following[0], MaxPool) else None
            _requantize(top, layer, pool, index, spacing[index])
        elif isinstance(layer, MaxPool):
            if top.pooled:
                top.pooled = False
                continue  # the quantizers before have done it
            top.instance(
                "sparse_pool",
                layer.name,
                after.channels * after.bits,
                LANES=after.channels,
                BITS=after.bits,
                SIGNED=int(after.signed),
                SIZE=layer.size,
                POSITIONS=before.positions,
            )
            top.times = top.times[layer.size - 1 :: layer.size] + 1
            top.stream(layer.name, after, after.bits, after.signed, top.raw)
        else:
            _end(top, layer, before)
    return Sparse(_finished(top), clocks, int(top.times[-1]), top.adders, tuple(top.units))


def _windowed(layer: Layer, spacing: int) -> bool:
    """Whether a layer makes its windows of three itself, digit by digit."""
    return isinstance(layer, Linear) and spacing >= SERIAL and layer.taps == 3


def _begin(top: _Top, first: Linear, words: int, source: Stream, pause: int) -> None:
    """Add the source of frames and the windows of the first convolution."""
    taps, before = first.taps // first.stride, first.padding // first.stride
    bits, ahead = source.used_bits, words_ahead(top.network)
    top.body.append(f"\twire [{bits - 1}:0] source_data; wire source_step, source_first, taken;")
    top.place(
        "sparse_source",
        "source",
        {
            "WIDTH": bits,
            "WORDS": words,
            "CLOCKS": top.clocks,
            "AHEAD": ahead,
            "LAG": pause,
            "ROOM": ROOM,
        },
        f".in_data(in0_TDATA[{bits - 1}:0]), .in_valid(in0_TVALID), .in_ready(in0_TREADY), "
        ".out_data(source_data), .out_step(source_step), .out_first(source_first), .taken(taken)",
    )
    top.body.append(f"\twire [{taps * bits - 1}:0] frame_windows; wire frame_windows_valid;")
    top.place(
        "sparse_frame_window",
        "frame_window",
        {"WIDTH": bits, "WORDS": words, "TAPS": taps, "BEFORE": before},
        ".in_data(source_data), .in_step(source_step), .in_first(source_first), "
        ".out_data(frame_windows), .out_valid(frame_windows_valid)",
    )
    top.raw, top.valid = "frame_windows", "frame_windows_valid"
    # The FIFO waits for some words and a step; then its words go into the windows step by step.
    steps = 1 + taps - before + np.arange(words + 2 * before - taps + 1)
    top.times = ahead + 4 + -(-steps * top.clocks // (words + 1))


def _convolution(
    top: _Top, layer: Linear, before: Tensor, after: Tensor, spacing: int, first: bool
) -> None:
    """Add a convolution: its windows and its adders, serial ones if positions have the time."""
    serial, windowed = spacing >= SERIAL, False
    if not first and (layer.taps, layer.padding, layer.stride) == (3, 1, 1):
        width = before.channels * before.bits
        windowed = serial
        if serial:  # the last window waits for the next frame
            top.times = np.append(top.times[1:], top.times[0] + top.clocks)
        else:
            top.instance(
                "sparse_window",
                f"window_{layer.name}",
                3 * width,
                WIDTH=width,
                POSITIONS=before.positions,
                SPACING=spacing,
            )
            top.times = np.append(top.times[1:], top.times[-1] + spacing) + 1
    graph = adder_graph(layer.matrix)
    largest = int(max(-after.low.min(), after.high.max()))
    bits = max(bits_of(-largest, largest), 1)
    if serial:
        digits = serial_graph(graph, *window_range(before, layer.taps), spacing)
        module = serial_module(
            f"m_{layer.name}", digits, before, 3 if windowed else 1, bits, spacing, top.depth
        )
    else:
        module = matrix_module(f"m_{layer.name}", graph, before, layer.taps, bits, top.depth)
    top.module(module, layer.name, after.channels * bits)
    top.graph, top.raw_bits = graph, bits
    top.adders += len(graph.adders)
    # What the adders leave negated the next module takes as such; a simulation sees the sums.
    negated = [term is not None and term[2] < 0 for term in graph.outputs]
    parts = [
        ("-" if negated[i] else "") + f"{layer.name}_raw[{i * bits} +: {bits}]"
        for i in reversed(range(after.channels))
    ]
    for place, part in enumerate(parts):
        if part.startswith("-"):
            wire = f"{layer.name}_negated{place}"
            top.body.append(f"\twire [{bits - 1}:0] {wire} = {part};")
            parts[place] = wire
    top.stream(layer.name, after, bits, True, f"{{{', '.join(parts)}}}")


def _requantize(
    top: _Top, layer: Requantize, pool: MaxPool | None, index: int, spacing: int
) -> None:
    """Add quantizers; they take turns if positions have the time, and then pool too."""
    assert top.graph is not None
    before, after = top.network.tensors[index : index + 2]
    name, result = layer.name, after
    if spacing < SERIAL:
        module = requantize_module(f"m_{name}", layer, top.graph, before, top.raw_bits, after)
    else:
        size = pool.size if pool else 1
        if pool:
            name, result, top.pooled = pool.name, top.network.tensors[index + 2], True
            top.times = top.times[size - 1 :: size]
        shared = share(layer, spacing, None if pool else before)
        module = shared_module(f"m_{name}", shared, top.graph, before, top.raw_bits, after, size)
    top.module(module, name, result.channels * result.bits)
    top.graph = None
    top.stream(name, result, result.bits, result.signed, top.raw)


def _dense(top: _Top, layer: Linear, following: object, index: int) -> None:
    """Add a dense layer, with the quantizer behind it if any; positions are gathered in front."""
    quantizer = following if isinstance(following, Requantize) else None
    before = top.network.tensors[index]
    if layer.taps > 1:
        width = before.channels * before.bits
        gather = {"WIDTH": width, "POSITIONS": layer.taps}
        top.fixed("gather")
        top.instance("sparse_gather", f"gather_{layer.name}", layer.taps * width, **gather)
        top.times = top.times[-1:] + 1
        before = Tensor(np.tile(before.low, layer.taps), np.tile(before.high, layer.taps), 1)
    result = top.network.tensors[index + 1 if quantizer is None else index + 2]
    module = dense_module(
        f"m_{layer.name}",
        rows_of(layer, quantizer),
        lanes_for(layer.matrix, top.clocks),
        before,
        result,
    )
    name = layer.name if quantizer is None else quantizer.name
    top.module(module, name, result.channels * result.bits)
    top.stream(name, result, result.bits, result.signed, top.raw)


def _end(top: _Top, layer: ArgMax, scores: Tensor) -> None:
    """Add the class and its FIFO."""
    if scores.channels > top.clocks - DRAIN:
        raise BadInput(f"sparse hardware finds no class in {scores.channels} scores within "
                       f"{top.clocks} clocks")  # fmt: skip
    bits = max((scores.channels - 1).bit_length(), 1)
    top.instance(
        "sparse_argmax",
        layer.name,
        bits,
        LANES=scores.channels,
        BITS=scores.bits,
        SIGNED=int(scores.signed),
    )
    top.times = top.times + scores.channels + 2
    top.place(
        "sparse_sink",
        "sink",
        {"WIDTH": CLASS_BITS, "ROOM": ROOM},
        f".in_data({CLASS_BITS}'d0 | {top.raw}), .in_valid({top.valid}), .out_data(out0_TDATA), "
        ".out_valid(out0_TVALID), .out_ready(out0_TREADY), .taken(taken)",
    )
    top.links.append(Link("out0", layer.name, layer.name, "", Stream(1, CLASS_BITS, False), (1, 1)))


def _finished(top: _Top) -> Accelerator:
    entering = top.links[0].stream.width
    text = "\n".join(
        [
            f"module {TOP} (",
            "\tinput ap_clk, input ap_rst_n,",
            f"\tinput [{entering - 1}:0] in0_TDATA, input in0_TVALID, output in0_TREADY,",
            f"\toutput [{CLASS_BITS - 1}:0] out0_TDATA, output out0_TVALID, input out0_TREADY",
            ");",
            "\treg reset;",
            "\talways @(posedge ap_clk) reset <= ~ap_rst_n;",
            *top.body,
            "endmodule",
        ]
    )
    sources = top.sources | {f"{TOP}.sv": text + "\n"}
    inner = [Port(k.name, k.stream.width, bool(k.producer and k.consumer)) for k in top.links]
    return Accelerator(Design(TOP, sources, inner), {}, tuple(top.links), {})


def mismatches(
    accelerator: Accelerator, network: Network, simulation: Simulation, frames: np.ndarray
) -> dict[str, Difference | None]:
    """Return how the stream of each tensor differs from the network's, by layer in order.

    Args:
        accelerator: of the network.
        network: as compiled.
        simulation: of `simulate(..., record=True)` with the frames, channels last.
        frames: integers (N, channels, length).

    Returns:
        an entry a layer that has a stream; None where it is the same.
    """
    links = {link.tensor: link for link in accelerator.links if link.producer}
    found: dict[str, Difference | None] = {}
    for layer, tensor in network.trace(frames):
        if (link := links.get(layer.name)) is None:
            continue
        expected = link.to_words(tensor.transpose(0, 2, 1))
        found[layer.name] = difference(link, simulation, expected)
    return found
