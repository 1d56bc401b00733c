"""FIFO depths from simulation: the smallest that keep the pace of endless FIFOs."""

import dataclasses
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from build.simulation.simulate import Simulation, simulate
from build.simulation.stitch import Accelerator
from models.errors import CheckFailed

SIZED_FIFO = Path(__file__).parent / "fifo_sized.sv"
LEAST = 2  # what FINN accepts; fifo.sv then holds five words
HELD_AT_LEAST = 5


@dataclasses.dataclass(frozen=True)
class Sizing:
    """The depths found and what they cost."""

    depths: dict[str, int]  # FIFO node -> depth
    cycles_least: float  # cycles a frame with every FIFO at the least depth
    cycles_endless: float  # with endless FIFOs
    cycles: float  # with the depths found
    bits: int  # words x width over all FIFOs

    def config(self) -> dict[str, dict[str, int]]:
        """Return the depths as FINN's configuration JSON has them."""
        return {name: {"depth": depth} for name, depth in self.depths.items()}

    def facts(self) -> dict[str, Any]:
        """Return plain types: depths, cycles_per_frame, least, endless, bits."""
        return {
            "depths": self.config(),
            "cycles_per_frame": self.cycles,
            "least": self.cycles_least,
            "endless": self.cycles_endless,
            "bits": self.bits,
        }


def with_sized_fifos(accelerator: Accelerator) -> tuple[Accelerator, dict[str, int]]:
    """Return the accelerator with FIFOs sized at run time, and how much each can hold at most."""
    sources = dict(accelerator.design.sources)
    limits = {}
    for link in accelerator.links:
        name = link.producer
        if name not in accelerator.fifos:
            continue
        # Two frames: one leaving, one arriving.
        limits[name] = max(2 * link.words, HELD_AT_LEAST, accelerator.fifos[name])
        text, found = re.subn(
            r"\bfifo #\(\.DEPTH\(\d+\), (\.DATA_WIDTH\(\d+\)), \.RAM_STYLE\(\"\w+\"\)\)",
            rf'fifo_sized #(.MAX_DEPTH({limits[name]}), \1, .DEPTH_FILE("{name}.depth"))',
            sources[f"{name}.v"],
        )
        if found != 1:
            raise CheckFailed(f"{name}.v is not the FIFO wrapper of finn-plus 1.6.1")
        sources[f"{name}.v"] = text
    sources.pop("fifo.sv", None)
    sources = {"fifo_sized.sv": SIZED_FIFO.read_text()} | sources
    # Packages stay in front.
    ordered = dict(sorted(sources.items(), key=lambda item: not item[0].endswith("_pkg.sv")))
    design = dataclasses.replace(accelerator.design, sources=ordered)
    return dataclasses.replace(accelerator, design=design), limits


def before_joins(accelerator: Accelerator) -> dict[str, int]:
    """Return the FIFOs in front of nodes with several streams in, and their depths."""
    inputs = Counter(link.consumer for link in accelerator.links)
    return {
        link.producer: accelerator.fifos[link.producer]
        for link in accelerator.links
        if inputs[link.consumer] > 1 and link.producer in accelerator.fifos
    }


def size_fifos(
    accelerator: Accelerator,
    frames: np.ndarray,
    *,
    tolerance: float = 0.01,
    advance: Callable[[int], Any] = lambda count: None,
) -> Sizing:
    """Search the least FIFO depths that keep the pace of endless FIFOs.

    First one bound for all FIFOs is halved as long as the pace holds, then every FIFO that is
    still deeper than the least is tried at the least, the largest first. FIFOs in front of joins
    keep at least the depth that they have: it is the one without which branches may block one
    another. At last random pauses at both ends must not bring the accelerator to a halt.

    Args:
        accelerator: from `stitch`.
        frames: at least four frames, back to back.
        tolerance: how much slower than with endless FIFOs is acceptable.
        advance: called with 1 after each simulation.

    Raises:
        CheckFailed: the accelerator deadlocks even with endless FIFOs, or under random pauses.
    """
    sized, limits = with_sized_fifos(accelerator)
    width = {link.producer: link.stream.width for link in accelerator.links}
    floors = dict.fromkeys(limits, LEAST) | before_joins(accelerator)

    def pace(depths: dict[str, int], **options: Any) -> Simulation:
        held = {name: max(depth, HELD_AT_LEAST) for name, depth in depths.items()}
        files = {f"{name}.depth": f"{depth:x}\n".encode() for name, depth in held.items()}
        trial = dataclasses.replace(sized, files=sized.files | files)
        result = simulate(trial, frames, processes=1, **options)
        advance(1)
        return result

    endless = pace(limits)
    wanted = endless.cycles_per_frame * (1 + tolerance)
    least = pace(floors).cycles_per_frame

    def bounded(bound: int) -> dict[str, int]:
        return {name: max(min(level, bound), floors[name]) for name, level in endless.fifos.items()}

    bound = 1 << max(endless.fifos.values()).bit_length()
    depths = bounded(bound)
    while bound > LEAST:
        smaller = bounded(max(bound // 2, LEAST))
        if pace(smaller).cycles_per_frame > wanted:
            break
        bound, depths = max(bound // 2, LEAST), smaller
    deep = [n for n, depth in depths.items() if depth > max(HELD_AT_LEAST, floors[n])]
    for name in sorted(deep, key=lambda name: -depths[name] * width[name]):
        trial = depths | {name: floors[name]}
        if pace(trial).cycles_per_frame <= wanted:
            depths = trial
    depths = {n: floors[n] if depth <= HELD_AT_LEAST else depth for n, depth in depths.items()}
    found = pace(depths).cycles_per_frame
    for seed in (1, 2):
        pace(depths, stall=0.3, burst=50, seed=seed)
    bits = sum(max(depth, HELD_AT_LEAST) * width[name] for name, depth in depths.items())
    return Sizing(depths, least, endless.cycles_per_frame, found, bits)
