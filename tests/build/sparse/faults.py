"""Faults in generated SystemVerilog, all in one simulator: a file says which of them is there."""

import dataclasses
import re
from collections import defaultdict

import numpy as np

from build.sparse.adders import adder_graph
from build.sparse.emit import entry_bits
from build.sparse.emit_dense import rows_of
from build.sparse.lookups import lookup_of
from build.sparse.network import Linear, MaxPool, Requantize, bits_of
from build.sparse.schedule import SERIAL, lanes_for, spacings
from build.sparse.shared import share

FILE = "fault.hex"
MEMORIES = ("table", "shared table", "ROM")  # kinds whose place is a memory; of others a line
CONSTANT = r"\d+'([bd])(\d+)(?=;$)"
SHIFT = r"(?<= <<< )(\d+)(?=\))|(?<= - )(\d+)(?= \+:)"
SEGMENTS = 6  # looked at a table: there are thousands


@dataclasses.dataclass(frozen=True)
class Fault:
    """A line of a module that a fault replaces, or the bit of a memory's word that it inverts.

    Attributes:
        kind: of what it changes: a sign or a shift of an adder, a memory's word, a constant.
        unit: the layer whose stream must be the first that differs.
        module: file with the constant.
        place: the line of an adder or a constant, or the memory's name.
        word: of the memory.
        bit: of the word, or of the line's constant.
    """

    kind: str
    unit: str
    module: str
    place: str
    word: int = 0
    bit: int = 0


def candidates(made, network, frames):
    """Return faults that these frames must show, by unit and kind."""
    found = defaultdict(list)
    modules = {unit.name: unit.module for unit in made.units}
    before, layers = frames, network.layers
    spacing = spacings(network, made.clocks)
    for index, layer in enumerate(layers):
        after = layer.compute(before)
        following = layers[index + 1] if index + 1 < len(layers) else None
        tensor, faults = network.tensors[index], []
        serial = tensor.positions > 1 and spacing[index] >= SERIAL
        text = made.accelerator.design.sources.get(f"m_{layer.name}.sv", "")
        if isinstance(layer, Linear) and modules.get(layer.name) == f"m_{layer.name}":
            if tensor.positions > 1:
                faults = _adders(layer, text, "serial " if serial else "")
            else:
                quantizer = following if isinstance(following, Requantize) else None
                unit = quantizer.name if quantizer else layer.name
                faults = list(_weights(unit, layer, quantizer, text, made.clocks, before))
                if quantizer:
                    faults += _stairs(unit, layer, quantizer, text, after)
        elif isinstance(layer, Requantize) and serial:
            pool = following if isinstance(following, MaxPool) else None
            unit = pool.name if pool else layer.name
            text = made.accelerator.design.sources[f"m_{unit}.sv"]
            faults = _shared(unit, layer, pool, network, index, before, spacing[index], text)
        elif isinstance(layer, Requantize) and tensor.positions > 1:
            faults = _read(layer, layers[index - 1], network, index, before, text)
        for fault in faults:
            found[fault.unit, fault.kind].append(fault)
        before = after
    return dict(found)


def _adders(layer, text, how):
    """Signs of adders, and the shifts of their operands."""
    for line in text.splitlines():
        fault = Fault(f"{how}sign", layer.name, f"m_{layer.name}.sv", line)
        parallel = re.fullmatch(r"\tassign n\d+_0 = .+ [+-] .+;", line)
        if parallel or line.startswith("\tsparse_digit_adder "):
            yield fault
            if re.search(SHIFT, line):
                yield dataclasses.replace(fault, kind=f"{how}shift")


def _shown(wrong, right, bits, signed, size):
    """Whether values (N, positions) of so many bits still differ behind the pooling."""
    least = 2 ** (bits - 1) if signed else 0
    wrong = ((wrong + least) & (2**bits - 1)) - least  # as the hardware wraps
    pool = MaxPool("", size)
    return not np.array_equal(pool.compute(wrong[:, None]), pool.compute(right[:, None]))


