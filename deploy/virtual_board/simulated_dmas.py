"""Our DMAs around the accelerator, all of it RTL, verilated: registers and transfers are the RTL's.

Nothing is refused here that a board would do: a DMA that meets no memory gets DECERR, one that is
started while it is busy counts that, see docs/boards.md.
"""

import json
from pathlib import Path

from build.rtl.dmas import dma_pair, memory_port
from build.simulation import live
from build.simulation.rtl_folder import read_rtl
from build.simulation.system import Unit, system
from build.simulation.through_memory import LATENCY
from build.simulation.verilate import build
from deploy.board.package import Package
from deploy.board.registers import CONTROL, DONE, START
from deploy.virtual_board.fabric import HOLD, Fabric, Pace
from deploy.virtual_board.memory import Memory, Refused
from models.errors import BadInput, CheckFailed

DECODED = 128  # bytes of registers that the DMAs' slaves decode


class SimulatedDmas(Fabric):
    """DMAs and accelerator behind a model of the board's memory; every AXI rule is checked.

    Args:
        package: says what a frame is.
        folder: the accelerator's RTL, see `build.simulation.rtl_folder`.
        fast: with the faster model of FINN's matrix-vector core.

    Raises:
        BadInput: the RTL does not fit the package.
        CheckFailed: it cannot be verilated.
    """

    source, own_dmas = "simulated", True

    def __init__(self, package: Package, folder: Path, fast: bool = False):
        rtl = read_rtl(folder, fast)
        widths = rtl.input.width // 8, rtl.output.width // 8
        words = [
            port.frame_bytes // width
            for port, width in zip((package.input, package.output), widths, strict=True)
        ]
        found = widths[0], widths[1], rtl.output_words
        if found != (package.input.packed[-1], package.output.packed[-1], words[1]):
            raise BadInput(
                f"{folder}: streams of {found[:2]} bytes with {found[2]} words a result are not "
                "what the manifest says"
            )
        pair = dma_pair((widths[0], words[0]), (widths[1], words[1]), memory_port(package.part))
        self._unit = Unit(*pair, rtl.design, rtl.input.name, rtl.output.name)
        self._files, self._result_words = rtl.data, words[1]
        self.executable = build(system([self._unit]))
        self._live: live.Live | None = None
        self._memory: Memory | None = None

    def connect(self, memory: Memory) -> None:
        """Remember the memory; the simulator maps the same bytes."""
        self._memory = memory

    def program(self) -> None:
        """Start the simulator anew."""
        self.close()
        assert self._memory is not None
        banks = [
            live.Bank(self._memory.fd, bank.offset, bank.address, bank.size)
            for bank in self._memory.banks
        ]
        try:
            self._live = live.Live(self.executable, banks, self._files)
        except OSError as error:
            raise Refused(f"the simulator does not start: {error}") from error
        self._ask(f"pace {LATENCY[0]} {LATENCY[1]} 0 1")
        self._ask(f"watch {self._unit.sink.name}_stream {self._result_words}")
        self.memory_changed()

    def close(self) -> None:
        """End the simulator."""
        if self._live is not None:
            self._live.close()
        self._live = None

    def memory_changed(self) -> None:
        """Only what is allocated is memory to the DMAs."""
        if self._live is not None and self._memory is not None:
            rooms = (
                f"{buffer.address} {len(buffer.data)}" for buffer in self._memory.buffers.values()
            )
            self._ask(f"rooms {' '.join(rooms)}")

    @property
    def in_flight(self) -> bool:
        """Whether both DMAs are busy and words move."""
        if self._live is None:
            return False
        busy, stuck = self._ask("state").split()
        return busy == "3" and stuck == "0"

    def read(self, reads_memory: bool, register: int) -> int:
        """Read the RTL's register."""
        hold = round(1000 * HOLD) if register == CONTROL else 0
        dma = self._unit.source if reads_memory else self._unit.sink
        at = register % DECODED
        value = int(self._ask(f"await {dma.name}_s_axi {at} {hold}"))
        if register == CONTROL:
            if value & START and self._ask("state").endswith(" 1"):
                raise Refused(
                    "no word has moved for a million clock cycles: the simulated accelerator "
                    "hangs; load the overlay again"
                )
            if value & DONE:
                self._check_rules()
        return value

    def write(self, reads_memory: bool, register: int, word: int) -> None:
        """Write the RTL's register."""
        dma = self._unit.source if reads_memory else self._unit.sink
        self._ask(f"write {dma.name}_s_axi {register % DECODED} {word}")

    def told(self) -> tuple[Pace | None, int]:
        """Return what was counted in the simulation."""
        if self._live is None:
            return None, 0
        frames, cycles, latency, interval, total, _ = self._numbers()
        pace = Pace(frames, cycles, latency, interval / 256) if cycles else None
        return pace, total

    def _check_rules(self) -> None:
        if self._numbers()[-1]:
            report = json.loads(self._ask("report"))
            rule = next(row for row in report["rules"] if row["violations"])
            raise Refused(f"AXI's rule {rule['name']} is violated by {rule['first']}")

    def _numbers(self) -> list[int]:
        return [int(number) for number in self._ask("transfer").split()]

    def _ask(self, command: str) -> str:
        if self._live is None:
            raise Refused("no overlay is loaded")
        try:
            return self._live.ask(command)
        except CheckFailed as error:
            self.close()
            raise Refused(f"{error}; load the overlay again") from error
