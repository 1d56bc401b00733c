"""A dense layer as SystemVerilog: lanes that go through the nonzero weights, one a clock each.

All lanes work on the same output, on inputs of their own. A memory says what they do: {last, first,
bias} of the output and {weight, index} of each lane. The accumulator starts at the bias, so that it
counts from the table's origin; outputs are shifted into the result one by one.
"""

from dataclasses import dataclass

import numpy as np

from build.sparse.emit import (
    Module,
    clipped,
    entries,
    entry_bits,
    looked_up,
    operand,
    ports,
    rom,
)
from build.sparse.network import Linear, Requantize, Tensor, bits_of
from build.sparse.schedule import Lanes
from build.sparse.tables import Table, table_of


@dataclass(frozen=True)
class Rows:
    """A dense layer's outputs with the signs and biases that their tables want."""

    weights: np.ndarray  # int64 (outputs, inputs)
    bias: np.ndarray  # int64 (outputs,)
    tables: tuple[Table, ...]  # of one size; empty for the last layer

    def range(self, inputs: Tensor) -> tuple[int, int]:
        """Return the smallest and largest value of the accumulator, the biases among them."""
        ends = np.stack([self.weights * inputs.low, self.weights * inputs.high])
        low = self.bias + np.minimum(ends.min(axis=0), 0).sum(axis=1)
        high = self.bias + np.maximum(ends.max(axis=0), 0).sum(axis=1)
        return int(low.min()), int(high.max())


def rows_of(layer: Linear, quantizer: Requantize | None) -> Rows:
    """Return the outputs of a layer with the quantizer behind it, None for the last layer."""
    weights, bias = layer.matrix, layer.bias
    if quantizer is None:
        return Rows(weights, bias, ())
    stairs = [
        (at, values, quantizer.name)
        for at, values in zip(quantizer.thresholds, quantizer.values, strict=True)
    ]
    bits = max(max(table_of(*stair).bits for stair in stairs), 1)
    # One memory for all rows: the segments of each are as fine as the finest's.
    fraction = min(table_of(*stair, bits).fraction for stair in stairs)
    tables = [table_of(*stair, bits, fraction) for stair in stairs]
    signs = np.array([table.sign for table in tables])
    origins = np.array([table.origin for table in tables])
    return Rows(weights * signs[:, None], bias * signs - origins, tuple(tables))


def dense_module(name: str, rows: Rows, lanes: Lanes, inputs: Tensor, outputs: Tensor) -> Module:
    """Return the module of a dense layer.

    Args:
        name: of the module.
        rows: from `rows_of`.
        lanes: from `schedule.lanes_for`.
        inputs: the layer's input.
        outputs: of the quantizer; the scores for the last layer.
    """
    count, step_bits = len(rows.bias), max((lanes.clocks - 1).bit_length(), 1)
    low, high = rows.range(inputs)
    bits = bits_of(min(low, -1), high)
    weight_bits = bits_of(min(int(rows.weights.min()), -1), int(rows.weights.max()))
    index_bits = [max((len(lane) - 1).bit_length(), 1) for lane in lanes.columns]
    top = sum(index_bits) + weight_bits * len(index_bits)
    # Clocks from a step to the shift that its output needs: see the stages below.
    behind = 9 if rows.tables else 6
    span = count * outputs.bits
    steps = _steps(rows, lanes, weight_bits, index_bits, bits)
    lines = [
        f"module {name} ({ports(inputs.channels * inputs.bits, span)});",
        f"\treg [{inputs.channels * inputs.bits - 1}:0] x;",
        f"\treg [{step_bits - 1}:0] step;",
        "\treg running;",
        f"\treg [{behind - 1}:0] ends, works;",
        f"\twire ending = running & step == {lanes.clocks - 1};",
        *rom("steps", steps, top + bits + 2, "block" if len(steps) > 64 else ""),
        f"\treg [{top + bits + 1}:0] word;",
        f"\treg [{bits - 1}:0] bias, bias_1, bias_2;",
        "\treg [2:0] first, last;",
        f"\treg signed [{bits - 1}:0] total, sum;",
        "\treg done;",
        f"\treg [{span - 1}:0] result;",
    ]
    at = 0
    for number, (lane, index) in enumerate(zip(lanes.columns, index_bits, strict=True)):
        lines += _lane(number, lane, at, index, weight_bits, inputs)
        size = inputs.bits + weight_bits + number
        lines.append(f"\twire signed [{size}:0] added{number};")
        before = f"added{number - 1} + " if number else ""
        lines.append(f"\tassign added{number} = {before}product{number};")
        at += weight_bits + index
    lines += [
        "\talways @(posedge clk) begin",
        "\t\tif (in_valid) x <= in_data;",
        "\t\tstep <= in_valid ? 0 : step + 1'b1;",
        "\t\trunning <= ~rst & (in_valid | (running & ~ending));",
        "\t\tends <= rst ? 0 : {ends, ending};",
        "\t\tworks <= rst ? 0 : {works, running};",
        "\t\tword <= steps[step];",
        f"\t\tbias <= word[{top} +: {bits}]; bias_1 <= bias; bias_2 <= bias_1;",
        f"\t\tfirst <= {{first, word[{top + bits}]}}; last <= {{last, word[{top + bits + 1}]}};",
        f"\t\ttotal <= added{len(index_bits) - 1};",
        # The first operand of a sum is a register: the choice of the other takes no LUT then.
        "\t\tsum <= total + (first[2] ? $signed(bias_2) : sum);",
        "\t\tdone <= works[3] & last[2];",
        "\tend",
    ]
    if rows.tables:
        lines += _lookup(rows.tables, low, high, count, outputs)
        shifted, done = "y", "done_3"
    else:
        shifted, done = operand("sum", True), "done"
    # The first output ends up lowest.
    kept = f", result[{span - 1}:{outputs.bits}]" if count > 1 else ""
    lines += [
        f"\twire [{outputs.bits - 1}:0] shifted = {shifted};",
        f"\talways @(posedge clk) if ({done}) result <= {{shifted{kept}}};",
        "\tassign out_data = result;",
        f"\tassign out_valid = ends[{behind - 1}];",
        "endmodule",
    ]
    return Module(name, "\n".join(lines) + "\n", lanes.clocks + behind)


