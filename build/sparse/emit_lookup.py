"""The quantizers of a layer with a position every clock or two as a SystemVerilog module.

Three clocks: an accumulator below the memory's first one becomes that by the register's reset; the
memory is read, or its output reset where the accumulator lies above; the threshold is compared. The
rest is in block RAMs, of which two channels share one where it has room: it has two ports. A
staircase that is a friendly scale takes adders instead, and as many clocks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from build.sparse.adders import AdderGraph
from build.sparse.emit import Module, delayed_valid, literal, operand, ports, rom
from build.sparse.lookups import Lookup, lookup_of
from build.sparse.network import Requantize, Tensor, bits_of
from build.sparse.scales import FACTORS, Scaled, scaled_of


@dataclass(frozen=True)
class _Channel:
    """A quantizer: its memory, the accumulators it takes and the bits of its values."""

    number: int
    lookup: Lookup
    low: int
    high: int
    value_bits: int

    @property
    def step_bits(self) -> int:
        """Bits of a word's step; 0 where it is 1 throughout, or always 0."""
        if not self.lookup.fraction or (self.lookup.step == 1).all():
            return 0
        return int(self.lookup.step.max()).bit_length()

    @property
    def width(self) -> int:
        """Bits of a word: {step, threshold, base}."""
        return self.value_bits + self.lookup.fraction + self.step_bits

    def word(self, base: int, threshold: int, step: int) -> int:
        """Return a word of the memory."""
        word = base & (2**self.value_bits - 1) | threshold << self.value_bits
        return word | (step << (self.value_bits + self.lookup.fraction) if self.step_bits else 0)

    def words(self) -> list[int]:
        """Return the memory."""
        found = self.lookup
        columns = (column.tolist() for column in (found.base, found.threshold, found.step))
        return [self.word(*entry) for entry in zip(*columns, strict=True)]

    def last(self) -> int:
        """Return the word whose value is the last one, whatever the lower bits are."""
        added = self.lookup.fraction and not self.lookup.falling and not self.step_bits
        return self.word(self.lookup.last - bool(added), 0, 0)


def requantize_module(
    name: str,
    layer: Requantize,
    graph: AdderGraph,
    accumulators: Tensor,
    inputs: int,
    outputs: Tensor,
) -> Module:
    """Return the quantizers of a layer.

    Args:
        name: of the module.
        layer: the quantizers.
        graph: the adders in front; outputs of negative sign come negated.
        accumulators: the range of each channel.
        inputs: bits of each.
        outputs: the layer's result.
    """
    bits, count = outputs.bits, accumulators.channels
    lines = [f"module {name} ({ports(count * inputs, count * bits)});"]
    channels = []
    for number in range(count):
        term = graph.outputs[number]
        negated = term is not None and term[2] < 0
        low, high = int(accumulators.low[number]), int(accumulators.high[number])
        at, values = layer.thresholds[number], layer.values[number]
        value_bits = bits_of(int(outputs.low[number]), int(outputs.high[number]))
        result = f"\tassign out_data[{number * bits} +: {bits}] = "
        if not len(at):
            lines.append(f"{result}{literal(int(values[0]), bits)};")
            continue
        if layer.hands_on(number) and values[0] <= low and high <= values[-1]:
            value = f"{'-' if negated else ''}in_data[{number * inputs} +: {value_bits}]"
            lines += _handed_on(number, value_bits, value)
        else:
            if negated:
                at, values, low, high = 1 - at[::-1], values[::-1], -high, -low
            if (scaled := scaled_of(at, values)) is not None:
                lines += _scaled(number, scaled, low, high, inputs, value_bits)
            else:
                lookup = lookup_of(at, values, low, high, layer.name)
                channels.append(_Channel(number, lookup, low, high, value_bits))
        lines.append(f"{result}{operand(f'y{number}', int(outputs.low[number]) < 0)};")
    for pair in _pairs(channels):
        words = [word for channel in pair for word in channel.words()]
        memory, width = f"t{pair[0].number}", max(channel.width for channel in pair)
        lines += rom(memory, words, width, "block")
        for place, channel in enumerate(pair):
            lines += _looked_up(channel, memory, f"1'd{place}, " if len(pair) > 1 else "", inputs)
    lines += [*delayed_valid(3), "endmodule"]
    return Module(name, "\n".join(lines) + "\n", 3)


def _pairs(channels: Sequence[_Channel]) -> Iterator[list[_Channel]]:
    """Yield the channels, two at a time where a block RAM of 1024 x 18 or 2048 x 9 holds both."""
    waiting: dict[tuple[int, bool], _Channel] = {}
    for channel in channels:
        kind = channel.lookup.bits, channel.width > 9
        if channel.width > 18 or kind > (9, True) and kind != (10, False):
            yield [channel]
        elif kind in waiting:
            yield [waiting.pop(kind), channel]
        else:
            waiting[kind] = channel
    yield from ([channel] for channel in waiting.values())