def _words(table, widths, segments, compute, shown, rng):
    """Yield (segment, bit) of words whose change is shown: base, threshold and step in turns.

    Args:
        table: a Lookup or Table.
        widths: bits of base, threshold and step in a word.
        segments: that are read.
        compute: the values of a table.
        shown: whether values differ.
        rng: chooses segments and bits.
    """
    places = zip(("base", "threshold", "step"), np.cumsum([0, *widths]), widths, strict=False)
    parts = [part for part in places if part[2]]
    for turn, segment in enumerate(rng.permutation(segments)[:SEGMENTS].tolist()):
        name, at, bits = parts[turn % len(parts)]
        bit = int(rng.integers(bits))
        column = getattr(table, name).copy()
        column[segment] ^= 1 << bit
        if shown(compute(dataclasses.replace(table, **{name: column}))):
            yield segment, int(at) + bit


def _read(layer, matrix, network, index, sums, text):
    """Words of the memories that parallel quantizers read, and the words of what lies above."""
    rng = np.random.default_rng(index)
    terms, tensor, result = adder_graph(matrix.matrix).outputs, *network.tensors[index : index + 2]
    reads = re.findall(r" e(\d+) <= (t\d+)\[\{(?:1'd(\d), )?u\d+\[", text)
    for channel, memory, half in ((int(c), m, int(h or 0)) for c, m, h in reads):
        at, values, x = layer.thresholds[channel], layer.values[channel], sums[:, channel]
        low, high = int(tensor.low[channel]), int(tensor.high[channel])
        if terms[channel][2] < 0:
            at, values, x, low, high = 1 - at[::-1], values[::-1], -x, -high, -low
        found = lookup_of(at, values, low, high, layer.name)
        least = int(result.low[channel])
        bits = bits_of(least, int(result.high[channel]))
        right = found.compute(x)

        def shown(wrong, right=right, bits=bits, signed=least < 0):
            return _shown(wrong, right, bits, signed, 1)

        taken = np.maximum(x[x < found.high], found.low)
        segments = np.unique(taken >> found.fraction & (2**found.bits - 1))
        with_step = found.fraction and not (found.step == 1).all()
        widths = (bits, found.fraction, int(found.step.max()).bit_length() if with_step else 0)
        file = f"m_{layer.name}.sv"
        for segment, bit in _words(
            found, widths, segments, lambda t, x=x: t.compute(x), shown, rng
        ):
            yield Fault("table", layer.name, file, memory, half * 2**found.bits + segment, bit)
        last = re.search(rf"^.* e{channel} <= \d+'d\d+;$", text, re.MULTILINE)
        if last and (x >= found.high).any():
            yield Fault("last value", layer.name, file, last[0], bit=int(rng.integers(bits)))


