"""FINN's two IODMAs, played by a model: registers, and whole transfers at once.

What real ones would do silently wrong (a transfer into memory nobody allocated, a write into a busy
one's registers) is refused with a message, which pynq raises as a RuntimeError at the client.
"""

import threading
from dataclasses import dataclass, field

import numpy as np

from deploy.board.package import Package
from deploy.board.registers import (
    ADDRESS_HIGH,
    ADDRESS_LOW,
    CONTROL,
    DONE,
    IDLE,
    READY,
    REPETITIONS,
    START,
)
from deploy.virtual_board.accelerator import Accelerator
from deploy.virtual_board.fabric import HOLD, Fabric, Pace
from deploy.virtual_board.memory import Memory, Refused


@dataclass
class Dma:
    """Registers of one IODMA."""

    name: str
    registers: dict[int, int] = field(default_factory=dict)
    busy: bool = False
    done: bool = False

    @property
    def address(self) -> int:
        """Physical address to read from or write to."""
        return self.registers.get(ADDRESS_HIGH, 0) << 32 | self.registers.get(ADDRESS_LOW, 0)

    @property
    def repetitions(self) -> int:
        """Frames to transfer."""
        return self.registers.get(REPETITIONS, 0)


class PlayedDmas(Fabric):
    """An accelerator between two modelled IODMAs; its cycles are those without DMAs.

    Args:
        package: of the accelerator.
        accelerator: what computes.
    """

    own_dmas = False

    def __init__(self, package: Package, accelerator: Accelerator):
        self.package, self.accelerator = package, accelerator
        self.source = accelerator.source
        self._changed = threading.Condition()
        self._first_state()

    def _first_state(self) -> None:
        self._input, self._output = Dma(self.package.input.dma), Dma(self.package.output.dma)
        self._last: Pace | None = None
        self._frames, self._failure = 0, ""

    def connect(self, memory: Memory) -> None:
        """Remember the memory."""
        self._memory = memory

    def program(self) -> None:
        """Take new DMAs: a transfer that still runs ends with the old ones."""
        with self._changed:
            self._first_state()

    def memory_changed(self) -> None:
        """Do nothing: buffers are looked up when a transfer starts."""

    def close(self) -> None:
        """Do nothing: a transfer that runs ends with the process."""

    @property
    def in_flight(self) -> bool:
        """Whether a transfer runs."""
        return self._input.busy and self._output.busy

    def told(self) -> tuple[Pace | None, int]:
        """Return what the accelerator said of its runs."""
        with self._changed:
            return self._last, self._frames

    def read(self, reads_memory: bool, register: int) -> int:
        """Return a register."""
        with self._changed:
            dma = self._input if reads_memory else self._output
            if register != CONTROL:
                return dma.registers.get(register, 0)
            if dma.busy and self.in_flight:
                self._changed.wait_for(lambda: not dma.busy, HOLD)
            if self._failure:
                raise Refused(self._failure)
            value = (START if dma.busy else IDLE | READY) | (DONE if dma.done else 0)
            dma.done = False
            return value

    def write(self, reads_memory: bool, register: int, word: int) -> None:
        """Write a register."""
        with self._changed:
            dma = self._input if reads_memory else self._output
            if dma.busy:
                raise Refused(f"{dma.name} is busy: its registers cannot be written")
            if register != CONTROL:
                dma.registers[register] = word
            elif word & START:
                dma.busy, dma.done = True, False
                if self.in_flight:
                    self._start()

    def _start(self) -> None:
        """Both DMAs were started: move the frames."""
        try:
            frames = self._input.repetitions
            if frames != self._output.repetitions or not frames:
                raise Refused(
                    f"{self._input.name} was started for {frames} frames, {self._output.name} "
                    f"for {self._output.repetitions}: such a transfer never ends"
                )
            source = self._at(self._input, frames * self.package.input.frame_bytes)
            target = self._at(self._output, frames * self.package.output.frame_bytes)
        except Refused:
            self._input.busy = self._output.busy = False
            raise
        data = np.frombuffer(bytes(source), np.uint8).reshape(frames, -1)
        parties = self._input, self._output
        threading.Thread(target=self._transfer, args=(data, target, parties), daemon=True).start()

    def _transfer(self, data: np.ndarray, target: memoryview, parties: tuple[Dma, Dma]) -> None:
        try:
            run, failure = self.accelerator.run(data), ""
        except Exception as error:  # the client must hear of it whatever it was
            run, failure = None, f"{type(error).__name__}: {error}"
        with self._changed:
            # Of a board that was programmed anew nobody has the memory any more.
            if parties[0] is self._input:
                self._failure = failure
                if run is not None:
                    target[:] = run.results.tobytes()
                    self._last = Pace(len(data), run.cycles, run.latency, run.interval)
                    self._frames += len(data)
            for dma in parties:
                dma.busy, dma.done = False, True
            self._changed.notify_all()

    def _at(self, dma: Dma, size: int) -> memoryview:
        found = self._memory.at(dma.address, size)
        if found is None:
            raise Refused(
                f"{dma.name} was to move {size} bytes at 0x{dma.address:X}, outside all buffers"
            )
        return found
