"""A Verilog module as a block design reads it: interfaces from attributes (UG994, UG1118)."""

import re

from tests.build.vivado.catalogue import AXI, STREAM, Cell, Interface, Pin, Segment

PORT = re.compile(
    r"((?:\(\* \w+ = \"[^\"]*\" \*\)\s*)*)(input|output) (?:wire |reg )?(?:\[(\d+):0\] )?(\w+)"
)
ATTRIBUTE = re.compile(r"\(\* (\w+) = \"([^\"]*)\" \*\)")
TYPES = {AXI, STREAM, "xilinx.com:signal:clock:1.0", "xilinx.com:signal:reset:1.0",
         "xilinx.com:signal:interrupt:1.0"}  # fmt: skip
KINDS = {"clock": "clk", "reset": "rst", "interrupt": "intr"}

# IHI 0022E, tables A2-2 to A2-6 and B1-1; IHI 0051A, 2.1: what an interface has at least. Where it
# is of a master: o what it drives, i what it takes; bits, or those of data, strobes, address.
WRITES = "o:AWADDR:a o:AWVALID:1 i:AWREADY:1 o:WDATA:d o:WSTRB:s o:WVALID:1 i:WREADY:1 i:BRESP:2 "
WRITES += "i:BVALID:1 o:BREADY:1 "
READS = "o:ARADDR:a o:ARVALID:1 i:ARREADY:1 i:RDATA:d i:RRESP:2 i:RVALID:1 o:RREADY:1 "
WRITE_BURSTS = "o:AWLEN:8 o:AWSIZE:3 o:AWBURST:2 o:WLAST:1 "
READ_BURSTS = "o:ARLEN:8 o:ARSIZE:3 o:ARBURST:2 i:RLAST:1 "
OPTIONAL = "o:AWCACHE:4 o:AWPROT:3 o:ARCACHE:4 o:ARPROT:3 "


class Wrong(Exception):
    """What Vivado would refuse."""


def read_module(text: str) -> tuple[str, Cell]:
    """Return a Verilog module's name, and what a block design makes of it.

    Raises:
        Wrong: an interface is not whole, or has other widths than it says.
    """
    found = re.search(r"^module (\w+) \((.*?)^\);", text, re.MULTILINE | re.DOTALL)
    if not found:
        raise Wrong("no Verilog module")
    cell = Cell()
    signals: dict[str, dict[str, tuple[str, int]]] = {}
    interfaces: dict[str, Interface] = {}
    facts: dict[str, dict[str, str]] = {}
    associated: dict[str, str] = {}
    for attributes, direction, high, name in PORT.findall(found[2]):
        bits = int(high) + 1 if high else 1
        given = dict(ATTRIBUTE.findall(attributes))
        info = given.get("X_INTERFACE_INFO", "").split()
        parameters = given.get("X_INTERFACE_PARAMETER", "")
        words = dict(one.split(" ", 1) for one in parameters.split(", ")) if parameters else {}
        pin = Pin(name, direction[0].upper(), bits)
        if not info:
            cell.pins.append(pin)
            continue
        if len(info) != 3 or info[0] not in TYPES:
            raise Wrong(f"{name}: no interface {info}")
        kind = KINDS.get(info[0].split(":")[2])
        if kind:
            pin.kind = kind
            pin.low = words.get("POLARITY", "ACTIVE_LOW") == "ACTIVE_LOW"
            cell.pins.append(pin)
            if kind == "clk":
                associated |= dict.fromkeys(words["ASSOCIATED_BUSIF"].split(":"), name)
            continue
        interface = interfaces.setdefault(info[1], Interface(info[1], info[0], ""))
        if info[0] != interface.type:
            raise Wrong(f"{name}: {info[1]} is of two types")
        if info[2] in signals.setdefault(info[1], {}):
            raise Wrong(f"{name}: {info[1]} has {info[2]} twice")
        signals[info[1]][info[2]] = (direction[0], bits)
        facts.setdefault(info[1], {}).update(words)
    for name, interface in interfaces.items():
        if name not in associated:
            raise Wrong(f"{name} has no clock")
        interface.clock = associated.pop(name)
        _whole(interface, signals[name], facts[name])
        cell.interfaces.append(interface)
        if interface.mode == "Slave" and interface.type == AXI:
            cell.segments.append(Segment(f"{name}/reg0", name, None, 1 << interface.address))
        elif interface.type == AXI:
            cell.spaces[name] = name
    if associated:
        raise Wrong(f"a clock is said to be of {', '.join(associated)}, which is no interface")
    return found[1], cell


def _whole(
    interface: Interface, signals: dict[str, tuple[str, int]], facts: dict[str, str]
) -> None:
    """Check an interface's signals against what it says of itself, and fill it in."""
    if interface.type == STREAM:
        interface.mode = "Master" if signals["TVALID"][0] == "o" else "Slave"
        interface.data = signals["TDATA"][1]
        wanted = f"o:TDATA:{interface.data} o:TVALID:1 i:TREADY:1"
        optional = ""
    else:
        first = signals.get("ARVALID") or signals.get("AWVALID")
        if first is None:
            raise Wrong(f"{interface.name} has no ARVALID and no AWVALID")
        interface.mode = "Master" if first[0] == "o" else "Slave"
        interface.protocol = facts["PROTOCOL"]
        interface.data, interface.address = int(facts["DATA_WIDTH"]), int(facts["ADDR_WIDTH"])
        way = facts.get("READ_WRITE_MODE", "READ_WRITE")
        bursts = interface.protocol != "AXI4LITE"
        wanted = optional = ""
        if way != "READ_ONLY":
            wanted += WRITES + (WRITE_BURSTS if bursts else "")
        if way != "WRITE_ONLY":
            wanted += READS + (READ_BURSTS if bursts else "")
        optional = OPTIONAL
    widths = {"a": interface.address, "d": interface.data, "s": interface.data // 8}
    flip = {"o": "i", "i": "o"} if interface.mode == "Slave" else {"o": "o", "i": "i"}

    def parsed(text: str) -> dict[str, tuple[str, int]]:
        rows = (word.split(":") for word in text.split())
        return {name: (flip[way], widths.get(bits) or int(bits)) for way, name, bits in rows}

    needed, allowed = parsed(wanted), parsed(wanted + " " + optional)
    if missing := needed.keys() - signals.keys():
        raise Wrong(f"{interface.name} lacks {', '.join(sorted(missing))}")
    for name, has in signals.items():
        if name not in allowed:
            raise Wrong(f"{interface.name} has {name}, which is none of its signals")
        if has != allowed[name]:
            raise Wrong(f"{interface.name}: {name} is {has} and not {allowed[name]}")
