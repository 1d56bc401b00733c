"""What `aaronnet simulate` does: a build's RTL on frames, against the network it was built from."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from build.finished import FinishedBuild
from build.layout import GENERATED, NETWORK
from build.rtl.dmas import memory_port
from build.simulation.simulate import Difference, Simulation, differences, simulate, stalls
from build.simulation.simulated import Fifo, Simulated
from build.simulation.stitch import Accelerator, stitch
from build.simulation.through_memory import System, simulate_system
from models.errors import BadInput, CheckFailed

REFERENCE_BATCH = 64  # frames at a time through the graph, for memory


@dataclass(frozen=True)
class Subject:
    """An accelerator, and what its network says of some frames.

    Attributes:
        accelerator: what to simulate.
        integers: (N, ...) the frames as they go in.
        judge: of results (N, values) tells the classes (N,), and which frames are wrong (N,).
        differences: of a recorded simulation tells how many nodes it compared, and the streams
            that differ, in order.
        fast: as `simulate_build`.
    """

    accelerator: Accelerator
    integers: np.ndarray
    judge: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    differences: Callable[[Simulation], tuple[int, list[Difference]]]
    fast: bool = False


def simulate_build(
    opened: FinishedBuild,
    frames: np.ndarray,
    classes: np.ndarray | None = None,
    *,
    fast: bool = False,
    **options: Any,
) -> Simulated:
    """Simulate a dense build on float frames (N, C, L) and compare it with its network.

    Args:
        opened: from `open_build`.
        frames: as the network takes them.
        classes: (N,) the true ones, for the accuracy.
        fast: use the faster model of FINN's matrix-vector core.
        options: of `compare`.

    Raises:
        CheckFailed: the accelerator deadlocks or loses words.
    """
    from build.execute import trace
    from build.verify import graph_classes, graph_input
    from models.export import load_onnx

    accelerator = stitch(opened.model, opened.folder / GENERATED, fast)
    integers = graph_input(opened.model, frames)
    parts = [slice(i, i + REFERENCE_BATCH) for i in range(0, len(frames), REFERENCE_BATCH)]

    def judge(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        network = load_onnx(opened.folder / NETWORK)
        expected = np.concatenate([graph_classes(network, frames[part]) for part in parts])
        if found.shape[1] == 1:
            return found[:, 0], found[:, 0] != expected
        # Integer logits: the graph's exactly, and the network's after its scale.
        exact = np.concatenate([_last(trace(opened.model, integers[part])) for part in parts])
        classified = found.argmax(axis=1)
        wrong = (found != exact.reshape(found.shape)).any(axis=1)
        return classified, wrong | (classified != expected)

    def differing(simulation: Simulation) -> tuple[int, list[Difference]]:
        nodes = {link.producer for link in accelerator.links} - {""}
        faults = differences(accelerator, simulation, trace(opened.model, integers))
        return len(nodes), faults

    subject = Subject(accelerator, integers, judge, differing, fast)
    return compare(opened, subject, classes, **options)


def compare(
    opened: FinishedBuild,
    subject: Subject,
    classes: np.ndarray | None = None,
    *,
    per_node: bool = False,
    stall: float = 0.0,
    seed: int = 1,
    processes: int | None = None,
    wave: Path | None = None,
    label: str | None = None,
    system: bool = False,
    advance: Callable[[int], Any] = lambda count: None,
) -> Simulated:
    """Simulate an accelerator of either style and compare it with its network.

    Args:
        opened: the build.
        subject: its accelerator and the frames.
        classes: (N,) the true ones, for the accuracy.
        per_node: compare every node's stream too, and watch where the pipeline stalls.
        stall: chance of a pause after each cycle at both ends.
        seed: of the pauses and of the random initial state.
        processes: simulators side by side; default: one a core.
        wave: write a VCD waveform here.
        label: where the frames come from.
        system: with DMAs, behind a memory; without `per_node` and `wave`.
        advance: called with the number of frames finished.

    Raises:
        CheckFailed: the accelerator deadlocks or loses words.
    """
    accelerator, count = subject.accelerator, len(subject.integers)
    common: dict[str, Any] = dict(stall=stall, seed=seed, processes=processes, advance=advance)
    around: System | None = None
    if system:
        port = memory_port(opened.report.part)
        simulation, around = simulate_system(accelerator, subject.integers, port, **common)
    else:
        common |= {"burst": 32 if stall else 1, "record": per_node, "watch": per_node}
        simulation = simulate(accelerator, subject.integers, wave=wave, **common)
    ((_, found),) = simulation.outputs.items()
    found = found.reshape(count, -1)
    classified, wrong = subject.judge(found)
    cycles = simulation.cycles_per_frame
    watched: dict[str, Any] = {}
    if per_node:
        nodes, faults = subject.differences(simulation)
        watched = {
            "nodes_compared": nodes,
            "words_compared": sum(len(words) for words in simulation.streams.values()),
            "differences": tuple(faults),
            "stalls": tuple(stalls(accelerator, simulation)),
        }
    return Simulated(
        network=opened.report.network,
        board=opened.report.board,
        frames=count,
        mismatches=int(wrong.sum()),
        accuracy=None if classes is None else float((classified == classes).mean()),
        output="class" if found.shape[1] == 1 else "logits",
        cycles_per_frame=None if math.isnan(cycles) else round(cycles, 2),
        estimated_cycles_per_frame=opened.report.performance.cycles_per_frame,
        latency_cycles=simulation.latency_cycles,
        clock_mhz=opened.clock_mhz,
        stall=stall,
        fast=subject.fast,
        fifos=tuple(
            Fifo(name, accelerator.fifos[name], level) for name, level in simulation.fifos.items()
        ),
        build_seconds=round(simulation.build_seconds, 2),
        simulation_seconds=round(simulation.run_seconds, 3),
        data_label=label,
        system=around,
        **watched,
    )


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
    from build.verify import graph_input

    if len(frames) < 4:
        raise BadInput(f"sizing FIFOs takes at least four frames, not {len(frames)}")
    accelerator = stitch(opened.model, opened.folder / GENERATED, fast=True)
    return size_fifos(accelerator, graph_input(opened.model, frames[:8]), advance=advance).facts()


def check(found: Simulated) -> None:
    """Raise CheckFailed if a simulation found a difference, or a rule of AXI broken."""
    if found.system and found.system.violations:
        rule, times = next(iter(found.system.violations.items()))
        raise CheckFailed(
            f"AXI's rule {rule} is violated {times} times, first by "
            f"{found.system.first_violations[rule]}"
        )
    if found.differences:
        first = found.differences[0]
        raise CheckFailed(
            f"node {first.node} is the first to differ: {first.wrong} of {first.words} "
            f"words, first in frame {first.frame}, word {first.word}: expected "
            f"{first.expected}, found {first.found}"
        )
    if found.mismatches:
        raise CheckFailed(
            f"{found.mismatches} of {found.frames} frames differ from the network; "
            "--nodes finds the node"
        )


def _last(nodes: Any) -> np.ndarray:
    *_, (_, value) = nodes
    return value
