"""Quantizers that take turns as SystemVerilog, with the max pooling behind them.

A position's accumulators come as one word, as everywhere (`emit`), and are kept. A unit takes one
of its channels a clock: choose, subtract the origin, clip, look up, compare, take the maximum. What
comes out one by one is shifted into the result.
"""

from collections.abc import Sequence

import numpy as np

from build.sparse.adders import AdderGraph
from build.sparse.emit import (
    Module,
    clipped,
    entries,
    entry_bits,
    literal,
    looked_up,
    operand,
    ports,
    rom,
)
from build.sparse.network import Tensor, bits_of
from build.sparse.shared import Shared, Unit


def shared_module(
    name: str,
    shared: Shared,
    graph: AdderGraph,
    accumulators: Tensor,
    inputs: int,
    outputs: Tensor,
    pool: int = 1,
) -> Module:
    """Return the quantizers of a layer, and the pooling behind it.

    Args:
        name: of the module.
        shared: the units.
        graph: the adders in front; outputs of negative sign come negated.
        accumulators: the range of each channel.
        inputs: bits of each.
        outputs: the quantizers' result.
        pool: positions of which the largest value counts; 1: no pooling.
    """
    channels = accumulators.channels
    bits, turns = outputs.bits, shared.turns
    turn_bits = max((turns - 1).bit_length(), 1)
    # Clocks from a turn to the shift of its value: see the stages below.
    behind = 6 if pool > 1 else 5
    lines = [
        f"module {name} ({ports(channels * inputs, channels * bits)});",
        f"\treg [{channels * inputs - 1}:0] kept;",
        f"\treg [{turn_bits - 1}:0] turn, turn_1, turn_2, turn_3;",
        "\treg busy;",
        f"\treg [{behind}:0] works, begins, ends, lasts;",
        f"\treg [{max((pool - 1).bit_length(), 1) - 1}:0] phase;",
        f"\treg [{max((accumulators.positions - 1).bit_length(), 1) - 1}:0] position;",
        f"\twire ending = position == {accumulators.positions - 1};",
        "\talways @(posedge clk) begin",
        "\t\tif (in_valid) begin",
        "\t\t\tkept <= in_data;",
        # Those of the word before, until now: a frame's first position begins with 0.
        f"\t\t\tphase <= ending | phase == {pool - 1} ? 0 : phase + 1'b1;",
        "\t\t\tposition <= ending ? 0 : position + 1'b1;",
        "\t\tend",
        "\t\tturn <= in_valid ? 0 : turn + 1'b1;",
        "\t\tturn_1 <= turn; turn_2 <= turn_1; turn_3 <= turn_2;",
        f"\t\tbusy <= in_valid | (busy & turn != {turns - 1});",
        "\t\tworks <= {works, busy};",
        "\t\tbegins <= {begins, phase == 0};",
        f"\t\tends <= {{ends, phase == {pool - 1}}};",
        f"\t\tlasts <= {{lasts, busy & turn == {turns - 1} & phase == {pool - 1}}};",
        "\t\tif (rst) begin",
        f"\t\t\tbusy <= 0; works <= 0; lasts <= 0; phase <= {pool - 1}; "
        f"position <= {accumulators.positions - 1};",
        "\t\tend",
        "\tend",
        f"\tassign out_valid = lasts[{behind}];",
    ]
    for number, unit in enumerate(shared.units):
        lines += _unit(number, unit, shared.turns, graph, accumulators, inputs, outputs, pool > 1)
        for place, channel in enumerate(unit.channels):
            lines.append(
                f"\tassign out_data[{channel * bits} +: {bits}] = "
                f"result{number}[{place * bits} +: {bits}];"
            )
    for channel in shared.handed:
        term = graph.outputs[channel]
        sign = "-" if term is not None and term[2] < 0 else ""
        lines += [
            # Until the turns are over; then it may not hold up the next position's.
            f"\treg [{inputs - 1}:0] early{channel}, late{channel};",
            "\talways @(posedge clk) begin",
            f"\t\tif (busy & turn == {turns - 1}) early{channel} <= "
            f"{sign}kept[{channel * inputs} +: {inputs}];",
            f"\t\tif (lasts[2]) late{channel} <= early{channel};",
            "\tend",
            f"\tassign out_data[{channel * bits} +: {bits}] = {operand(f'late{channel}', True)};",
        ]
    lines.append("endmodule")
    # A word comes, its turns begin a clock later.
    return Module(name, "\n".join(lines) + "\n", turns + behind + 1)


