"""The board itself: memory, registers, two IODMAs, and who may use them.

What a real board would do silently wrong (a transfer into memory nobody allocated, two clients on
one DMA) is refused here with a message, which pynq raises as a RuntimeError at the client.
"""

import itertools
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from deploy.board.package import Package
from deploy.board.registers import (
    ADDRESS_HIGH,
    ADDRESS_LOW,
    ALL_FRAMES_HIGH,
    ALL_FRAMES_LOW,
    CLOCK_KHZ,
    CONTROL,
    COUNTERS,
    DONE,
    IDLE,
    LAST_CYCLES_HIGH,
    LAST_CYCLES_LOW,
    LAST_FRAMES,
    LAST_INTERVAL,
    LAST_LATENCY,
    MAGIC,
    MAGIC_VALUE,
    READY,
    REPETITIONS,
    SOURCE,
    SOURCES,
    START,
)
from deploy.virtual_board.accelerator import Accelerator, Run
from deploy.virtual_board.memory import Buffer, Memory, Refused
from deploy.virtual_board.overlay import (
    MARK,
    SPAN,
    ZYNQ7000,
    blocks,
    family,
    payload,
    read_payload,
)

MAX_FIRMWARE = 64 << 20
FIRMWARE = "/lib/firmware/"
MANAGER = "/sys/class/fpga_manager/fpga0/"

HOLD = 0.02
"""Seconds to hold a poll of a busy DMA: pynq polls without pause, the simulator needs the CPU."""

# Reset values of the clock registers; the rest of the processing system is plain memory.
_PLL, _FABRIC = 90 << 8 | 1 << 16, 1 << 24 | 1 << 16 | 15 << 8
_CLOCKS = {
    "aarch64": {
        **dict.fromkeys((0xFF5E0020, 0xFF5E0030), _PLL),
        **dict.fromkeys((0xFF5E00C0, 0xFF5E00C4, 0xFF5E00C8, 0xFF5E00CC), _FABRIC),
        **dict.fromkeys((0xFD1A0020, 0xFD1A002C, 0xFD1A0038), 72 << 8 | 1 << 16),
        0xFD1A0060: 1 << 8,
    },
    "armv7l": {
        **dict.fromkeys((0xF8000100, 0xF8000104, 0xF8000108), 20 << 12),
        **dict.fromkeys((0xF8000170, 0xF8000180, 0xF8000190, 0xF80001A0), 1 << 20 | 10 << 8),
        0xF8000120: 2 << 8,
    },
}


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


