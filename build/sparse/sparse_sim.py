"""`aaronnet simulate` and `aaronnet synth` of a sparse build: its RTL is made again, in seconds."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from build.boards import find_board
from build.finished import FinishedBuild
from build.simulation.simulate import simulate
from build.sparse.assemble import Sparse, compile_network, mismatches
from build.sparse.fold import fold
from build.sparse.from_graph import network_of
from build.sparse.network import Network
from build.yosys import FAMILIES, KINDS, Job, synthesise_jobs
from models.console import Progress
from models.errors import BadInput


def hardware_of(opened: FinishedBuild) -> tuple[Network, Sparse]:
    """Return the folded network of a sparse build and its hardware."""
    network = fold(network_of(opened.model))
    return network, compile_network(network)


def simulate_sparse(
    opened: FinishedBuild,
    frames: np.ndarray,
    classes: np.ndarray | None = None,
    *,
    per_node: bool = False,
    stall: float = 0.0,
    seed: int = 1,
    processes: int | None = None,
    wave: Path | None = None,
    advance: Callable[[int], Any] = lambda count: None,
) -> dict[str, Any]:
    """Simulate a sparse build; arguments and facts are `against_network.simulate_build`'s.

    With `per_node` every tensor is compared with the integer network's, which the build compared
    with the network.

    Raises:
        CheckFailed: the accelerator deadlocks or loses words.
    """
    network, made = hardware_of(opened)
    integers = network.quantize(frames)
    simulation = simulate(
        made.accelerator,
        integers.transpose(0, 2, 1),
        stall=stall,
        burst=32 if stall else 1,
        seed=seed,
        processes=processes,
        record=per_node,
        wave=wave,
        advance=advance,
    )
    found = simulation.outputs["classes"].reshape(-1)
    cycles = simulation.cycles_per_frame
    facts: dict[str, Any] = {
        "network": opened.report["network"],
        "board": opened.report["board"],
        "frames": len(frames),
        "mismatches": int((found != network.classes(integers)).sum()),
        "accuracy": None if classes is None else float((found == classes).mean()),
        "output": "class",
        "cycles_per_frame": None if math.isnan(cycles) else round(cycles, 2),
        "estimated_cycles_per_frame": made.clocks,
        "latency_cycles": simulation.latency_cycles,
        "clock_mhz": opened.clock_mhz,
        "fps_at_clock": None if math.isnan(cycles) else opened.clock_mhz * 1e6 / cycles,
        "latency_us": simulation.latency_cycles / opened.clock_mhz,
        "stall": stall,
        "fast": False,
        "fifos": [],
        "build_seconds": round(simulation.build_seconds, 2),
        "simulation_seconds": round(simulation.run_seconds, 3),
        "simulated_frames_per_second": len(frames) / simulation.run_seconds,
    }
    if per_node:
        differences = mismatches(made.accelerator, network, simulation, integers)
        facts["nodes_compared"] = len(differences)
        facts["words_compared"] = sum(len(words) for words in simulation.streams.values())
        facts["differences"] = [d for d in differences.values() if d["wrong"]]
        facts["stalls"] = []
    return facts


def synthesise_sparse(
    opened: FinishedBuild,
    family: str,
    processes: int | None = None,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Synthesise a sparse build module by module; arguments and facts as `synthesise_build`'s.

    There is no estimate. Any family will do: there are no primitives in this HDL.

    Raises:
        BadInput: the family is unknown.
        CheckFailed: Yosys rejects a module.
    """
    if family not in FAMILIES:
        raise BadInput(f"unknown family {family!r}; choose one of {', '.join(FAMILIES)}")
    _, made = hardware_of(opened)
    sources = made.accelerator.design.sources
    todo = [
        Job(
            unit.name,
            unit.module.removeprefix("m_"),
            {file: sources[file]},
            {},
            {},
            unit.module,
            unit.parameters,
            dsp=False,
        )
        for unit in made.units
        for file in [f"{unit.module}.sv"]
    ]
    rows = synthesise_jobs(todo, family, processes, progress)
    available = find_board(opened.report["board"]).resources
    return {
        "network": opened.report["network"],
        "board": opened.report["board"],
        "family": family,
        "nodes": rows,
        "total": {kind: sum(row["resources"][kind] for row in rows) for kind in KINDS},
        "estimate": {},
        "ratio": {},
        "available": {kind: available[kind] for kind in KINDS if kind in available},
    }