def _unit(
    number: int,
    unit: Unit,
    turns: int,
    graph: AdderGraph,
    accumulators: Tensor,
    inputs: int,
    outputs: Tensor,
    pooled: bool,
) -> list[str]:
    n, bits = str(number), outputs.bits
    tables = unit.tables
    table_bits, fraction = tables[0].bits, tables[0].fraction
    terms = [graph.outputs[channel] for channel in unit.channels]
    # -x = ~x + 1
    inverted = [
        (table.sign < 0) != (term is not None and term[2] < 0)
        for table, term in zip(tables, terms, strict=True)
    ]
    offsets = [int(inv) - table.origin for inv, table in zip(inverted, tables, strict=True)]
    low, high = _range(unit, accumulators)
    sum_bits = max(bits_of(min(low, -1), high), table_bits, inputs) + 1
    widths = entry_bits(tables, bits)
    words = [word for table in tables for word in entries(table, widths)]
    segment = f", u{n}[{table_bits - 1}:{fraction}]" if fraction < table_bits else ""
    several = turns > 1
    chosen = [f"kept[{c * inputs} +: {inputs}]" for c in unit.channels]
    address = f"{{turn_3{segment}}}" if several else (segment[2:] or "1'b0")
    if not several and not segment:
        words = words * 2
    value = "largest" if pooled else "y"
    lines = [
        *rom(f"table{n}", words, sum(widths)),
        f"\treg [{inputs - 1}:0] chosen{n};",
        f"\treg invert{n};",
        f"\treg signed [{sum_bits - 1}:0] offset{n}, d{n};",
        f"\treg [{table_bits - 1}:0] u{n};",
        f"\treg [{max(fraction, 1) - 1}:0] lower{n};",
        f"\treg [{sum(widths) - 1}:0] found{n};",
        f"\treg [{bits - 1}:0] y{n};",
        f"\treg [{bits * turns - 1}:0] result{n};",
        "\talways @(posedge clk) begin",
        *_chosen(f"chosen{n}", chosen, "\t\t"),
        *_chosen(f"offset{n}", [literal(value, sum_bits) for value in offsets], "\t\t"),
        *_chosen(f"invert{n}", [f"1'b{int(inv)}" for inv in inverted], "\t\t"),
        f"\t\td{n} <= ({operand(f'chosen{n}', True)} "
        f"^ $signed({{{sum_bits}{{invert{n}}}}})) + offset{n};",
        f"\t\tu{n} <= {clipped(f'd{n}', table_bits, low, high)};",
        f"\t\tfound{n} <= table{n}[{address}];",
        f"\t\tlower{n} <= u{n};",
        f"\t\ty{n} <= {looked_up(f'found{n}', f'lower{n}', widths)};",
        f"\t\tif (works[{5 if pooled else 4}] & ends[{5 if pooled else 4}]) "
        + (f"result{n} <= {{{value}{n}, result{n}}} >> {bits};" if not several else
           f"result{n} <= {{{value}{n}, result{n}[{bits * turns - 1}:{bits}]}};"),
        "\tend",
    ]  # fmt: skip
    if pooled:
        flip = 2 ** (bits - 1) if outputs.signed else 0
        order = f"(y{n} ^ {literal(flip, bits)}) > (before{n} ^ {literal(flip, bits)})"
        lines += [
            f"\treg [{bits - 1}:0] line{n} [0:{turns - 1}];",
            f"\treg [{bits - 1}:0] before{n}, largest{n};",
            f"\twire [{bits - 1}:0] now{n} = begins[4] | {order} ? y{n} : before{n};",
            "\talways @(posedge clk) begin",
            f"\t\tlargest{n} <= now{n};",
            "\t\tif (works[4]) begin",
            f"\t\t\tline{n}[0] <= now{n};",
            f"\t\t\tfor (int i = 1; i < {turns - 1}; i++) line{n}[i] <= line{n}[i-1];",
            # Behind a reset: the register behind a shift register is none of its.
            f"\t\t\tbefore{n} <= {f'line{n}[{turns - 2}]' if several else f'now{n}'};",
            "\t\tend",
            f"\t\tif (rst) before{n} <= 0;",
            "\tend",
        ]
    return lines


def _chosen(target: str, values: Sequence[str], indent: str) -> list[str]:
    """Return the assignment of the value whose turn it is."""
    if len(set(values)) == 1:
        return [f"{indent}{target} <= {values[0]};"]
    cases = [f"{indent}\t{turn}: {target} <= {value};" for turn, value in enumerate(values)]
    cases[-1] = f"{indent}\tdefault: {target} <= {values[-1]};"
    return [f"{indent}case (turn)", *cases, f"{indent}endcase"]


def _range(unit: Unit, accumulators: Tensor) -> tuple[int, int]:
    """Return the smallest and largest difference from the origin of all channels."""
    ends = np.array([
        (table.sign * bound[channel] - table.origin)
        for channel, table in zip(unit.channels, unit.tables, strict=True)
        for bound in (accumulators.low, accumulators.high)
    ])  # fmt: skip
    return int(ends.min()), int(ends.max())
