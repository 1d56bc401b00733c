"""Simulate an accelerator of either style behind our DMAs and an AXI memory.

Frames go the way they go on a board: packed in memory, fetched by the reading DMA, through width
converter and accelerator, and their results back to memory; in several transfers, each started by
writing registers, the first of them broken off by a reset. Addresses lie across 4 KiB and, where
there is so much memory, across 4 GiB.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from build.rtl.dmas import PAGE, MemoryPort, dma_pair
from build.simulation.simulate import Simulation, simulate
from build.simulation.stitch import Accelerator
from build.simulation.system import Played, Script, Unit, play, system
from build.simulation.verilate import build
from deploy.board.registers import CLOCKS, DONE, IDLE, RESET, STATUS
from models.children import in_threads
from models.errors import BadInput, CheckFailed

LATENCY = (20, 80)  # clocks of the memory, drawn for each burst
PAUSE = 16  # most clocks of a pause
ALONE = 12  # frames that tell the accelerator's own pace
PATIENCE = 1_000_000  # clocks in which no word moves that count as a deadlock
BROKEN_OFF = 700  # clocks to a reset
LEAST = 64  # frames a run, so that the pace is one of many


@dataclass(frozen=True)
class System:
    """What a simulation with DMAs and memory tells beside the results.

    Attributes:
        data_bits, address_bits: of the memory's port.
        latency: clocks from a burst's address to its first data, least and most.
        transfers: how many that ended; one more begins each run and is broken off by a reset.
        own_cycles_per_frame: of the accelerator alone, streams never pausing, simulated too; None
            of too few frames.
        cycles_per_frame: with DMAs and memory.
        frame_bytes: read and written a frame.
        rules: of AXI that were checked on every clock.
        violations: of each rule that was broken, how often.
        first_violations: where and when first.
    """

    DERIVED: ClassVar = ("share",)

    data_bits: int
    address_bits: int
    latency: tuple[int, int]
    transfers: int
    own_cycles_per_frame: float | None
    cycles_per_frame: float | None
    frame_bytes: int
    rules: int
    violations: dict[str, int]
    first_violations: dict[str, str]

    @property
    def share(self) -> float | None:
        """Of the accelerator's own pace."""
        if self.cycles_per_frame is None or self.own_cycles_per_frame is None:
            return None
        return self.own_cycles_per_frame / self.cycles_per_frame


def _rounded(cycles: float) -> float | None:
    return None if math.isnan(cycles) else round(cycles, 2)


def batches(frames: int) -> list[int]:
    """Return the sizes of the transfers of a run: a short one, and one more, before the long."""
    short = [size for size in (1, 2) if frames >= 8]
    return [*short, frames - sum(short)]


def _start(script: Script, unit: Unit, data: bytes, frames: int) -> int:
    """Start a transfer; return where its results go."""
    source, sink = unit.source, unit.sink
    beat = source.data_bits // 8
    at, to = 0x1000_0000, 0x2000_0000 + PAGE - beat
    if source.address_bits > 32:
        at = (1 << 32) - len(data) // 2 // beat * beat  # half of it below 4 GiB
    script.add("empty")
    script.add(f"room {at} {-(-len(data) // beat) * beat}")
    script.add(f"room {to} {frames * sink.frame_bytes}")
    script.load(at, data)
    script.start(sink, to, frames)
    script.start(source, at, frames)
    return to


@dataclass(frozen=True)
class _Transfer:
    """The places of a transfer's answers."""

    frames: int
    done: tuple[int, int]
    status: tuple[int, int]
    clocks: int
    results: int

    @classmethod
    def of(cls, script: Script, unit: Unit, data: bytes, frames: int) -> "_Transfer":
        """Add a transfer to a script."""
        source, sink = unit.source, unit.sink
        to = _start(script, unit, data, frames)
        done = [script.poll(dma.name, DONE, PATIENCE) for dma in (sink, source)]
        status = [script.read(dma.name, STATUS) for dma in (sink, source)]
        clocks = script.read(sink.name, CLOCKS)
        results = script.save(to, frames * sink.frame_bytes)
        return cls(frames, (done[0], done[1]), (status[0], status[1]), clocks, results)

    def check(self, played: Played) -> None:
        """Raise CheckFailed if it did not end, or ended in an error."""
        for place in self.done:
            if not played.answers[place].isdigit():
                raise CheckFailed(
                    f"a transfer of {self.frames} frames does not end: {played.answers[place]}; "
                    f"rules broken: {', '.join(played.violations) or 'none'}"
                )
        if errors := [played.number(place) for place in self.status if played.number(place)]:
            raise CheckFailed(f"a simulated DMA ends with status {errors[0]}")