def _steps(
    rows: Rows, lanes: Lanes, weight_bits: int, index_bits: list[int], bits: int
) -> list[int]:
    """Return the word of every clock."""
    words = []
    for weights, bias in zip(rows.weights, rows.bias.tolist(), strict=True):
        at = [[i for i, column in enumerate(lane) if weights[column]] for lane in lanes.columns]
        count = max(*map(len, at), 1)
        for step in range(count):
            word, place = 0, 0
            for lane, indices, index_size in zip(lanes.columns, at, index_bits, strict=True):
                if step < len(indices):
                    weight = int(weights[lane[indices[step]]]) & (2**weight_bits - 1)
                    word |= (weight << index_size | indices[step]) << place
                place += weight_bits + index_size
            word |= (bias & (2**bits - 1)) << place
            words.append(
                word | (step == 0) << (place + bits) | (step == count - 1) << (place + bits + 1)
            )
    return words


def _lane(
    number: int,
    columns: tuple[int, ...],
    at: int,
    index_bits: int,
    weight_bits: int,
    inputs: Tensor,
) -> list[str]:
    """Return a lane: it selects one of its inputs and multiplies it; `at`: its place in a word."""
    n = str(number)
    lines = [
        f"\treg [{weight_bits - 1}:0] weight{n};",
        f"\treg [{inputs.bits - 1}:0] value{n};",
        f"\treg signed [{inputs.bits + weight_bits}:0] product{n};",
        *_product(number, weight_bits, inputs),
    ]
    for bit in range(inputs.bits):
        wires = [f"x[{column * inputs.bits + bit}]" for column in reversed(columns)]
        lines.append(f"\twire [{len(columns) - 1}:0] plane{n}_{bit} = {{{', '.join(wires)}}};")
    lines += [
        "\talways @(posedge clk) begin",
        f"\t\tweight{n} <= word[{at + index_bits} +: {weight_bits}];",
        *(
            f"\t\tvalue{n}[{bit}] <= plane{n}_{bit}[word[{at} +: {index_bits}]];"
            for bit in range(inputs.bits)
        ),
        f"\t\tproduct{n} <= part{n}_{weight_bits - 1};",
        "\tend",
    ]
    return lines


def _product(number: int, weight_bits: int, inputs: Tensor) -> list[str]:
    """Return the sum of a lane's value at every bit of its weight (two's complement).

    No multiplication, so that no DSP slice is taken; and a wire a sum, each just wide enough:
    Yosys would make one expression a tree of full adders, two LUTs each, instead of carry chains.
    """
    n, value = str(number), operand(f"value{number}", inputs.signed)
    lines, before = [], f"weight{n}[0] ? {value} : 0"
    for bit in range(weight_bits):
        if bit:
            sign = "-" if bit == weight_bits - 1 else "+"
            before = f"part{n}_{bit - 1} {sign} (weight{n}[{bit}] ? ({value} <<< {bit}) : 0)"
        lines += [
            f"\twire signed [{inputs.bits + bit + 1}:0] part{n}_{bit};",
            f"\tassign part{n}_{bit} = {before};",
        ]
    return lines


def _lookup(
    tables: tuple[Table, ...], low: int, high: int, rows: int, outputs: Tensor
) -> list[str]:
    """Return clipping and table, one memory for all rows: {row, segment}."""
    widths = entry_bits(tables, outputs.bits)
    bits, fraction = tables[0].bits, tables[0].fraction
    words = [word for table in tables for word in entries(table, widths)]
    segment = f", u[{bits - 1}:{fraction}]" if fraction < bits else ""
    return [
        *rom("stairs", words, sum(widths)),
        f"\treg [{bits - 1}:0] u;",
        f"\treg [{max(fraction, 1) - 1}:0] lower;",
        f"\treg [{sum(widths) - 1}:0] found;",
        f"\treg [{outputs.bits - 1}:0] y;",
        f"\treg [{max((rows - 1).bit_length(), 1) - 1}:0] row;",
        "\treg done_1, done_2, done_3;",
        "\talways @(posedge clk) begin",
        f"\t\tu <= {clipped('sum', bits, low, high)};",
        "\t\tdone_1 <= done;",
        f"\t\tfound <= stairs[{{row{segment}}}];",
        "\t\tlower <= u;",
        "\t\tdone_2 <= done_1;",
        "\t\trow <= in_valid ? 0 : row + done_1;",
        f"\t\ty <= {looked_up('found', 'lower', widths)};",
        "\t\tdone_3 <= done_2;",
        "\tend",
    ]
