"""Matrices as SystemVerilog modules, and what all emitters need.

All modules have the ports clk, rst, in_data, in_valid, out_data, out_valid: a position a word,
channel 0 lowest, every channel as wide as the tensor's widest. There is no back-pressure: what
comes in leaves a fixed number of clocks later.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from build.sparse.adders import AdderGraph
from build.sparse.network import Tensor, bits_of
from build.sparse.tables import Table

CHUNK = 2**15
"""Bits of a constant; Verilator takes 2 ** 16."""

LOOP = 2**11
"""Words that one loop fills; slang unrolls 4000."""

LEVELS = 2
"""Adders between two registers, unless told otherwise."""


@dataclass(frozen=True)
class Module:
    """A module's name and text, and the clocks from a word to its result."""

    name: str
    text: str
    latency: int


def ports(inputs: int, outputs: int) -> str:
    """Return the ports of a module for words of so many bits."""
    return (
        f"input clk, input rst, input [{inputs - 1}:0] in_data, input in_valid, "
        f"output [{outputs - 1}:0] out_data, output out_valid"
    )


def operand(wire: str, signed: bool) -> str:
    """Return a wire as a signed number."""
    return f"$signed({wire})" if signed else f"$signed({{1'b0, {wire}}})"


def literal(value: int, bits: int) -> str:
    """Return an integer as a constant of so many bits, two's complement."""
    return f"{bits}'d{value & ((1 << bits) - 1)}"


def rom(name: str, words: Sequence[int], bits: int, style: str = "") -> list[str]:
    """Return a memory that nothing writes, filled from constants of CHUNK bits at most.

    `style` is "block" or "distributed"; empty: what synthesis prefers.
    """
    attribute = f'(* rom_style = "{style}", ram_style = "{style}" *) ' if style else ""
    lines = [f"\t{attribute}reg [{bits - 1}:0] {name} [0:{len(words) - 1}];"]
    size = min(max(CHUNK // bits, 1), LOOP)
    for start in range(0, len(words), size):
        part = words[start : start + size]
        image = sum((word & (1 << bits) - 1) << (i * bits) for i, word in enumerate(part))
        constant = f"{name}_{start}"
        lines += [
            f"\tlocalparam [{len(part) * bits - 1}:0] {constant} = {len(part) * bits}'h{image:x};",
            f"\tinitial for (integer i = 0; i < {len(part)}; i = i + 1) "
            f"{name}[{start} + i] = {constant}[i*{bits} +: {bits}];",
        ]
    return lines


def delayed_valid(clocks: int) -> list[str]:
    """Return out_valid as in_valid so many clocks later."""
    return [
        f"\treg [{clocks}:0] valids;",
        "\talways @(posedge clk) valids <= rst ? 0 : {valids, in_valid};",
        f"\tassign out_valid = valids[{clocks - 1}];",
    ]


def window_range(inputs: Tensor, taps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and largest value of each input at each tap of a window, tap-major."""
    low, high = np.tile(inputs.low, taps), np.tile(inputs.high, taps)
    if taps > 1:  # zeros outside the frame
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    return low, high


def matrix_module(
    name: str, graph: AdderGraph, inputs: Tensor, taps: int, outputs: int, depth: int = LEVELS
) -> Module:
    """Return the adders of a layer, pipelined.

    Args:
        name: of the module.
        graph: the adders; its inputs are the channels of `taps` positions, tap-major.
        inputs: the layer's input.
        taps: positions in a window.
        outputs: bits of each sum. An output of negative sign (`graph.outputs`) is delivered
            negated: what follows takes account of it.
        depth: adders between two registers, at most.
    """
    ranges, levels = graph.ranges(*window_range(inputs, taps)), graph.levels()
    homes = [max(-(-level // depth), 1) for level in levels]  # the stage of each node
    ends = [homes[term[0]] if levels[term[0]] else 0 for term in graph.outputs if term is not None]
    latency = max([*ends, 1])
    deepest = [0] * len(levels)  # the longest delay of each node that somebody needs

    def wire(node: int, stage: int) -> str:
        delay = stage - homes[node]
        deepest[node] = max(deepest[node], delay)
        return f"n{node}_{delay}"

    def term(node: int, stage: int, shift: int) -> str:
        text = operand(wire(node, stage), ranges[node][0] < 0)
        return f"({text} <<< {shift})" if shift else text

    body = []
    for index, adder in enumerate(graph.adders):
        node = graph.inputs + index
        first = term(adder.first, homes[node], adder.first_shift)
        second = term(adder.second, homes[node], adder.second_shift)
        sign = "+" if adder.sign > 0 else "-"
        body.append(f"\tassign n{node}_0 = {first} {sign} {second};")
    for row, output in enumerate(graph.outputs):
        value = "0" if output is None else term(output[0], latency + 1, output[1])
        body.append(f"\tassign out_data[{row * outputs} +: {outputs}] = {value};")
    declared = []
    width = inputs.bits
    for node, (least, most) in enumerate(ranges):
        bits = width if node < graph.inputs else max(bits_of(least, most), 1)
        span = f"[{bits - 1}:0]"
        declared.append(f"\twire {span} n{node}_0;")
        if node < graph.inputs:
            declared.append(f"\tassign n{node}_0 = in_data[{node * width} +: {width}];")
        declared += [f"\treg {span} n{node}_{d + 1};" for d in range(deepest[node])]
        declared += [
            f"\talways @(posedge clk) n{node}_{d + 1} <= n{node}_{d};" for d in range(deepest[node])
        ]
    lines = [
        f"module {name} ({ports(graph.inputs * width, len(graph.outputs) * outputs)});",
        *declared,
        *body,
        *delayed_valid(latency),
        "endmodule",
    ]
    return Module(name, "\n".join(lines) + "\n", latency)


def entry_bits(tables: Iterable[Table], bits: int) -> tuple[int, int, int]:
    """Return the widths of base, threshold and step in an entry of these tables.

    A width of 0 for the step: it is 1 throughout.
    """
    tables = list(tables)
    most = max(int(table.step.max()) for table in tables)
    ones = all((table.step == 1).all() for table in tables)
    fraction = max(table.fraction for table in tables)
    return bits, fraction, 0 if ones else max(most.bit_length(), 1)


def entries(table: Table, widths: tuple[int, int, int]) -> list[int]:
    """Return a table's memory: {step, threshold, base} of each segment."""
    base, fraction, _ = widths
    step = table.step if widths[2] else np.zeros_like(table.step)
    return [
        (b & (2**base - 1)) | t << base | s << (base + fraction)
        for b, t, s in zip(
            table.base.tolist(), table.threshold.tolist(), step.tolist(), strict=True
        )
    ]


def looked_up(entry: str, lower: str, widths: tuple[int, int, int]) -> str:
    """Return the expression of an entry's value for the lower bits of `u`."""
    base, fraction, step = widths
    reached = f"({lower} >= {entry}[{base} +: {fraction}])" if fraction else "1'b1"
    added = f"({reached} ? {entry}[{base + fraction} +: {step}] : 1'b0)" if step else reached
    return f"{entry}[{base - 1}:0] + {added}"


def clipped(value: str, table_bits: int, low: int, high: int) -> str:
    """Return the expression of a signed value in [low, high] clipped to table_bits."""
    text = f"{value}[{table_bits - 1}:0]"
    if high >= 2**table_bits:
        text = f"{value} >= {2**table_bits} ? {{{table_bits}{{1'b1}}}} : {text}"
    if low < 0:
        text = f"{value} < 0 ? {{{table_bits}{{1'b0}}}} : {text}"
    return text