def simulate_system(
    accelerator: Accelerator,
    frames: np.ndarray,
    port: MemoryPort,
    *,
    stall: float = 0.0,
    seed: int = 1,
    processes: int | None = None,
    advance: Callable[[int], Any] = lambda count: None,
) -> tuple[Simulation, System]:
    """Run frames (N, *input shape) of integers from memory through the accelerator to memory.

    Args:
        accelerator: with one input and one output.
        frames: the integers that its input takes.
        port: of the board's memory.
        stall: chance of a pause after each clock on every channel of the memory.
        seed: of pauses, latencies and the random initial state.
        processes: simulators side by side; default: one a core.
        advance: called with the number of frames finished.

    Raises:
        BadInput: the accelerator has several inputs or outputs.
        CheckFailed: a transfer did not end, or a DMA reports an error.
    """
    if len(accelerator.inputs) != 1 or len(accelerator.outputs) != 1:
        raise BadInput("an accelerator of several inputs or outputs has no DMAs here")
    (taken,), (given,) = accelerator.inputs, accelerator.outputs
    width = given.stream.width // 8
    dmas = dma_pair((taken.stream.width // 8, taken.words), (width, given.words), port)
    unit = Unit(*dmas, accelerator.design, taken.name, given.name)
    started = time.monotonic()
    executable = build(system([unit]))
    built = time.monotonic()
    processes = processes or os.cpu_count() or 1
    size = max(LEAST, -(-len(frames) // processes))
    chunks = [frames[i : i + size] for i in range(0, len(frames), size)]
    pace = f"pace {LATENCY[0]} {LATENCY[1]} {round(stall * 1024)} {PAUSE}"

    def one(index: int) -> tuple[Played, list[_Transfer], np.ndarray]:
        script, transfers = Script(), []
        script.add(pace)
        data = taken.stream.pack(taken.to_words(chunks[index])).tobytes()
        # One that a reset ends in the middle of a frame comes first.
        _start(script, unit, data, len(chunks[index]))
        script.add(f"run {BROKEN_OFF}")
        script.write(unit.source.name, RESET, 1)
        for dma in (unit.source, unit.sink):
            script.poll(dma.name, IDLE, PATIENCE)
        for count in batches(len(chunks[index])):
            size = count * unit.source.frame_bytes
            transfers.append(_Transfer.of(script, unit, data[:size], count))
            data = data[size:]
        arrivals = script.arrivals(f"{unit.sink.name}_stream")
        played = play(executable, script, files=accelerator.files, seed=seed + index)
        for transfer in transfers:
            transfer.check(played)
        advance(len(chunks[index]))
        # When each frame of the long transfer ended.
        last = transfers[-1].frames * given.words
        return played, transfers, played.clocks(arrivals)[-last:][given.words - 1 :: given.words]

    runs = in_threads(one, range(len(chunks)), min(processes, len(chunks)))
    finished = time.monotonic()
    found, intervals = [], []
    violations: dict[str, int] = {}
    first: dict[str, str] = {}
    for played, transfers, frame_ends in runs:
        found += [played.memory(transfer.results) for transfer in transfers]
        # The first interval of the long transfer fills the pipeline, the last empties it.
        gaps = np.diff(frame_ends)
        intervals.append(gaps[1:-1] if len(gaps) > 2 else gaps)
        for row in played.report["rules"]:
            if row["violations"]:
                violations[row["name"]] = violations.get(row["name"], 0) + row["violations"]
                first.setdefault(row["name"], row["first"])
    words = given.stream.unpack(np.concatenate(found).reshape(-1, width))
    gaps = np.concatenate(intervals)
    cycles = float(gaps.mean()) if len(gaps) else float("nan")
    alone = simulate(accelerator, frames[:ALONE], seed=seed, processes=1)
    simulation = Simulation(
        outputs={given.tensor: words.reshape(len(frames), given.words, given.stream.lanes)},
        streams={},
        latency_cycles=runs[0][0].number(runs[0][1][0].clocks),
        cycles_per_frame=cycles,
        fifos={},
        watched={},
        build_seconds=built - started if built - started > 1 else 0.0,
        run_seconds=finished - built,
        cycles=sum(played.report["cycles"] for played, *_ in runs),
    )
    return simulation, System(
        data_bits=port.data_bits,
        address_bits=port.address_bits,
        latency=LATENCY,
        transfers=sum(len(transfers) for _, transfers, _ in runs),
        own_cycles_per_frame=_rounded(alone.cycles_per_frame),
        cycles_per_frame=_rounded(cycles),
        frame_bytes=unit.source.frame_bytes + unit.sink.frame_bytes,
        rules=len(runs[0][0].report["rules"]),
        violations=violations,
        first_violations=first,
    )
