"""A dense layer as SystemVerilog: lanes that go through the nonzero weights, one a clock.

A lane's memory holds {last, weight, index}; `last` ends an output. Its accumulator starts at the
bias, so that it counts from the table's origin; outputs are shifted into the result one by one.
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
class Lane:
    """One lane's outputs: rows of the matrix with the signs and biases that its tables want."""

    rows: tuple[int, ...]
    weights: np.ndarray  # int64 (rows, inputs)
    bias: np.ndarray  # int64 (rows,)
    tables: tuple[Table, ...]  # of one size; empty for the last layer


def lanes_of(layer: Linear, quantizer: Requantize | None, lanes: Lanes) -> list[Lane]:
    """Return the lanes of a layer with the quantizer behind it, None for the last layer."""
    found = []
    for rows in lanes.rows:
        chosen = np.array(rows)
        weights, bias = layer.weights[chosen, :, 0], layer.bias[chosen]
        tables: list[Table] = []
        if quantizer is not None:
            stairs = [(quantizer.thresholds[r], quantizer.values[r], quantizer.name) for r in rows]
            bits = max(max(table_of(*stair).bits for stair in stairs), 1)
            # One memory for all rows: the segments of each are as fine as the finest's.
            fraction = min(table_of(*stair, bits).fraction for stair in stairs)
            tables = [table_of(*stair, bits, fraction) for stair in stairs]
            signs = np.array([table.sign for table in tables])
            weights = weights * signs[:, None]
            bias = bias * signs - [table.origin for table in tables]
        found.append(Lane(rows, weights, bias, tuple(tables)))
    return found


def dense_module(
    name: str, lanes: list[Lane], clocks: int, inputs: Tensor, outputs: Tensor
) -> Module:
    """Return the module of a dense layer.

    Args:
        name: of the module.
        lanes: from `lanes_of`.
        clocks: of the longest lane.
        inputs: the layer's input.
        outputs: of the quantizer; the scores for the last layer.
    """
    count = sum(len(lane.rows) for lane in lanes)
    step_bits = max((clocks - 1).bit_length(), 1)
    # Clocks from a step to the shift that its output needs: see the stages in `_lane`.
    behind = 8 if lanes[0].tables else 5
    lines = [
        f"module {name} ({ports(inputs.channels * inputs.bits, count * outputs.bits)});",
        f"\treg [{inputs.channels * inputs.bits - 1}:0] x;",
        f"\treg [{step_bits - 1}:0] step;",
        "\treg running;",
        f"\treg [{behind - 1}:0] ends;",
        f"\twire ending = running & step == {clocks - 1};",
        "\talways @(posedge clk) begin",
        "\t\tif (in_valid) x <= in_data;",
        "\t\tstep <= in_valid ? 0 : step + 1'b1;",
        "\t\trunning <= ~rst & (in_valid | (running & ~ending));",
        "\t\tends <= rst ? 0 : {ends, ending};",
        "\tend",
        f"\tassign out_valid = ends[{behind - 1}];",
    ]
    for number, lane in enumerate(lanes):
        lines += _lane(number, lane, clocks, inputs, outputs)
        for place, row in enumerate(lane.rows):
            lines.append(
                f"\tassign out_data[{row * outputs.bits} +: {outputs.bits}] = "
                f"result{number}[{place * outputs.bits} +: {outputs.bits}];"
            )
    lines.append("endmodule")
    return Module(name, "\n".join(lines) + "\n", clocks + behind)


def _steps(lane: Lane, clocks: int) -> list[tuple[int, int, int]]:
    """Return (last, weight, index) of every clock."""
    steps = []
    for row in lane.weights:
        at = np.flatnonzero(row).tolist() or [0]
        steps += [(int(index == at[-1]), int(row[index]), index) for index in at]
    return steps + [(0, 0, 0)] * (clocks - len(steps))


def _product(weight: str, bits: int, value: str) -> str:
    """Return weight (two's complement) times value as a sum of rows: no DSP slice is taken."""
    rows = [f"({weight}[{bit}] ? ({value} <<< {bit}) : 0)" for bit in range(bits)]
    return " + ".join(rows[:-1] or ["0"]) + f" - {rows[-1]}"


