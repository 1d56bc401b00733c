"""DMAs back to back, what is read is written: several kinds in one simulator."""

from functools import cache
from pathlib import Path

import numpy as np

from build.rtl.dmas import Dma
from build.simulation.system import Played, Script, Unit, play, system
from build.simulation.verilate import build
from deploy.board.registers import DONE, FRAMES, STATUS

LONG = 200_000  # clocks in which nothing moves


def unit(name: str, word: int, frame: int, data: int, address: int, **options: int) -> Unit:
    room = {"fifo_beats": 64, "burst": 16, **options}
    return Unit(
        Dma(f"{name}_i", True, word, frame, data, address, **room),
        Dma(f"{name}_o", False, word, frame, data, address, **room),
    )


UNITS = (
    unit("sparse", 6, 8, 64, 40),
    unit("classes", 1, 1, 32, 32, in_flight=1),
    unit("wide", 4, 100, 128, 40, burst=64, in_flight=3, fifo_beats=256),
    unit("odd", 12, 5, 512, 64, burst=256, fifo_beats=256),
)


@cache
def simulator() -> Path:
    return build(system(UNITS))


def run(script: Script, seed: int = 1) -> Played:
    return play(simulator(), script, seed=seed)


def room(script: Script, address: int, data: bytes | np.ndarray) -> None:
    script.add(f"room {address} {len(data)}")
    script.load(address, bytes(data))


class Transfer:
    """A transfer that has to be right: commands now, a check of the answers later.

    Args:
        script: to add to.
        unit: whose DMAs.
        random: source of the data.
        frames: how many.
        at: addresses of source and target.
        first: which DMA is started first.
    """

    GUARD = 64

    def __init__(
        self,
        script: Script,
        unit: Unit,
        random: np.random.Generator,
        frames: int,
        at: tuple[int, int],
        first: str = "sink",
    ):
        self.unit, self.frames = unit, frames
        self.data = random.integers(0, 256, frames * unit.source.frame_bytes, np.uint8)
        self.before = random.integers(0, 256, len(self.data) + 2 * self.GUARD, np.uint8)
        # The last beat is read as a whole.
        room(script, at[0], np.pad(self.data, (0, self.GUARD)))
        room(script, at[1] - self.GUARD, self.before)
        sides = [(unit.sink, at[1]), (unit.source, at[0])]
        for dma, address in sides if first == "sink" else sides[::-1]:
            script.start(dma, address, frames)
        self.at = at

    def end(self, script: Script) -> None:
        unit = self.unit
        self.done = [script.poll(dma.name, DONE, LONG) for dma in (unit.sink, unit.source)]
        self.status = [script.read(dma.name, STATUS) for dma in (unit.sink, unit.source)]
        self.moved = [script.read(dma.name, FRAMES) for dma in (unit.sink, unit.source)]
        self.place = script.save(self.at[1] - self.GUARD, len(self.before))

    def written(self, played: Played) -> np.ndarray:
        """Return what was written, once it is sure that nothing beside it was."""
        found, guard = played.memory(self.place), self.GUARD
        np.testing.assert_array_equal(found[:guard], self.before[:guard])
        np.testing.assert_array_equal(found[-guard:], self.before[-guard:])
        return found[guard:-guard]

    def check(self, played: Played) -> None:
        assert all(played.number(place) & DONE for place in self.done)
        assert [played.number(place) for place in self.status] == [0, 0]
        assert [played.number(place) for place in self.moved] == [self.frames] * 2
        np.testing.assert_array_equal(self.written(played), self.data)
