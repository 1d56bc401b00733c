"""What `aaronnet simulate` does: a build's RTL on frames, against the network it was built from."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import BadInput, CheckFailed
from models.files import existing_file, write_json

if TYPE_CHECKING:
    from qonnx.core.modelwrapper import ModelWrapper

GRAPH = "step_hw_codegen.onnx"
REFERENCE_BATCH = 64  # frames at a time through the graph, for memory


@dataclasses.dataclass(frozen=True)
class Build:
    """A folder that `aaronnet build --to hdl` (or further) left."""

    folder: Path
    model: "ModelWrapper"  # with generated HDL
    clock_mhz: float
    report: dict[str, Any]


def open_build(folder: Path) -> Build:
    """Open a build's folder.

    Raises:
        BadInput: it is no build, or one without HDL.
    """
    from build.flow import load_graph

    if not (folder / "build.json").is_file():
        raise BadInput(f"{folder} is no folder of `aaronnet build`: it has no build.json")
    graph = folder / "intermediate_models" / GRAPH
    if not graph.exists():
        raise BadInput(f"{folder} has no HDL; build it again with --to hdl")
    report = json.loads(existing_file(folder / "report.json", "report").read_text())
    return Build(folder, load_graph(graph), report["performance"]["clock_mhz"], report)


def record(opened: Build, name: str, facts: dict[str, Any]) -> None:
    """Add facts to the build's report.json, in the place of earlier ones of that name."""
    path = opened.folder / "report.json"
    write_json(path, {**json.loads(path.read_text()), name: facts})


def record_simulation(opened: Build, facts: dict[str, Any]) -> None:
    """Keep a simulation's facts with the build; its package then expects their pace and latency.

    Of a run that paused at its ends, was too short for a pace or found a fault, the package keeps
    nothing.
    """
    from build.package import expect_simulated

    record(opened, "simulation", facts)
    if not facts["stall"] and facts["cycles_per_frame"] and not facts["mismatches"]:
        cycles, latency = facts["cycles_per_frame"], facts["latency_cycles"]
        expect_simulated(opened.folder / "package", cycles, latency)


@dataclasses.dataclass(frozen=True)
class Frames:
    """Float32 frames (N, 2, 1024), their true classes (N,), and where they come from."""

    x: np.ndarray
    classes: np.ndarray
    label: str


def choose_frames(wanted: str, data: str | Path | None = None) -> Frames:
    """Return frames over all SNRs.

    Args:
        wanted: how many; without `data` also a file to take up to 2000 from.
        data: file in RadioML's layout to take them from, evenly spread; without it they are
            synthesised.

    Raises:
        BadInput: the number or the file is unusable.
    """
    if data is None and not wanted.isdigit():
        return _frames_of(wanted, 2000)
    if not wanted.isdigit() or not 1 <= int(wanted) <= 100_000:
        raise BadInput(f"simulate between 1 and 100000 frames, not {wanted}")
    return _synthesised(int(wanted)) if data is None else _frames_of(data, int(wanted))


def _synthesised(count: int) -> Frames:
    from build.frames import drawn_frames, synthetic_cells, synthetic_frames
    from deploy.board.radioml import CLASSES, SNRS
    from training.synthesis import RECIPE_VERSION

    if count <= 104:
        step = np.linspace(0, 103, count).round().astype(int)
        cells, x = synthetic_cells(), synthetic_frames()[step]
        cells = [cells[index] for index in step]
    else:
        cells = [(i % len(CLASSES), SNRS[i % len(SNRS)]) for i in range(count)]
        x = drawn_frames(cells, seed=count)
    classes = np.array([modulation for modulation, _ in cells])
    return Frames(np.ascontiguousarray(x), classes, f"synthetic (recipe {RECIPE_VERSION})")


def _frames_of(file: str | Path, most: int) -> Frames:
    """Return all frames of a file, or `most` evenly spread ones."""
    from deploy.board.radioml import data_label, open_file, read_index, read_rows

    path = existing_file(file, "data file")
    index = read_index(path)
    total = len(index.snrs)
    rows = np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(int))
    with open_file(path) as opened:
        parts = [frames for _, frames in read_rows(opened["X"], rows)]
    x = np.ascontiguousarray(np.concatenate(parts).transpose(0, 2, 1))
    return Frames(x, index.labels[rows], data_label(path))


def simulate_build(
    opened: Build,
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

    accelerator = stitch(opened.model, opened.folder / "finn", fast)
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
    network = load_onnx(opened.folder / "network.onnx")
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
    opened: Build, frames: np.ndarray, advance: Callable[[int], Any] = lambda count: None
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
    accelerator = stitch(opened.model, opened.folder / "finn", fast=True)
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
