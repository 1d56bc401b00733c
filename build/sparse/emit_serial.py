"""Digit-serial adder graphs as SystemVerilog.

A position comes as a word, as everywhere (`emit`), and is kept while its digits go through the
adders, and the sums are put together again. A word may begin when the one before has ended.
"""

from build.sparse.emit import LEVELS, Module, operand, ports
from build.sparse.network import Tensor
from build.sparse.serial import SerialGraph

SHIFTED = 8
"""Digits of a number from which on a shift register is made of LUTs."""


def serial_module(
    name: str,
    serial: SerialGraph,
    inputs: Tensor,
    taps: int,
    outputs: int,
    spacing: int,
    depth: int = LEVELS,
) -> Module:
    """Return the adders of a layer; arguments and signs as `emit.matrix_module` has them.

    Positions come one by one, at least `spacing` clocks apart. With three taps the module makes the
    windows itself, zeros in front of a frame's first position and behind its last.
    """
    graph, digit, width = serial.graph, serial.digit, inputs.bits
    levels = graph.levels()
    homes = [max(-(-level // depth), 1) for level in levels]  # the stage of each node
    ends = [homes[term[0]] for term in graph.outputs if term is not None]
    stages = max([*ends, 1])
    used = [False] * len(levels)
    deepest = [0] * len(levels)  # the longest delay of each node that somebody needs
    history: dict[str, tuple[int, int]] = {}  # wire -> bits that have gone by, stage

    def wire(node: int, stage: int) -> str:
        delay = stage - homes[node]
        used[node], deepest[node] = True, max(deepest[node], delay)
        return f"n{node}_{delay}"

    def shifted(node: int, stage: int, shift: int) -> str:
        text = wire(node, stage)
        if not shift:
            return text
        history[text] = max(shift, history.get(text, (0, 0))[0]), stage
        return f"w{text}[h{text} - {shift} +: {digit}]"

    adders, sums = [], []
    for index, adder in enumerate(graph.adders):
        node = graph.inputs + index
        stage = homes[node]
        first = shifted(adder.first, stage, adder.first_shift)
        second = shifted(adder.second, stage, adder.second_shift)
        adders.append(
            f"\tsparse_digit_adder #(.DIGIT({digit}), .SUBTRACT({int(adder.sign < 0)})) a{node} "
            f"(.clk(clk), .first(begins[{stage - 1}]), .a({first}), .b({second}), "
            f".sum(n{node}_0));"
        )
    for row, output in enumerate(graph.outputs):
        place = f"out_data[{row * outputs} +: {outputs}]"
        if output is None:
            sums.append(f"\tassign {place} = 0;")
            continue
        shift = f" <<< {output[1]}" if output[1] else ""
        above = f", s{row}[{serial.bits - 1}:{digit}]" if serial.clocks > 1 else ""
        sums += [
            f"\treg [{serial.bits - 1}:0] s{row};",
            f"\talways @(posedge clk) s{row} <= {{{wire(output[0], stages)}{above}}};",
            f"\tassign {place} = {operand(f's{row}', True)}{shift};",
        ]
    latency = stages + serial.clocks
    channels = graph.inputs // taps
    lines = [
        f"module {name} ({ports(channels * width, len(graph.outputs) * outputs)});",
        "\twire word, fire;  // a position comes, with a window",
        f"\treg [{latency - 1}:0] later, valids;",
        f"\twire [{latency}:0] begins = {{later, word}};",
        "\talways @(posedge clk) begin",
        "\t\tlater <= rst ? 0 : begins;",
        "\t\tvalids <= rst ? 0 : {valids, fire};",
        "\tend",
        f"\tassign out_valid = valids[{latency - 1}];",
        *(_window(inputs.positions, spacing) if taps > 1 else _alone()),
        *_digits(serial, inputs, taps, used),
    ]
    for node, delay in enumerate(deepest):
        span = f"[{digit - 1}:0]"
        if node >= graph.inputs:
            lines.append(f"\twire {span} n{node}_0;")
        lines += [f"\treg {span} n{node}_{d + 1};" for d in range(delay)]
        lines += [f"\talways @(posedge clk) n{node}_{d + 1} <= n{node}_{d};" for d in range(delay)]
    for text, (bits, stage) in history.items():
        lines += [
            f"\tlocalparam h{text} = {bits};",
            f"\treg [{bits - 1}:0] p{text};",
            f"\twire [{bits + digit - 1}:0] w{text} = {{{text}, p{text}}};",
            f"\talways @(posedge clk) p{text} <= begins[{stage - 1}] ? 0 : w{text} >> {digit};",
        ]
    lines += [*adders, *sums, "endmodule"]
    return Module(name, "\n".join(lines) + "\n", latency)


def _alone() -> list[str]:
    """Return the control of a layer whose windows are positions."""
    return [
        "\tassign word = in_valid, fire = in_valid;",
        "\talways @(posedge clk) if (in_valid) x <= in_data;",
    ]


def _window(positions: int, spacing: int) -> list[str]:
    """Return the control of windows of three.

    The window of a frame's last position comes with the next frame's first; or after a while, if
    that has not come: then none comes for `lag` clocks.
    """
    pause = patience(spacing)
    return [
        f"\treg [{positions.bit_length() - 1}:0] position;  // that comes next",
        f"\treg [{pause.bit_length() - 1}:0] pause;",
        "\treg waits;  // the last position has no window yet",
        "\treg starts, ends;  // the present window is a frame's first, or last",
        "\twire second = in_valid & position == 1;",
        "\tassign word = in_valid | (waits & pause == 0), fire = waits ? word : "
        "in_valid & position != 0;",
        # Up to the last clock, which brings the first digit of the next window.
        "\twire clear = second | (starts & left > 1);",
        "\talways @(posedge clk) begin",
        "\t\tif (in_valid) x <= in_data;",
        "\t\tif (word) begin ends <= waits; starts <= second; end",
        f"\t\tif (in_valid) position <= position == {positions - 1} ? 0 : position + 1'b1;",
        f"\t\tif (word) waits <= in_valid & position == {positions - 1};",
        f"\t\tpause <= in_valid ? {pause - 1} : pause - (pause != 0);",
        "\t\tif (rst) begin position <= 0; waits <= 0; end",
        "\tend",
    ]


def patience(spacing: int) -> int:
    """Return after how many clocks the next frame's first position no longer comes soon."""
    # What a pooling drops at a frame's end is less than a position.
    return 2 * spacing + 2


def lag(spacing: int) -> int:
    """Return the clocks that lie between two frames, if any do."""
    return patience(spacing) + spacing


def _digits(serial: SerialGraph, inputs: Tensor, taps: int, used: list[bool]) -> list[str]:
    """Return the inputs, kept, and one digit of each a clock: at last nothing but the sign.

    The digits of the positions before, as windows need them, go through shift registers that hold
    one position each.
    """
    digit, width, clocks = serial.digit, inputs.bits, serial.clocks
    channels = serial.graph.inputs // taps
    # A signed number of one bit a clock has its sign last as it is.
    last = min(-(-width // digit) - (inputs.signed and digit == 1), clocks - 1)
    lines = [
        f"\treg [{channels * width - 1}:0] x;",
        f"\treg [{max(last.bit_length(), 1) - 1}:0] turn;",
        f"\treg [{clocks.bit_length() - 1}:0] left;",
        "\twire active = left != 0;",
        "\talways @(posedge clk) begin",
        f"\t\tturn <= word ? 0 : turn + (turn != {last});",
        f"\t\tleft <= rst ? 0 : word ? {clocks} : left - active;",
        "\tend",
    ]
    for channel in range(channels):
        wanted = [used[tap * channels + channel] for tap in range(taps)]
        if not any(wanted):
            continue
        node = (taps - 1) * channels + channel
        sign = f"x[{channel * width + width - 1}]" if inputs.signed else "1'b0"
        # Of a frame's last window the newest position is outside.
        mask = f" & {{{digit}{{~ends}}}}" if taps > 1 else ""
        source = f"r{channel}"
        lines.append(f"\twire [{digit - 1}:0] {source}, n{node}_0 = {source}{mask};")
        for bit in range(digit):
            places = range(bit, (last + 1) * digit, digit)
            bits = [f"x[{channel * width + at}]" if at < width else sign for at in places]
            lines += [
                f"\twire [{last}:0] d{node}_{bit} = {{{', '.join(reversed(bits))}}};",
                f"\tassign {source}[{bit}] = d{node}_{bit}[turn];",
            ]
        for tap in range(taps - 2, wanted.index(True) - 1, -1):
            node = tap * channels + channel
            lines += _delayed(f"n{node}_0", source, digit, clocks, "rst" if tap else "clear")
            source = f"n{node}_0"
    return lines


def _delayed(target: str, source: str, digit: int, clocks: int, reset: str) -> list[str]:
    """Return the digits of one position later; in LUTs where one replaces enough registers.

    A reset keeps registers out of the LUTs: of short ones all, of long ones the last, whose output
    is fast.
    """
    whole, below = digit * clocks, digit * (clocks - 1)
    lines = [f"\treg [{whole - 1}:0] q{target};"]
    top = f"q{target}[{below} +: {digit}]"
    if clocks > 1:
        kept = "if (rst) q{0}[{1}:0] <= 0; else " if clocks < SHIFTED else ""
        lines.append(
            f"\talways @(posedge clk) {kept.format(target, below - 1)}if (active) "
            f"q{target}[{below - 1}:0] <= {{q{target}, {source}}};"
        )
        source = f"q{target}[{below - digit} +: {digit}]"
    lines.append(
        f"\talways @(posedge clk) if ({reset}) {top} <= 0; else if (active) {top} <= {source};"
    )
    return [*lines, f"\twire [{digit - 1}:0] {target} = {top};"]
