"""DMAs and what is between them, verilated behind an AXI memory model that checks AXI's rules.

A `Script` says what a program does with the registers and what happens to the memory; `play` runs
it. The rules, each with its paragraph of the specification, are in axi_rules.h.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from build.rtl.dmas import Dma, sources
from build.simulation.verilate import Design, Port
from deploy.board.registers import ADDRESS_HIGH, ADDRESS_LOW, CONTROL, REPETITIONS, START
from models import children
from models.cache_folder import cache_folder
from models.children import workspace
from models.errors import CheckFailed

TOP = "system"
RESETS, BUSY = "streams_reset", "dmas_busy"


@dataclass(frozen=True)
class Unit:
    """A DMA that reads, a DMA that writes, and what is between them.

    Attributes:
        source, sink: the DMAs.
        inner: an accelerator, whose input stream and output stream are `taken` and `given`; None:
            what is read is written.
        taken, given: names of the accelerator's streams.
        suffix: of the DMAs' modules (mutants of them, in tests).
    """

    source: Dma
    sink: Dma
    inner: Design | None = None
    taken: str = ""
    given: str = ""
    suffix: str = ""


def system(units: Sequence[Unit], texts: Mapping[str, str] | None = None) -> Design:
    """Return a top module of units; stream `<DMA's name>_stream` is at each DMA.

    Args:
        units: DMAs' names may not be there twice.
        texts: the DMAs' sources, where they are not ours.
    """
    files = dict(sources() if texts is None else texts)
    ports, body, streams, resets = ["input ap_clk", "input ap_rst_n"], [], [], []
    busy: list[str] = []
    buses: dict[str, Sequence[str]] = {}
    public = "/*verilator public_flat_rd*/"
    for unit in units:
        dmas = (unit.source, unit.sink)
        for dma, other in (dmas, dmas[::-1]):
            stream, width = f"{dma.name}_stream", 8 * dma.word_bytes
            ports += dma.ports()
            buses |= dma.buses
            streams.append(Port(stream, width, internal=True))
            body += [
                f"\twire [{width - 1}:0] {stream}_TDATA {public};",
                f"\twire {stream}_TVALID {public}; wire {stream}_TREADY {public};",
                f"\twire {dma.name}_reset_asked, {dma.name}_resetting, {dma.name}_draining;",
                dma.instance(stream, other.name, unit.suffix),
            ]
            resets.append(f"{dma.name}_resetting")
            busy.insert(0, f"{dma.name}.control.busy")
        source, sink = (f"{dma.name}_stream" for dma in dmas)
        if unit.inner is None:
            body += [
                f"\tassign {sink}_TDATA = {source}_TDATA;",
                f"\tassign {sink}_TVALID = {source}_TVALID;",
                f"\tassign {source}_TREADY = {sink}_TREADY;",
            ]
            continue
        # A reset of the DMAs leaves no half a frame in the accelerator.
        reset = f"{unit.source.name}_accelerator_rst_n"
        body += [
            f"\treg {reset};",
            f"\talways @(posedge ap_clk) {reset} <= ap_rst_n & ~{dmas[0].name}_resetting"
            f" & ~{dmas[1].name}_resetting;",
            f"\t{unit.inner.top} {unit.source.name}_accelerator (.ap_clk(ap_clk), "
            f".ap_rst_n({reset}),"
            + ",".join(
                f" .{inner}_{part}({outer}_{part})"
                for inner, outer in ((unit.taken, source), (unit.given, sink))
                for part in ("TDATA", "TVALID", "TREADY")
            )
            + ");",
        ]
        # Streams inside are not looked at: without the marks the simulator is faster.
        files |= {name: text.replace(public, "") for name, text in unit.inner.sources.items()}
    wires = (
        f"\twire [31:0] {RESETS} {public} = {{31'b0, {' | '.join(resets)}}};",
        f"\twire [31:0] {BUSY} {public} = {{{32 - len(busy)}'b0, {', '.join(busy)}}};",
    )
    listed = ",\n\t".join(ports)
    files[f"{TOP}.sv"] = "\n".join(
        [f"module {TOP} (\n\t{listed}\n);", *body, *wires, "endmodule\n"]
    )
    ordered = sorted(files, key=lambda name: not name.endswith("_pkg.sv"))
    texts = {name: files[name] for name in ordered}
    return Design(TOP, texts, streams, {RESETS: RESETS, BUSY: BUSY}, buses)


@dataclass
class Script:
    """Commands for the simulator, see system.cpp; each method returns its answer's place."""

    commands: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    saved: list[str] = field(default_factory=list)

    def add(self, command: str) -> int:
        """Add any command."""
        self.commands.append(command)
        return len(self.commands) - 1

    def write(self, dma: str, offset: int, value: int) -> int:
        """Write a register."""
        return self.add(f"write {dma}_s_axi {offset} {value}")

    def read(self, dma: str, offset: int) -> int:
        """Read a register."""
        return self.add(f"read {dma}_s_axi {offset}")

    def start(self, dma: Dma, address: int, frames: int) -> None:
        """Start a transfer, in the order of the driver's writes."""
        self.write(dma.name, ADDRESS_LOW, address & 0xFFFFFFFF)
        self.write(dma.name, ADDRESS_HIGH, address >> 32)
        self.write(dma.name, REPETITIONS, frames)
        self.write(dma.name, CONTROL, START)

    def poll(self, dma: str, mask: int, clocks: int) -> int:
        """Read the control register until one of these bits is set.

        Answered "timeout" after so many clocks in which no word moved.
        """
        return self.add(f"poll {dma}_s_axi {mask} {clocks}")

    def reach(self, dma: str, offset: int, value: int, clocks: int) -> int:
        """Read a counter until it has come to a value; answered as `poll` is."""
        return self.add(f"reach {dma}_s_axi {offset} {value} {clocks}")

    def load(self, address: int, data: bytes) -> int:
        """Put bytes into memory."""
        name = f"load{len(self.files)}"
        self.files[name] = data
        return self.add(f"load {address} {name}")

    def save(self, address: int, size: int) -> int:
        """Take bytes from memory: `Played.memory` of this place."""
        self.saved.append(f"save{len(self.commands)}")
        return self.add(f"save {address} {size} {self.saved[-1]}")

    def arrivals(self, stream: str) -> int:
        """Take the clocks of a stream's words: `Played.clocks` of this place."""
        self.saved.append(f"save{len(self.commands)}")
        return self.add(f"arrivals {stream} {self.saved[-1]}")


