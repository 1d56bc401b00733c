"""Our simulator where FINN+ expects Vivado's: `exec_mode` "rtlsim" of RTL nodes without Vivado.

`bind` puts these functions into `finn.xsi`, whose names FINN uses for every RTL simulation
(PrepareRTLSim, then execution node by node). Each `rtlsim_multi_io` is one run from reset. FINN's
simulation of its stitched IP goes through Vivado's block design and stays out of reach;
`aaronnet simulate` does that job.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from build.rtl.patches import patched, rtllib
from build.simulation.verilate import Collect, Design, Feed, Port, build, port_bytes, run
from models.errors import CheckFailed

MARK = "xsim.dir"  # FINN splits the path of a simulation object at this folder


class Simulator:
    """What FINN passes around as its SimEngine: a built node and its data files."""

    def __init__(self, path: Path, trace: str | None) -> None:
        """Take the simulation object that `compile_sim_obj` left."""
        lines = path.read_text().splitlines()
        self.executable = Path(lines[0])
        self.files = {Path(line).name: Path(line).read_bytes() for line in lines[1:]}
        self.bytes = port_bytes(self.executable)
        self.wave = Path(trace) if trace else None


def compile_sim_obj(
    top_module_name: str,
    source_list: list[str],
    sim_out_dir: Path,
    debug: bool = False,
    behav: bool = False,
    fifosim: bool = False,
) -> tuple[Path, Path]:
    """Build a simulator for a node's sources; return the folder and the object's path in it."""
    sources: dict[str, str] = {}
    data: set[Path] = set()
    for source in map(Path, source_list):
        text = patched(source)
        if not source.resolve().is_relative_to(rtllib()):
            data |= set(source.parent.glob("*.dat"))
            text = re.sub(r'"[^"\n]*/([^"/\n]*)"', r'"\1"', text)
        sources[source.name] = text
    ordered = sorted(sources, key=lambda name: not name.endswith("_pkg.sv"))
    streams, clocks, tied = _ports(sources, top_module_name)
    design = Design(
        top_module_name,
        {name: sources[name] for name in ordered if name != "fifo_gauge.sv"},
        [Port(name, 0) for name in streams],
        clocks=clocks,
        tied=tied,
    )
    executable = build(design, waves=debug)
    relative = Path(MARK) / top_module_name / "simulator.txt"
    path = Path(sim_out_dir) / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([str(executable), *map(str, sorted(data))]))
    return Path(sim_out_dir), relative


def _ports(sources: Mapping[str, str], top: str) -> tuple[list[str], list[str], list[str]]:
    """Return the streams, the clocks and the other inputs of the top module."""
    text = next(t for t in sources.values() if re.search(rf"^module {top}\b", t, re.MULTILINE))
    code = re.sub(r"//.*|\(\*.*?\*\)", "", text)
    declared = re.findall(r"\b(input|output)\b\s*(?:wire|logic)?\s*(?:\[[^\]]*\])?\s*(\w+)", code)
    names = [name for _, name in declared]
    streams = [name.removesuffix("_TDATA") for name in names if name.endswith("_TDATA")]
    # A set selector of multi-set thresholds exists as a port but FINN does not drive it.
    clocks = [name for name in names if name in ("ap_clk", "ap_clk2x")]
    of_streams = {f"{s}_{signal}" for s in streams for signal in ("TDATA", "TVALID", "TREADY")}
    tied = [
        name
        for direction, name in declared
        if direction == "input" and name not in {*clocks, "ap_rst_n"} | of_streams
    ]
    return streams, clocks, tied


def load_sim_obj(
    sim_out_dir: Path,
    out_so_relative_path: Path,
    tracefile: str | None = None,
    simkernel_so: str | None = None,
) -> Simulator:
    """Open what `compile_sim_obj` left."""
    return Simulator(Path(sim_out_dir) / out_so_relative_path, tracefile)


def reset_rtlsim(sim: Simulator, *_args: Any, **_options: Any) -> None:
    """Every run starts with a reset: nothing to do."""


def close_rtlsim(sim: Simulator) -> None:
    """Every run ends its process: nothing to do."""


def rtlsim_multi_io(
    sim: Simulator,
    io_dict: dict[str, dict[str, list[int]]],
    num_out_values: int | np.integer | dict[str, int],
    sname: str = "_V_V",
    liveness_threshold: int = 10000,
    liveness_estimate: int | float | None = None,
) -> int:
    """Run until all outputs have arrived; fill `io_dict["outputs"]` and return the cycles.

    Raises:
        CheckFailed: no word moved for `liveness_threshold` cycles, or a stream misbehaved.
    """
    outputs = io_dict["outputs"]
    counts = num_out_values
    if not isinstance(counts, dict):
        counts = dict.fromkeys(outputs, int(counts))

    def packed(name: str, words: list[int]) -> np.ndarray:
        size = sim.bytes[name]
        data = b"".join(int(word).to_bytes(size, "little") for word in words)
        return np.frombuffer(data, np.uint8).reshape(-1, size)

    result = run(
        sim.executable,
        {n + sname: Feed(packed(n + sname, words)) for n, words in io_dict["inputs"].items()},
        {name + sname: Collect(int(counts[name])) for name in outputs},
        widths={name + sname: 8 * sim.bytes[name + sname] for name in outputs},
        files=sim.files,
        idle=max(int(liveness_threshold), 10_000),
        drain=0,
        wave=sim.wave,
    )
    if result.failure:
        raise CheckFailed(f"RTL simulation failed: {result.failure}")
    for name in outputs:
        rows = result.data[name + sname]
        outputs[name] = [int.from_bytes(row.tobytes(), "little") for row in rows]
    return int(result.cycles)


def bind() -> None:
    """Make FINN use this simulator in place of Vivado's."""
    import finn.xsi

    for function in (compile_sim_obj, load_sim_obj, reset_rtlsim, close_rtlsim, rtlsim_multi_io):
        setattr(finn.xsi, function.__name__, function)
    finn.xsi.SimEngine = Simulator