class Board:
    """A virtual board; every method may be called from any thread.

    Args:
        package: whose accelerator it carries.
        accelerator: what computes.
        memory: bytes that clients can allocate.
        lease: seconds without a call after which another client may take the board over.
        connected: whether a client is still there; one that left need not be waited for.
    """

    def __init__(
        self,
        package: Package,
        accelerator: Accelerator,
        memory: int = 512 << 20,
        lease: float = 10.0,
        connected: Callable[[str], bool] = lambda client: True,
    ):
        self.package, self.accelerator = package, accelerator
        self._memory, self.lease, self.connected = Memory(memory), lease, connected
        self._family = family(package)
        self._changed = threading.Condition()
        self._ids = itertools.count(1)
        self._words: dict[int, int] = dict(_CLOCKS[self._family.architecture])
        self._files = {
            "/proc/version": f"Linux version (virtual) {self._family.architecture}".encode(),
            "/proc/device-tree/chosen/pynq_board": package.board.encode(),
            MANAGER + "state": b"unknown\n",
            MANAGER + "flags": b"0\n",
        }
        self._owner, self._last_call = "", 0.0
        self._maps: dict[str, tuple[int, int]] = {}
        self._reset(programmed=False)

    def _reset(self, programmed: bool) -> None:
        """Put the fabric into its first state."""
        self._programmed = programmed
        names = blocks(self.package)
        self._input, self._output = Dma(self.package.input.dma), Dma(self.package.output.dma)
        self._dmas = {names[dma.name]: dma for dma in (self._input, self._output)}
        self._counters_base = names[COUNTERS]
        self._last: Run | None = None
        self._frames = 0
        self._failure = ""

    # -- who may use the board -------------------------------------------------------------------

    @property
    def _in_flight(self) -> bool:
        return self._input.busy and self._output.busy

    def _claim(self, client: str) -> None:
        """Make `client` the board's user, unless another one is at work."""
        now = time.monotonic()
        if client != self._owner:
            idle = now - self._last_call >= self.lease
            if self._owner and (self._in_flight or not (idle or not self.connected(self._owner))):
                raise Refused("the board is in use by another client; try again when it is done")
            self._reset(programmed=False)
            # Ids are never used twice: what the last client still holds is refused.
            self._maps.clear()
            self._memory.buffers.clear()
            self._owner = client
        self._last_call = now

    # -- files -----------------------------------------------------------------------------------

    def exists(self, path: str) -> bool:
        """Whether the board's (virtual) file system has this file."""
        with self._changed:
            return path in self._files

    def read_file(self, path: str) -> bytes:
        """Return a file's contents."""
        with self._changed:
            if path not in self._files:
                raise Refused(f"the virtual board has no file {path}")
            return self._files[path]

    def write_file(self, client: str, path: str, data: bytes) -> None:
        """Write a file; writing the FPGA manager's `firmware` programs the fabric."""
        with self._changed:
            self._claim(client)
            if path == MANAGER + "firmware":
                self._program(data.decode(errors="replace").strip())
            elif path == MANAGER + "flags" or path.startswith(FIRMWARE):
                if len(data) > MAX_FIRMWARE:
                    raise Refused(f"{path} is larger than {MAX_FIRMWARE >> 20} MiB")
                self._files[path] = data
            else:
                raise Refused(f"the virtual board lets nobody write {path}")

    def forget_firmware(self, client: str, name: str) -> None:
        """Drop an uploaded .bin: pynq uploads none that is there already, whatever it holds."""
        with self._changed:
            self._claim(client)
            self._files.pop(FIRMWARE + name, None)

    def _program(self, name: str) -> None:
        firmware = self._files.pop(FIRMWARE + name, None)
        if firmware is None:
            raise Refused(f"no firmware {name} was uploaded")
        if self._in_flight:
            raise Refused("a transfer is running; wait for it before loading an overlay")
        found, wanted = read_payload(firmware), payload(self.package)
        if found is None:
            raise Refused("this virtual board runs virtual overlays only, this is another bitfile")
        for key, what in (("board", "board"), ("clock_mhz", "clock"), ("package", "package")):
            if found.get(key) != wanted[key]:
                raise Refused(
                    f"the bitfile is for another {what} ({found.get(key)}) than this virtual "
                    f"board's ({wanted[key]}); start one with: aaronnet board serve PACKAGE"
                )
        self._reset(programmed=True)
        self._files[MANAGER + "state"] = b"operating\n"

    # -- registers -------------------------------------------------------------------------------

    def map(self, client: str, base: int, length: int) -> str:
        """Return an id for a range of addresses."""
        with self._changed:
            self._claim(client)
            if base % 4 or not 4 <= length <= 1 << 24:
                raise Refused(f"no registers can be mapped at 0x{base:X}, length {length}")
            name = f"mmio{next(self._ids)}"
            self._maps[name] = (base, length)
            return name

    def _address(self, name: str, offset: int, length: int) -> int:
        if name not in self._maps:
            raise Refused("another client took the board over; load the overlay again")
        base, size = self._maps[name]
        if offset % 4 or offset + length > size:
            raise Refused(f"offset 0x{offset:X} lies outside the mapped {size} bytes")
        return base + offset

    def read_word(self, client: str, name: str, offset: int) -> int:
        """Return the 32-bit word at `offset` of a mapped range."""
        with self._changed:
            self._claim(client)
            address = self._address(name, offset, 4)
            base, register = address & -SPAN, address & (SPAN - 1)
            if base in self._dmas:
                return self._read_dma(self._dmas[base], register)
            if base == self._counters_base:
                return self._counters().get(register, 0)
            return self._words.get(address, 0)

    def write_words(self, client: str, name: str, offset: int, data: bytes) -> None:
        """Write little-endian 32-bit words from `offset` of a mapped range on."""
        with self._changed:
            self._claim(client)
            address = self._address(name, offset, len(data))
            if len(data) % 4 or not data:
                raise Refused(f"{len(data)} bytes are no whole number of words")
            for index, (word,) in enumerate(struct.iter_unpack("<I", data)):
                at = address + 4 * index
                base, register = at & -SPAN, at & (SPAN - 1)
                if base in self._dmas:
                    self._write_dma(self._dmas[base], register, word)
                else:
                    self._words[at] = word

    def _read_dma(self, dma: Dma, register: int) -> int:
        if not self._programmed:
            raise Refused("no overlay is loaded")
        if register != CONTROL:
            return dma.registers.get(register, 0)
        if dma.busy and self._in_flight:
            self._changed.wait_for(lambda: not dma.busy, HOLD)
        if self._failure:
            raise Refused(self._failure)
        value = (START if dma.busy else IDLE | READY) | (DONE if dma.done else 0)
        dma.done = False
        return value

    def _write_dma(self, dma: Dma, register: int, word: int) -> None:
        if not self._programmed:
            raise Refused("no overlay is loaded")
        if dma.busy:
            raise Refused(f"{dma.name} is busy: its registers cannot be written")
        if register != CONTROL:
            dma.registers[register] = word
        elif word & START:
            dma.busy, dma.done = True, False
            if self._in_flight:
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
            if run is not None:
                target[:] = run.results.tobytes()
            target.release()
            if parties[0] is self._input:
                self._failure = failure
                if run is not None:
                    self._last = run
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

    def _counters(self) -> dict[int, int]:
        run = self._last
        return {
            MAGIC: MAGIC_VALUE,
            SOURCE: SOURCES[self.accelerator.source],
            CLOCK_KHZ: round(self.clock_mhz * 1000),
            LAST_FRAMES: 0 if run is None else len(run.results),
            LAST_CYCLES_LOW: 0 if run is None else run.cycles & 0xFFFFFFFF,
            LAST_CYCLES_HIGH: 0 if run is None else run.cycles >> 32,
            LAST_LATENCY: 0 if run is None else run.latency,
            LAST_INTERVAL: 0 if run is None else round(run.interval * 256) & 0xFFFFFFFF,
            ALL_FRAMES_LOW: self._frames & 0xFFFFFFFF,
            ALL_FRAMES_HIGH: self._frames >> 32,
        }

    @property
    def clock_mhz(self) -> float:
        """The accelerator's clock: its clocking wizard multiplies fabric clock 0's 100 MHz."""
        zynq = self._family is ZYNQ7000
        word = self._words[0xF8000170 if zynq else 0xFF5E00C0]
        first, second = word >> 8 & 0x3F, word >> (20 if zynq else 16) & 0x3F
        source = 1000.0 if zynq else 1500.0
        return self.package.clock_mhz * source / 100 / max(first * second, 1)

    # -- memory ----------------------------------------------------------------------------------

    def allocate(self, client: str, size: int) -> str:
        """Return the id of a new buffer of `size` zero bytes."""
        with self._changed:
            self._claim(client)
            name = f"buffer{next(self._ids)}"
            self._memory.allocate(name, size)
            return name

    def buffer(self, client: str, name: str) -> Buffer:
        """Return a buffer."""
        with self._changed:
            self._claim(client)
            if name not in self._memory.buffers:
                raise Refused("this buffer is gone: freed, or another client took the board over")
            return self._memory.buffers[name]

    def write_buffer(self, client: str, name: str, start: int, data: bytes) -> None:
        """Copy `data` into a buffer."""
        buffer = self.buffer(client, name)
        with self._changed:
            buffer.write(start, data)

    def free(self, client: str, name: str) -> None:
        """Free a buffer; one that is gone already is no error."""
        with self._changed:
            # Clean-up after a take-over must not take the board back.
            if client == self._owner:
                self._memory.buffers.pop(name, None)


def describe(board: Board) -> str:
    """Return one line on what the board is."""
    package = board.package
    return (
        f"{MARK}: {package.network.name} for {package.board} at {package.clock_mhz:g} MHz, "
        f"cycles {board.accelerator.source}"
    )