@dataclass(frozen=True)
class Played:
    """What came of a script."""

    answers: list[str]
    saved: dict[str, bytes]
    report: dict[str, Any]

    def number(self, place: int) -> int:
        """Return the number that a command was answered.

        Raises:
            CheckFailed: it was answered "timeout" or "stuck".
        """
        if not self.answers[place].isdigit():
            raise CheckFailed(f"a register of the simulated DMAs is {self.answers[place]}")
        return int(self.answers[place])

    def memory(self, place: int) -> np.ndarray:
        """Return the bytes that a `save` took, uint8."""
        return np.frombuffer(self.saved[f"save{place}"], np.uint8)

    def clocks(self, place: int) -> np.ndarray:
        """Return the clocks that an `arrivals` took, int64."""
        return np.frombuffer(self.saved[f"save{place}"], np.uint64).astype(np.int64)

    @property
    def violations(self) -> dict[str, int]:
        """How often each rule was violated that was."""
        return {row["name"]: row["violations"] for row in self.report["rules"] if row["violations"]}


def play(
    executable: Path,
    script: Script,
    *,
    files: Mapping[str, bytes] | None = None,
    seed: int = 1,
) -> Played:
    """Run a script from reset.

    Args:
        executable: of a design with buses, from `verilate.build`.
        script: what to do.
        files: that the design reads when simulation starts.
        seed: of pauses, latencies and the random initial state.

    Raises:
        CheckFailed: the simulator itself stopped.
    """
    with workspace(cache_folder() / "runs", "running-") as work:
        for name, data in {**(files or {}), **script.files}.items():
            (work / name).write_bytes(data)
        (work / "commands").write_text("\n".join([*script.commands, "report", ""]))
        command = [str(executable), "--seed", str(seed), "--commands", "commands"]
        done = children.run(command, work)
        answers = [line[2:] for line in done.stdout.splitlines() if line.startswith("= ")]
        if done.returncode != 0 or len(answers) != len(script.commands) + 1:
            lines = (done.stdout + done.stderr).strip().splitlines() or ["no message"]
            raise CheckFailed(f"the simulator stopped with code {done.returncode}: {lines[-1]}")
        saved = {name: (work / name).read_bytes() for name in script.saved}
    return Played(answers[:-1], saved, json.loads(answers[-1]))
