"""A block design as Vivado keeps it, and what `validate_bd_design` would find wrong with it."""

from collections import defaultdict
from dataclasses import dataclass, field

from tests.build.vivado.catalogue import CATALOGUE, STREAM, Cell, Interface, Pin, Segment
from tests.build.vivado.modules import Wrong


@dataclass
class Instance:
    """A cell of the design: an IP's name and properties, or a module's cell as it is read."""

    ip: str = ""
    properties: dict[str, str] = field(default_factory=dict)
    module: Cell | None = None

    @property
    def given(self) -> dict[str, str]:
        """All properties, those that were not set by their defaults."""
        known = CATALOGUE[self.ip].properties if self.ip else {}
        return {name: default for name, (_, default) in known.items()} | self.properties

    @property
    def cell(self) -> Cell:
        return self.module or CATALOGUE[self.ip].made(self.given)


@dataclass
class Design:
    """Cells; nets, each a set of `cell/pin`; buses, pairs of `cell/interface`; addresses."""

    cells: dict[str, Instance] = field(default_factory=dict)
    ports: dict[str, str] = field(default_factory=dict)  # outer interface -> type
    nets: list[set[str]] = field(default_factory=list)
    buses: list[tuple[str, str]] = field(default_factory=list)
    assigned: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    excluded: set[tuple[str, str]] = field(default_factory=set)

    # What commands ask and change ----------------------------------------------------------------

    def pins(self) -> dict[str, Pin]:
        return {
            f"{name}/{pin.name}": pin for name, one in self.cells.items() for pin in one.cell.pins
        }

    def interfaces(self) -> dict[str, Interface]:
        return {
            f"{name}/{one.name}": one
            for name, instance in self.cells.items()
            for one in instance.cell.interfaces
        }

    def segments(self) -> dict[str, Segment]:
        return {
            f"{name}/{one.name}": one
            for name, instance in self.cells.items()
            for one in instance.cell.segments
        }

    def spaces(self) -> dict[str, str]:
        """Return address space -> its master interface."""
        return {
            f"{name}/{space}": f"{name}/{interface}"
            for name, instance in self.cells.items()
            for space, interface in instance.cell.spaces.items()
        }

    def connect(self, one: str, other: str) -> None:
        joined = [net for net in self.nets if one in net or other in net]
        if any({one, other} <= net for net in joined):
            raise Wrong(f"{one} and {other} are connected twice")
        self.nets = [net for net in self.nets if net not in joined]
        self.nets.append(set().union({one, other}, *joined))

    def join(self, one: str, other: str) -> None:
        for end in (one, other):
            if any(end in bus for bus in self.buses):
                raise Wrong(f"{end} is connected twice")
        self.buses.append((one, other))

    def assign(self, space: str, segment: str, offset: int, size: int) -> None:
        if (space, segment) in self.assigned:
            raise Wrong(f"{segment} has two addresses in {space}")
        self.assigned[space, segment] = (offset, size)

    # What is wrong -------------------------------------------------------------------------------

    def complaints(self) -> list[str]:
        return [
            *self._complaints_of_nets(),
            *self._complaints_of_buses(),
            *self._complaints_of_clocks(),
            *self._complaints_of_addresses(),
        ]

    def _complaints_of_nets(self) -> list[str]:
        found, pins = [], self.pins()
        for net in self.nets:
            drivers = sorted(name for name in net if pins[name].direction == "O")
            if len(drivers) != 1:
                found.append(f"a net of {', '.join(sorted(net))} has {len(drivers)} drivers")
                continue
            driver = pins[drivers[0]]
            for name in net - {drivers[0]}:
                pin = pins[name]
                if None not in (pin.bits, driver.bits) and pin.bits != driver.bits:
                    found.append(f"{name} has {pin.bits} bits, {drivers[0]} {driver.bits}")
                clocks = {"clk"} & {pin.kind, driver.kind}
                resets = {"rst"} & {pin.kind, driver.kind}
                if (clocks or resets or pin.kind == "intr") and pin.kind != driver.kind:
                    found.append(f"{name} is a {pin.kind}, {drivers[0]} a {driver.kind}")
                elif pin.kind == "rst" and pin.low != driver.low:
                    found.append(f"{name} and {drivers[0]} are resets of two polarities")
        connected = set().union(*self.nets)
        found += [
            f"{name} is not driven"
            for name, pin in pins.items()
            if pin.direction == "I" and not pin.optional and name not in connected
        ]
        return found

    def _complaints_of_buses(self) -> list[str]:
        found, interfaces = [], self.interfaces()
        ends = {end for bus in self.buses for end in bus}
        found += [f"{name} is not connected" for name in interfaces if name not in ends]
        for one, other in self.buses:
            outer = next((end for end in (one, other) if end in self.ports), None)
            if outer is not None:
                inner = interfaces[other if one == outer else one]
                if inner.type != self.ports[outer]:
                    found.append(f"{outer} is of type {self.ports[outer]}, {inner.name} is not")
                continue
            first, second = interfaces[one], interfaces[other]
            if {first.mode, second.mode} != {"Master", "Slave"}:
                found.append(f"{one} and {other} are both {first.mode}s")
            if first.type != second.type:
                found.append(f"{one} and {other} are of two types")
            elif first.type == STREAM and first.data != second.data:
                found.append(f"{one} has {first.data} bits, {other} {second.data}")
            through = [self.cells[end.split("/")[0]].cell.passes for end in (one, other)]
            if first.type != STREAM and not any(through):
                found.append(f"{one} and {other} need an interconnect between them")
        for name, instance in self.cells.items():
            for interface in instance.cell.outside:
                end = f"{name}/{interface}"
                outside = {
                    other for bus in self.buses for other in bus if end in bus and other != end
                }
                if outside - self.ports.keys():
                    found.append(f"{end} must leave the design")
        return found

    def _source(self, pin: str) -> str:
        pins = self.pins()
        for net in self.nets:
            if pin in net:
                return next((name for name in net if pins[name].direction == "O"), "")
        return ""

    def _complaints_of_clocks(self) -> list[str]:
        """Both ends of a bus have one clock: no IP here crosses between clocks."""
        found, interfaces = [], self.interfaces()
        for bus in self.buses:
            clocks = {
                self._source(f"{end.split('/')[0]}/{interfaces[end].clock}")
                for end in bus
                if end in interfaces and interfaces[end].clock
            }
            if len(clocks) > 1:
                found.append(f"{' and '.join(bus)} have clocks {', '.join(sorted(clocks))}")
        return found

    def _reached(self, interface: str) -> set[str]:
        """Return the slave interfaces that a master interface reaches."""
        reached: set[str] = set()
        for bus in self.buses:
            if interface not in bus:
                continue
            other = bus[0] if bus[1] == interface else bus[1]
            name = other.split("/")[0]
            if name in self.cells and (cell := self.cells[name].cell).passes:
                for master in cell.interfaces:
                    if master.mode == "Master":
                        reached |= self._reached(f"{name}/{master.name}")
            else:
                reached.add(other)
        return reached

    def _complaints_of_addresses(self) -> list[str]:
        found, segments, interfaces = [], self.segments(), self.interfaces()
        taken: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        seen = set()
        for space, master in self.spaces().items():
            reached = self._reached(master)
            for name, segment in segments.items():
                if f"{name.split('/')[0]}/{segment.interface}" not in reached:
                    continue
                seen.add((space, name))
                if (space, name) in self.excluded:
                    continue
                if (space, name) not in self.assigned:
                    found.append(f"{name} has no address in {space}")
                    continue
                offset, size = self.assigned[space, name]
                cell = self.cells[master.split("/")[0]].cell
                low, high = cell.windows.get(
                    master.split("/")[1], (0, (1 << interfaces[master].address) - 1)
                )
                if size & (size - 1) or size < 4096 or offset % size:
                    found.append(f"{name}: 0x{size:X} bytes cannot lie at 0x{offset:X}")
                if not low <= offset <= offset + size - 1 <= high:
                    found.append(f"{name}: 0x{offset:X} is outside {master}'s addresses")
                if segment.offset is not None and (offset, size) != (segment.offset, segment.size):
                    found.append(f"{name} lies at 0x{segment.offset:X}, not at 0x{offset:X}")
                if segment.size is not None and size < segment.size:
                    found.append(f"{name} has more registers than 0x{size:X} bytes")
                for start, end, other in taken[space]:
                    if start < offset + size and offset < end:
                        found.append(f"{name} and {other} overlap in {space}")
                taken[space].append((offset, offset + size, name))
        found += [
            f"{segment} is out of reach of {space}"
            for space, segment in {*self.assigned, *self.excluded} - seen
        ]
        return found
