"""Simulate a stitched accelerator on frames: results, timing, FIFO levels, every stream."""

import dataclasses
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import NodeProto

from build.simulation.stitch import Accelerator, Link
from build.simulation.verilate import Collect, Feed, Result, build, run
from models.children import in_threads
from models.errors import CheckFailed

CHUNK = 8  # frames a run: enough for steady state, small enough to spread over processes


@dataclasses.dataclass
class Simulation:
    """Results of simulated frames."""

    outputs: dict[str, np.ndarray]  # output tensor -> (frames, words, lanes)
    streams: dict[str, np.ndarray]  # link name -> recorded words (words, lanes)
    latency_cycles: int  # from the first input word offered to the first frame's last result
    cycles_per_frame: float  # between last results of frames in steady state
    fifos: dict[str, int]  # FIFO node -> highest level
    watched: dict[str, dict[str, int]]
    build_seconds: float  # 0 when the simulator came from the cache
    run_seconds: float  # wall time of all runs
    cycles: int


def simulate(
    accelerator: Accelerator,
    frames: np.ndarray,
    *,
    stall: float = 0.0,
    burst: int = 1,
    seed: int = 1,
    processes: int | None = None,
    record: bool = False,
    watch: bool = False,
    wave: Path | None = None,
    idle: int = 1_000_000,
    advance: Callable[[int], Any] = lambda count: None,
) -> Simulation:
    """Run frames (N, *input shape) of integers through the accelerator's RTL.

    Args:
        accelerator: from `stitch`.
        frames: one array for its one input, or it is split among several inputs' order.
        stall: chance of a pause after each cycle, at the source and at the sink.
        burst: longest pause in cycles.
        seed: of the pauses and of the random initial state.
        processes: simulators side by side; default: one a core.
        record: keep the words of every stream.
        watch: count stalled and starved cycles of every stream.
        wave: write a VCD waveform of all frames here.
        idle: cycles without any word moving that count as a deadlock.
        advance: called with the number of frames finished.

    Raises:
        CheckFailed: the accelerator deadlocks, loses or adds words, or changes an offered word.
    """
    started = time.monotonic()
    executable = build(accelerator.design, waves=wave is not None)
    built = time.monotonic()
    processes = processes or os.cpu_count() or 1
    # A recorded, watched or soaked sequence stays one run: that is what the user asked to see.
    whole = record or watch or stall > 0 or wave is not None
    size = len(frames) if whole else max(CHUNK, -(-len(frames) // processes))
    chunks = [frames[i : i + size] for i in range(0, len(frames), size)]
    widths = {link.name: link.stream.width for link in accelerator.links}
    (source,) = accelerator.inputs

    def one(index: int) -> Result:
        chunk = chunks[index]
        result = run(
            executable,
            {source.name: Feed(source.stream.pack(source.to_words(chunk)), stall, burst)},
            {k.name: Collect(len(chunk) * k.words, stall, burst) for k in accelerator.outputs},
            widths=widths,
            files=accelerator.files,
            taps={
                k.name: len(chunk) * k.words for k in accelerator.links if k.producer and k.consumer
            }
            if record
            else {},
            seed=seed + index,
            idle=idle,
            watch=watch,
            wave=wave,
        )
        if result.failure:
            raise CheckFailed(f"simulation failed: {result.failure}")
        advance(len(chunk))
        return result

    results = in_threads(one, range(len(chunks)), min(processes, len(chunks)))
    finished = time.monotonic()

    def words(link: Link) -> np.ndarray:
        return link.stream.unpack(np.concatenate([r.data[link.name] for r in results]))

    outputs = {
        k.tensor: words(k).reshape(len(frames), k.words, k.stream.lanes)
        for k in accelerator.outputs
    }
    recorded = {k.name: words(k) for k in accelerator.links if record and k.producer and k.consumer}
    sink = accelerator.outputs[0]
    ends = [r.arrivals[sink.name].reshape(-1, sink.words)[:, -1] for r in results]
    # The first interval still fills the pipeline, the last empties it.
    intervals = np.concatenate([np.diff(e)[1:-1] if len(e) > 3 else np.diff(e) for e in ends])
    return Simulation(
        outputs=outputs,
        streams=recorded,
        latency_cycles=int(ends[0][0]) + 1,
        cycles_per_frame=float(np.mean(intervals)) if len(intervals) else float("nan"),
        fifos={name: max(r.values[name] for r in results) for name in accelerator.fifos},
        watched=results[0].watched,
        build_seconds=built - started if built - started > 1 else 0.0,
        run_seconds=finished - built,
        cycles=sum(r.cycles for r in results),
    )


@dataclasses.dataclass(frozen=True)
class Difference:
    """How a node's stream differs from its reference."""

    node: str
    stream: str
    words: int
    wrong: int
    frame: int  # of the first wrong word
    word: int  # within its frame
    expected: tuple[int, ...]
    found: tuple[int, ...]


def difference(link: Link, simulation: Simulation, expected: np.ndarray) -> Difference | None:
    """Compare a link's recorded words with the expected ones (words, lanes); None: the same."""
    ended = link.tensor in simulation.outputs
    words = simulation.outputs[link.tensor] if ended else simulation.streams[link.name]
    words = words.reshape(-1, link.stream.lanes)
    assert words.shape == expected.shape, (link.name, words.shape, expected.shape)
    wrong = np.flatnonzero((words != expected).any(axis=1))
    if not len(wrong):
        return None
    first = int(wrong[0])
    frame, word = divmod(first, link.words)
    pair = [tuple(map(int, values[first])) for values in (expected, words)]
    return Difference(link.producer, link.name, len(words), len(wrong), frame, word, *pair)


def differences(
    accelerator: Accelerator,
    simulation: Simulation,
    reference: Iterable[tuple[NodeProto, np.ndarray]],
) -> list[Difference]:
    """Compare the recorded streams with the nodes' reference tensors, in the order of the graph.

    The first entry names the node at fault: later ones may only pass its error on.

    Args:
        accelerator: from `stitch`.
        simulation: of `simulate(..., record=True)`.
        reference: node and output tensor (frames, ...) of every node, in hardware order
            (`build.execute.trace` on the same frames).
    """
    by_tensor = {link.tensor: link for link in accelerator.links}
    found = []
    for node, tensor in reference:
        link = by_tensor.get(node.output[0])
        if link is None or not link.producer:
            continue
        if fault := difference(link, simulation, link.to_words(tensor)):
            found.append(fault)
    return found


@dataclasses.dataclass(frozen=True)
class Stall:
    """How long a stream waits; shares of all simulated cycles.

    Attributes:
        stream: its name.
        producer, consumer: the nodes at its ends, "input" and "output" at the accelerator's.
        blocked: a word waited for the consumer.
        starved: the consumer waited for a word.
    """

    stream: str
    producer: str
    consumer: str
    blocked: float
    starved: float


def stalls(accelerator: Accelerator, simulation: Simulation, slowest: int = 5) -> list[Stall]:
    """Return where the pipeline waits, most blocked streams first.

    A stream that is mostly blocked has a consumer that limits the pipeline; the node between
    blocked inputs and starved outputs is the bottleneck.
    """
    rows = []
    for link in accelerator.links:
        if counts := simulation.watched.get(link.name):
            rows.append(
                Stall(
                    *(link.name, link.producer or "input", link.consumer or "output"),
                    *(counts[kind] / simulation.cycles for kind in ("blocked", "starved")),
                )
            )
    return sorted(rows, key=lambda row: -row.blocked)[:slowest]