def _scaled(
    number: int, scaled: Scaled, low: int, high: int, inputs: int, value_bits: int
) -> list[str]:
    """Return a channel's registers: times its factor, plus the offset, clipped.

    What lies below the last bit of a round offset is left away before it is added.
    """
    factor, digits = scaled.factor, FACTORS[scaled.factor]
    # offset - m = (offset + 1) + ~m
    added = scaled.offset + (scaled.sign < 0)
    left = min((added & -added).bit_length() - 1, scaled.right) if added else scaled.right
    added >>= left
    times = (low * factor, high * factor)
    kept = [end >> left for end in times]
    sums = sorted(added + end if scaled.sign > 0 else added + ~end for end in kept)
    values = [end >> scaled.right - left for end in sums]
    m, u, v, y = (f"{name}{number}" for name in "muvy")

    def signed(ends: Sequence[int]) -> str:
        return f"signed [{bits_of(min(ends[0], -1), ends[1]) - 1}:0]"

    x = operand(f"in_data[{number * inputs} +: {bits_of(low, high)}]", low < 0)
    if digits is not None:
        x = f"({x} <<< {digits[0]}) {'+' if digits[1] > 0 else '-'} {x}"
    base = added if scaled.sign > 0 else added - 1
    value = v
    for bound, sign, beyond in (
        (scaled.high, ">", values[1] > scaled.high),
        (scaled.low, "<", values[0] < scaled.low),
    ):
        if beyond:
            value = f"{v} {sign} {bound} ? {literal(bound, value_bits)} : {value}"
    return [
        f"\treg {signed(times)} {m};",
        f"\twire {signed(kept)} k{number} = {m} >>> {left};",
        f"\treg {signed(sums)} {u};",
        f"\twire {signed(values)} {v} = {u} >>> {scaled.right - left};",
        f"\treg [{value_bits - 1}:0] {y};",
        "\talways @(posedge clk) begin",
        f"\t\t{m} <= {x};",
        f"\t\t{u} <= {base} {'+' if scaled.sign > 0 else '-'} k{number};",
        f"\t\t{y} <= {value};",
        "\tend",
    ]


def _handed_on(number: int, bits: int, value: str) -> list[str]:
    """Return three registers; their reset keeps them flip-flops: shift registers take LUTs."""
    h, i, y = (f"{name}{number}" for name in "hiy")
    return [
        f"\treg [{bits - 1}:0] {h}, {i}, {y};",
        f"\talways @(posedge clk) if (rst) begin {h} <= 0; {i} <= 0; {y} <= 0; end",
        f"\telse begin {h} <= {value}; {i} <= {h}; {y} <= {i}; end",
    ]


def _looked_up(channel: _Channel, memory: str, half: str, inputs: int) -> list[str]:
    """Return a channel's registers; `half` is the first bit of its addresses, if two share."""
    c, lookup = str(channel.number), channel.lookup
    bits, signed = bits_of(channel.low, channel.high), channel.low < 0
    used, fraction, top = lookup.bits + lookup.fraction, lookup.fraction, channel.value_bits
    first = channel.number * inputs
    taken = operand(f"in_data[{first} +: {min(used, bits)}]", signed and used > bits)
    value = [f"in_data[{first + bit}]" for bit in range(bits)]
    if signed:
        value[-1] = f"~{value[-1]}"  # two's complement in the order of unsigned numbers
    offset = 2 ** (bits - 1) if signed else 0
    low, high = lookup.low > channel.low, lookup.high <= channel.high
    word = f"{memory}[{{{half}u{c}[{used - 1}:{fraction}]}}]"
    lines = [
        f"\treg [{used - 1}:0] u{c};",
        f"\treg [{channel.width - 1}:0] e{c};",
        f"\treg [{top - 1}:0] y{c};",
        f"\treg above{c};" if high else "",
        f"\treg [{fraction - 1}:0] l{c};" if fraction else "",
        "\talways @(posedge clk) begin",
        f"\t\tif (~({reaches(value, lookup.low + offset)})) u{c} <= {literal(lookup.low, used)};"
        if low
        else "",
        f"\t\t{'else ' if low else ''}u{c} <= {taken};",
        f"\t\tabove{c} <= {reaches(value, lookup.high + offset)};" if high else "",
        f"\t\tif (above{c}) e{c} <= {literal(channel.last(), channel.width)};" if high else "",
        f"\t\t{'else ' if high else ''}e{c} <= {word};",
        f"\t\tl{c} <= u{c};" if fraction else "",
        f"\t\ty{c} <= {_value(channel)};",
        "\tend",
    ]
    return [line for line in lines if line]


def _value(channel: _Channel) -> str:
    """Return the expression of a read word's value."""
    c, top, fraction = str(channel.number), channel.value_bits, channel.lookup.fraction
    base = f"e{c}[{top - 1}:0]"
    if not fraction:
        return base
    wires = [f"l{c}[{bit}]" for bit in range(fraction)]
    reached = reaches(wires, [f"e{c}[{top + bit}]" for bit in range(fraction)])
    if channel.lookup.falling:
        reached = f"~({reached})"
    if channel.step_bits:
        step = f"e{c}[{channel.width - 1}:{top + fraction}]"
        return f"{base} + (({reached}) ? {step} : 1'b0)"
    return f"{base} + (({reached}) ? 1'b1 : 1'b0)"


def reaches(bits: Sequence[str], limit: int | Sequence[str]) -> str:
    """Return whether an unsigned number is at least a limit, without a carry chain.

    A few bits take fewer LUTs so.

    Args:
        bits: wires, the lowest first.
        limit: a constant, or as many wires.
    """
    text = "1'b1"
    for place, bit in enumerate(bits):
        if not isinstance(limit, int):
            text = f"({bit} & ~{limit[place]} | ~({bit} ^ {limit[place]}) & {text})"
        elif limit >> place & 1:
            text = bit if text == "1'b1" else f"({bit} & {text})"
        elif text != "1'b1":
            text = f"({bit} | {text})"
    return text