def _lane(number: int, lane: Lane, clocks: int, inputs: Tensor, outputs: Tensor) -> list[str]:
    """Return a lane: read, select, multiply, accumulate, then look up and shift."""
    n, steps = str(number), _steps(lane, clocks)
    weight_bits = bits_of(min(int(lane.weights.min()), -1), int(lane.weights.max()))
    index_bits = max((inputs.channels - 1).bit_length(), 1)
    words = [
        last << (weight_bits + index_bits) | (weight & (2**weight_bits - 1)) << index_bits | index
        for last, weight, index in steps
    ]
    top = weight_bits + index_bits
    low, high = _range(lane, inputs)
    bits = bits_of(min(low, -1), high)
    row_bits = max((len(lane.rows) - 1).bit_length(), 1)
    span = outputs.bits * len(lane.rows)
    lines = [
        *rom(f"steps{n}", words, top + 1),
        *rom(f"bias{n}", [int(value) for value in lane.bias], bits),
        f"\treg [{top}:0] entry{n};",
        f"\treg [{weight_bits - 1}:0] weight{n};",
        f"\treg [{inputs.bits - 1}:0] value{n};",
        f"\treg signed [{bits - 1}:0] product{n}, sum{n};",
        f"\treg [2:0] valid{n};",
        f"\treg last{n}, last{n}_1, done{n}, fresh{n};",
        f"\treg [{row_bits - 1}:0] row{n};",
        f"\treg [{span - 1}:0] result{n};",
        "\talways @(posedge clk) begin",
        f"\t\tentry{n} <= steps{n}[step];",
        f"\t\tvalid{n} <= {{valid{n}, running}};",
        f"\t\tweight{n} <= entry{n}[{index_bits} +: {weight_bits}];",
        f"\t\tvalue{n} <= x[entry{n}[{index_bits - 1}:0]*{inputs.bits} +: {inputs.bits}];",
        f"\t\tlast{n} <= entry{n}[{top}];",
        f"\t\tproduct{n} <= "
        f"{_product(f'weight{n}', weight_bits, operand(f'value{n}', inputs.signed))};",
        f"\t\tlast{n}_1 <= last{n};",
        f"\t\tdone{n} <= valid{n}[2] & last{n}_1;",
        f"\t\tif (valid{n}[2]) begin",
        f"\t\t\tsum{n} <= (fresh{n} ? $signed(bias{n}[row{n}]) : sum{n}) + product{n};",
        f"\t\t\tfresh{n} <= last{n}_1;",
        f"\t\t\trow{n} <= row{n} + last{n}_1;",
        "\t\tend",
        f"\t\tif (in_valid) begin fresh{n} <= 1; row{n} <= 0; end",
        "\tend",
    ]
    if not lane.tables:
        shifted, done = operand(f"sum{n}", True), f"done{n}"
    else:
        lines += _lookup(number, lane, low, high, row_bits, outputs)
        shifted, done = f"y{n}", f"done{n}_3"
    # The first output ends up lowest.
    lines.append(f"\twire [{outputs.bits - 1}:0] shifted{n} = {shifted};")
    kept = f", result{n}[{span - 1}:{outputs.bits}]" if len(lane.rows) > 1 else ""
    lines.append(f"\talways @(posedge clk) if ({done}) result{n} <= {{shifted{n}{kept}}};")
    return lines


def _range(lane: Lane, inputs: Tensor) -> tuple[int, int]:
    """Return the smallest and largest value of the accumulator and of the memory of biases."""
    ends = np.stack([lane.weights * inputs.low, lane.weights * inputs.high])
    low = lane.bias + np.minimum(ends.min(axis=0), 0).sum(axis=1)
    high = lane.bias + np.maximum(ends.max(axis=0), 0).sum(axis=1)
    return int(low.min()), int(high.max())


def _lookup(
    number: int, lane: Lane, low: int, high: int, row_bits: int, outputs: Tensor
) -> list[str]:
    """Return clipping and table, one memory for all rows: {row, segment}."""
    n = str(number)
    widths = entry_bits(lane.tables, outputs.bits)
    bits, fraction = lane.tables[0].bits, lane.tables[0].fraction
    words = [word for table in lane.tables for word in entries(table, widths)]
    segment = f", u{n}[{bits - 1}:{fraction}]" if fraction < bits else ""
    return [
        *rom(f"table{n}", words, sum(widths)),
        f"\treg [{bits - 1}:0] u{n};",
        f"\treg [{max(fraction, 1) - 1}:0] lower{n};",
        f"\treg [{sum(widths) - 1}:0] found{n};",
        f"\treg [{outputs.bits - 1}:0] y{n};",
        f"\treg [{row_bits - 1}:0] looked{n};",
        f"\treg done{n}_1, done{n}_2, done{n}_3;",
        "\talways @(posedge clk) begin",
        f"\t\tu{n} <= {clipped(f'sum{n}', bits, low, high)};",
        f"\t\tdone{n}_1 <= done{n};",
        f"\t\tfound{n} <= table{n}[{{looked{n}{segment}}}];",
        f"\t\tlower{n} <= u{n};",
        f"\t\tdone{n}_2 <= done{n}_1;",
        f"\t\tlooked{n} <= in_valid ? 0 : looked{n} + done{n}_1;",
        f"\t\ty{n} <= {looked_up(f'found{n}', f'lower{n}', widths)};",
        f"\t\tdone{n}_3 <= done{n}_2;",
        "\tend",
    ]
