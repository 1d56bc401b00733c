"""What `aaronnet simulate` does: a build's RTL on frames, against the network it was built from."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from build.finished import FinishedBuild
from build.layout import GENERATED, NETWORK
from models.errors import BadInput, CheckFailed

REFERENCE_BATCH = 64  # frames at a time through the graph, for memory


def simulate_build(
    opened: FinishedBuild,
    frames: np.ndarray,
    classes: np.ndarray | None = None,
    *,
    per_node: bool = False,
    fast: bool = False,
    stall: float = 0.0,
    seed: int = 1,
    processes: int | None = None,
    wave: Path | None = None,
    advance: Callable[[int], Any] = lambda count: None,
) -> dict[str, Any]:
    """Simulate a build on float frames (N, 2, 1024) and compare with its network.

    Args:
        opened: from `open_build`.
        frames: as the network takes them.
        classes: (N,) the true ones, for the accuracy.
        per_node: compare every node's stream too, and watch where the pipeline stalls.
        fast: use the faster model of FINN's matrix-vector core.
        stall: chance of a pause after each cycle at both ends.
        seed: of the pauses and of the random initial state.
        processes: simulators side by side; default: one a core.
        wave: write an FST waveform here.
        advance: called with the number of frames finished.

    Returns:
        the facts of the JSON report: frames, mismatches (frames whose result is not the
        network's), accuracy (None without `classes`), cycles_per_frame, latency_cycles,
        estimated_cycles_per_frame, clock_mhz, fps_at_clock, latency_us, fifos, build_seconds,
        simulated_frames_per_second, and with `per_node` also nodes_compared, words_compared,
        differences, stalls.

    Raises:
        CheckFailed: the accelerator deadlocks or loses words.
    """
    from build.execute import trace
    from build.simulation.simulate import differences, simulate, stalls
    from build.simulation.stitch import stitch
    from build.verify import classes_of, graph_input, graph_logits
    from models.export import load_onnx

    accelerator = stitch(opened.model, opened.folder / GENERATED, fast)
    integers = graph_input(opened.model, frames)
    simulation = simulate(
        accelerator,
        integers,
        stall=stall,
        burst=32 if stall else 1,
        seed=seed,
        processes=processes,
        record=per_node,
        watch=per_node,
        wave=wave,
        advance=advance,
    )
    ((tensor, found),) = simulation.outputs.items()
    found = found.reshape(len(frames), -1)
    network = load_onnx(opened.folder / NETWORK)
    logits = np.concatenate(
        [
            graph_logits(network, frames[i : i + REFERENCE_BATCH])
            for i in range(0, len(frames), REFERENCE_BATCH)
        ]
    )
    classified = found[:, 0] if found.shape[1] == 1 else found.argmax(axis=1)
    if found.shape[1] == 1:
        wrong = classified != classes_of(logits)
    else:
        # Integer logits: the graph's exactly, and the network's after its scale.
        exact = np.concatenate(
            [
                _last(trace(opened.model, integers[i : i + REFERENCE_BATCH]))
                for i in range(0, len(frames), REFERENCE_BATCH)
            ]
        ).reshape(found.shape)
        wrong = (found != exact).any(axis=1) | (classified != classes_of(logits))
    estimate = opened.report["performance"]["cycles_per_frame"]
    cycles = simulation.cycles_per_frame
    facts: dict[str, Any] = {
        "network": opened.report["network"],
        "board": opened.report["board"],
        "frames": len(frames),
        "mismatches": int(wrong.sum()),
        "accuracy": None if classes is None else float((classified == classes).mean()),
        "output": "class" if found.shape[1] == 1 else "logits",
        "cycles_per_frame": None if math.isnan(cycles) else round(cycles, 2),
        "estimated_cycles_per_frame": estimate,
        "latency_cycles": simulation.latency_cycles,
        "clock_mhz": opened.clock_mhz,
        "fps_at_clock": None if math.isnan(cycles) else opened.clock_mhz * 1e6 / cycles,
        "latency_us": simulation.latency_cycles / opened.clock_mhz,
        "stall": stall,
        "fast": fast,
        "fifos": [
            {"name": name, "depth": accelerator.fifos[name], "high_water": level}
            for name, level in simulation.fifos.items()
        ],
        "build_seconds": round(simulation.build_seconds, 2),
        "simulation_seconds": round(simulation.run_seconds, 3),
        "simulated_frames_per_second": len(frames) / simulation.run_seconds,
    }
    if per_node:
        faults = differences(accelerator, simulation, trace(opened.model, integers))
        facts["nodes_compared"] = len({link.producer for link in accelerator.links} - {""})
        facts["words_compared"] = sum(len(words) for words in simulation.streams.values())
        facts["differences"] = [dataclasses.asdict(fault) for fault in faults]
        facts["stalls"] = stalls(accelerator, simulation)
    return facts


def size_build(
    opened: FinishedBuild, frames: np.ndarray, advance: Callable[[int], Any] = lambda count: None
) -> dict[str, Any]:
    """Search FIFO depths for a build on up to eight float frames.

    Returns:
        depths (as FINN's configuration JSON has them), cycles_per_frame with them, with every
        FIFO at the least depth (least) and with endless FIFOs (endless), bits.

    Raises:
        BadInput: fewer than four frames.
        CheckFailed: the accelerator deadlocks.
    """
    from build.simulation.sizing import size_fifos
    from build.simulation.stitch import stitch
    from build.verify import graph_input

    if len(frames) < 4:
        raise BadInput(f"sizing FIFOs takes at least four frames, not {len(frames)}")
    accelerator = stitch(opened.model, opened.folder / GENERATED, fast=True)
    return size_fifos(accelerator, graph_input(opened.model, frames[:8]), advance=advance).facts()


def check(facts: dict[str, Any]) -> None:
    """Raise CheckFailed if the simulation's facts report a difference."""
    if facts.get("differences"):
        first = facts["differences"][0]
        raise CheckFailed(
            f"node {first['node']} is the first to differ: {first['wrong']} of {first['words']} "
            f"words, first in frame {first['frame']}, word {first['word']}: expected "
            f"{first['expected']}, found {first['found']}"
        )
    if facts["mismatches"]:
        raise CheckFailed(
            f"{facts['mismatches']} of {facts['frames']} frames differ from the network; "
            "--nodes finds the node"
        )


def _last(nodes: Any) -> np.ndarray:
    *_, (_, value) = nodes
    return value
