"""What is in the board's fabric: two DMAs with registers, and the accelerator between them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from deploy.virtual_board.memory import Memory


@dataclass(frozen=True)
class Pace:
    """How long a transfer took.

    Attributes:
        frames: that went through.
        cycles: clock cycles of the whole transfer.
        latency: clock cycles to the first frame's result.
        interval: clock cycles from a frame's result to the next one's in steady state.
    """

    frames: int
    cycles: int
    latency: int
    interval: float


class Fabric(ABC):
    """Calls come one at a time.

    Attributes:
        source: where its cycles come from, "simulated" or "estimated".
        own_dmas: the DMAs are ours, their RTL is simulated; or else a model plays FINN's.
    """

    source: str
    own_dmas: bool

    @abstractmethod
    def connect(self, memory: Memory) -> None:
        """Remember the memory that the DMAs are at."""

    @abstractmethod
    def program(self) -> None:
        """Put everything into its first state.

        Raises:
            Refused: that failed.
        """

    @abstractmethod
    def read(self, reads_memory: bool, register: int) -> int:
        """Return a register of the DMA that reads memory, or of the one that writes it.

        A busy DMA may hold its answer for some milliseconds: clients poll without pause.

        Raises:
            Refused: the accelerator failed.
        """

    @abstractmethod
    def write(self, reads_memory: bool, register: int, word: int) -> None:
        """Write a register of a DMA.

        Raises:
            Refused: this cannot be done.
        """

    @property
    @abstractmethod
    def in_flight(self) -> bool:
        """Whether a transfer runs."""

    @abstractmethod
    def told(self) -> tuple[Pace | None, int]:
        """Return the last transfer's pace and the frames of all, since it was programmed.

        Raises:
            Refused: the simulator ended.
        """

    @abstractmethod
    def memory_changed(self) -> None:
        """Take note that buffers were allocated or freed."""

    @abstractmethod
    def close(self) -> None:
        """End what runs."""


HOLD = 0.02
"""Seconds to hold a poll of a busy DMA: pynq polls without pause, the simulator needs the CPU."""
