"""Faults in generated SystemVerilog, all in one simulator: a file says which of them is there."""

import dataclasses
import re
from collections import defaultdict

import numpy as np

from build.sparse.adders import adder_graph
from build.sparse.emit_dense import rows_of
from build.sparse.lookups import lookup_of
from build.sparse.network import Linear, Requantize
from build.sparse.schedule import lanes_for

FILE = "fault.hex"


@dataclasses.dataclass(frozen=True)
class Fault:
    """A line of a module that a fault replaces, or the bit of a memory's word that it inverts."""

    kind: str
    unit: str
    module: str
    place: str
    word: int = 0
    bit: int = 0


def candidates(made, network, frames):
    """Return faults that these frames must show, by unit: signs of adders, words that are read."""
    found = defaultdict(list)
    modules = {unit.name: unit.module for unit in made.units}
    before, layers = frames, network.layers
    for index, layer in enumerate(layers):
        after = layer.compute(before)
        text = made.accelerator.design.sources.get(f"m_{layer.name}.sv", "")
        tensor = network.tensors[index]
        if modules.get(layer.name) == f"m_{layer.name}" and "assign n" in text:
            for line in re.findall(r"^\tassign n\d+_0 = .+ [+-] .+;$", text, re.MULTILINE):
                found[layer.name].append(Fault("adder", layer.name, f"m_{layer.name}.sv", line))
        if isinstance(layer, Requantize) and tensor.positions > 1:
            found[layer.name] += _read(layer, layers[index - 1], tensor, before, text)
        if isinstance(layer, Linear) and tensor.positions == 1:
            quantizer = layers[index + 1] if isinstance(layers[index + 1], Requantize) else None
            unit = quantizer.name if quantizer else layer.name
            found[unit] += _weights(unit, layer, quantizer, text, made.clocks, before)
            if quantizer:
                found[unit] += _stairs(unit, layer, quantizer, text, after)
        before = after
    return dict(found)


def _read(layer, matrix, tensor, sums, text):
    """The values of words that a quantizer's memories are read at."""
    terms = adder_graph(matrix.matrix).outputs
    reads = re.findall(r" e(\d+) <= (t\d+)\[\{(?:1'd(\d), )?u\d+\[", text)
    for channel, memory, half in ((int(c), m, int(h or 0)) for c, m, h in reads):
        at, values, x = layer.thresholds[channel], layer.values[channel], sums[:, channel]
        low, high = int(tensor.low[channel]), int(tensor.high[channel])
        if terms[channel][2] < 0:
            at, values, x, low, high = 1 - at[::-1], values[::-1], -x, -high, -low
        found = lookup_of(at, values, low, high, layer.name)
        taken = np.maximum(x[x < found.high], found.low)
        bits = max(int(np.abs(values).max()).bit_length(), 1)
        for segment in np.unique(taken >> found.fraction & (2**found.bits - 1)).tolist():
            word = half * 2**found.bits + segment
            yield Fault("table", layer.name, f"m_{layer.name}.sv", memory, word, segment % bits)


def _weights(unit, layer, quantizer, text, clocks, x):
    """The bits of a dense layer's weights, where its input is not always zero."""
    rows = rows_of(layer, quantizer)
    lanes = lanes_for(layer.weights[:, :, 0], clocks)
    (weight_bits,) = {int(top) + 1 for top in re.findall(r"reg \[(\d+):0\] weight\d+;", text)}
    alive, start = x.any(axis=(0, 2)), 0
    for weights in rows.weights:
        at = [[column for column in lane if weights[column]] for lane in lanes.columns]
        place = 0
        for lane, columns in zip(lanes.columns, at, strict=True):
            place += max((len(lane) - 1).bit_length(), 1)
            for step, column in enumerate(columns):
                if alive[column]:
                    bit = place + (start + step) % weight_bits
                    yield Fault("ROM", unit, f"m_{layer.name}.sv", "steps", start + step, bit)
            place += weight_bits
        start += max(*map(len, at), 1)


def _stairs(unit, layer, quantizer, text, sums):
    """The values of words that a dense layer's table is read at."""
    for row, table in enumerate(rows_of(layer, quantizer).tables):
        u = np.clip(table.sign * sums[:, row] - table.origin, 0, 2**table.bits - 1)
        for segment in np.unique(u >> table.fraction).tolist():
            word = row * 2 ** (table.bits - table.fraction) + segment
            yield Fault("table", unit, f"m_{layer.name}.sv", "stairs", word, word % 4)


def chosen(found, count, rng):
    """Return so many faults at random places, evenly over all units."""
    shuffled = {unit: [faults[i] for i in rng.permutation(len(faults))]
                for unit, faults in found.items() if faults}  # fmt: skip
    picked = []
    while len(picked) < count:
        for faults in shuffled.values():
            if faults and len(picked) < count:
                picked.append(faults.pop())
    return picked


def with_faults(accelerator, faults):
    """Return an accelerator with all of them; `numbered` gives the one with a single one."""
    sources = dict(accelerator.design.sources)
    for module in {fault.module for fault in faults}:
        text = sources[module]
        head = f'\treg [15:0] fault [0:0];\n\tinitial $readmemh("{FILE}", fault);'
        text = text.replace(");\n", f");\n{head}\n", 1)
        for number, fault in enumerate(faults, 1):
            if fault.module == module:
                text = _inserted(text, number, fault)
        sources[module] = text
    design = dataclasses.replace(accelerator.design, sources=sources)
    return dataclasses.replace(accelerator, design=design)


def _inserted(text, number, fault):
    if fault.kind == "adder":
        wire, left, sign, right = re.fullmatch(
            r"(\tassign \w+ = )(.+) ([+-]) (.+);", fault.place
        ).groups()
        other = "-" if sign == "+" else "+"
        present = f"fault[0] == {number} ? {left} {other} {right} : {left} {sign} {right}"
        assert fault.place in text
        return text.replace(fault.place, f"{wire}{present};")
    # In one block with what fills the memory: the order of two would be open.
    starts = [int(s) for s in re.findall(rf" {fault.place}_(\d+) = ", text)]
    start = max(start for start in starts if start <= fault.word)
    fill = re.search(rf"\tinitial (.*{fault.place}\[{start} \+ i\] = .*;)", text)
    if fill is None:  # one more fault in this memory
        fill = re.search(rf"\tinitial begin (.*{fault.place}\[{start} \+ i\] = .*;) end", text)
    word = f"{fault.place}[{fault.word}]"
    change = f"if (fault[0] == {number}) {word} = {word} ^ (1 << {fault.bit});"
    read = "" if "readmemh" in fill[1] else f'$readmemh("{FILE}", fault); '
    return text.replace(fill[0], f"\tinitial begin {read}{fill[1]} {change} end")


def numbered(accelerator, number):
    """Return the accelerator with fault `number`, from 1; 0: without any."""
    return dataclasses.replace(
        accelerator, files={**accelerator.files, FILE: f"{number:x}\n".encode()}
    )