def _shared(unit, layer, pool, network, index, sums, clocks, text):
    """Words of the memories that quantizers share, and the offsets and signs of each turn."""
    rng = np.random.default_rng(index)
    tensor, result = network.tensors[index : index + 2]
    terms = adder_graph(network.layers[index - 1].matrix).outputs
    bits, signed = result.bits, result.signed
    units = share(layer, clocks, None if pool else tensor).units
    for number, (turn, channel, table, tables) in (
        (number, (turn, channel, table, each.tables))
        for number, each in enumerate(units)
        for turn, (channel, table) in enumerate(zip(each.channels, each.tables, strict=True))
    ):
        x = sums[:, channel]
        right = table.compute(x)

        def shown(wrong, right=right):
            return _shown(wrong, right, bits, signed, pool.size if pool else 1)

        u = np.clip(table.sign * x - table.origin, 0, 2**table.bits - 1)
        words = 2 ** (table.bits - table.fraction)
        picked = _words(table, entry_bits(tables, bits), np.unique(u >> table.fraction),
                        lambda t, x=x: t.compute(x), shown, rng)  # fmt: skip
        for segment, bit in picked:
            word = turn * words + segment
            yield Fault("shared table", unit, f"m_{unit}.sv", f"table{number}", word, bit)
        when = f"(?:{turn}|default)" if turn == len(tables) - 1 else str(turn)
        inverted = (table.sign < 0) != (terms[channel] is not None and terms[channel][2] < 0)
        offset = int(inverted) - table.origin
        line = re.search(rf"^\t+{when}: offset{number} <= \d+'d\d+;$", text, re.MULTILINE)
        bit = int(rng.integers(table.bits))
        moved = table.origin + (offset - (offset ^ 1 << bit))
        if line and shown(dataclasses.replace(table, origin=moved).compute(x)):
            yield Fault("shared offset", unit, f"m_{unit}.sv", line[0], bit=bit)
        line = re.search(rf"^\t+{when}: invert{number} <= 1'b[01];$", text, re.MULTILINE)
        turned = dataclasses.replace(table, sign=1, origin=0)
        # d = (x ^ sign) + offset becomes (~x ^ sign) + offset
        if line and shown(turned.compute(2 * offset - 1 - (table.sign * x - table.origin))):
            yield Fault("shared sign", unit, f"m_{unit}.sv", line[0])


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
    """Return so many faults at random places, evenly over all units and kinds, one a line."""
    shuffled = {key: [faults[i] for i in rng.permutation(len(faults))]
                for key, faults in found.items() if faults}  # fmt: skip
    picked, lines = [], set()
    while len(picked) < count:
        for faults in shuffled.values():
            if not faults or len(picked) == count:
                continue
            fault = faults.pop()
            line = fault.module, fault.place
            if fault.kind in MEMORIES or line not in lines:
                picked.append(fault)
                lines.add(line)
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
    """Return a module's text with a fault that is there if it is the one of that number."""
    here, line = f"fault[0] == {number}", fault.place
    if fault.kind in ("sign", "shift", "serial sign", "serial shift"):
        assert text.count(f"{line}\n") == 1
    if fault.kind == "sign":
        wire, left, sign, right = re.fullmatch(r"(\tassign \w+ = )(.+) ([+-]) (.+);", line).groups()
        other = "-" if sign == "+" else "+"
        return text.replace(line, f"{wire}{here} ? {left} {other} {right} : {left} {sign} {right};")
    if fault.kind.endswith("shift"):
        shift = int(re.search(SHIFT, line)[0])
        changed = re.sub(SHIFT, f"({here} ? {shift - 1} : {shift})", line, count=1)
        return text.replace(line, changed)
    if fault.kind == "serial sign":
        digit, sign, name, wire = re.search(
            r"DIGIT\((\d+)\), \.SUBTRACT\((\d)\)\) (\w+) .*\.sum\((\w+)\)", line
        ).groups()
        right = line.replace(f".sum({wire})", f".sum({name}_right)")
        wrong = line.replace(f".sum({wire})", f".sum({name}_wrong)")
        wrong = wrong.replace(f"SUBTRACT({sign}))", f"SUBTRACT({1 - int(sign)}))")
        wrong = wrong.replace(f" {name} ", f" {name}_other ")
        lines = [
            f"\twire [{int(digit) - 1}:0] {name}_right, {name}_wrong;",
            *(right, wrong),
            f"\tassign {wire} = {here} ? {name}_wrong : {name}_right;",
        ]
        return text.replace(line, "\n".join(lines))
    if fault.kind in ("shared offset", "shared sign", "last value"):
        assert text.count(f"{line}\n") == 1
        constant = re.search(CONSTANT, line)
        other = int(constant[2]) ^ 1 << fault.bit
        wrong = constant[0].replace(f"{constant[1]}{constant[2]}", f"{constant[1]}{other}")
        return text.replace(line, f"{line[: constant.start()]}{here} ? {wrong} : {constant[0]};")
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
