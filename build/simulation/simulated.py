"""What `aaronnet simulate` finds: the `simulation` of a build's report."""

from dataclasses import dataclass
from typing import Any, ClassVar

from build.simulation.simulate import Difference, Stall
from build.simulation.through_memory import System
from deploy.board.records import left_out, to_json


@dataclass(frozen=True)
class Fifo:
    """A FIFO: how many words it was made for, and how many it held at most."""

    name: str
    depth: int
    high_water: int


@dataclass(frozen=True)
class Simulated:
    """What simulating a build came to.

    Attributes:
        network, board: which build.
        frames: how many were simulated.
        mismatches: frames whose result is not the network's.
        accuracy: None where the true classes are not known.
        output: "class" or "logits".
        cycles_per_frame: in steady state; None of too few frames.
        estimated_cycles_per_frame: what the build expected.
        latency_cycles: of the first frame.
        fps_at_clock: None without cycles_per_frame.
        stall: chance of a pause after each cycle at both ends.
        fast: whether FINN's matrix unit was replaced by a faster model.
        build_seconds: of the simulator; 0 from the cache.
        nodes_compared, words_compared, differences, stalls: only where every stream was watched.
        data_label: where the frames come from.
        sizing: `sizing.Sizing`'s facts, where FIFOs were sized.
        system: what DMAs and memory did, where they were simulated too.
    """

    DERIVED: ClassVar = ("fps_at_clock", "latency_us", "simulated_frames_per_second")

    network: str
    board: str
    frames: int
    mismatches: int
    accuracy: float | None
    output: str
    cycles_per_frame: float | None
    estimated_cycles_per_frame: int
    latency_cycles: int
    clock_mhz: float
    stall: float
    fast: bool
    fifos: tuple[Fifo, ...]
    build_seconds: float
    simulation_seconds: float
    nodes_compared: int | None = left_out()
    words_compared: int | None = left_out()
    differences: tuple[Difference, ...] | None = left_out()
    stalls: tuple[Stall, ...] | None = left_out()
    data_label: str | None = left_out()
    sizing: dict[str, Any] | None = left_out()
    system: System | None = left_out()

    @property
    def fps_at_clock(self) -> float | None:
        """Frames a second."""
        return self.clock_mhz * 1e6 / self.cycles_per_frame if self.cycles_per_frame else None

    @property
    def latency_us(self) -> float:
        """Latency in microseconds."""
        return self.latency_cycles / self.clock_mhz

    @property
    def simulated_frames_per_second(self) -> float:
        """How fast the simulation went."""
        return self.frames / self.simulation_seconds

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return to_json(self)
