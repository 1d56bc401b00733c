"""The board itself: memory, registers, what is in its fabric, and who may use them.

What is refused here reaches the client as a message, which pynq raises as a RuntimeError.
"""

import itertools
import struct
import threading
import time
from collections.abc import Callable

from deploy.board.package import Package
from deploy.board.registers import (
    ALL_FRAMES_HIGH,
    ALL_FRAMES_LOW,
    CLOCK_KHZ,
    COUNTERS,
    LAST_CYCLES_HIGH,
    LAST_CYCLES_LOW,
    LAST_FRAMES,
    LAST_INTERVAL,
    LAST_LATENCY,
    MAGIC,
    MAGIC_VALUE,
    SOURCE,
    SOURCES,
)
from deploy.virtual_board.fabric import Fabric
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


class Board:
    """A virtual board; every method may be called from any thread.

    Args:
        package: whose accelerator it carries.
        fabric: what an overlay of that package puts into the fabric.
        memory: bytes that clients can allocate.
        lease: seconds without a call after which another client may take the board over.
        connected: whether a client is still there; one that left need not be waited for.
    """

    def __init__(
        self,
        package: Package,
        fabric: Fabric,
        memory: int = 512 << 20,
        lease: float = 10.0,
        connected: Callable[[str], bool] = lambda client: True,
    ):
        self.package, self.fabric = package, fabric
        self._family = family(package)
        self._memory = Memory(memory, self._family.memory)
        self.lease, self.connected = lease, connected
        self._alone = threading.RLock()
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
        self._programmed = False
        names = blocks(package)
        # Base address -> whether the DMA there reads memory.
        self._dmas = {names[package.input.dma]: True, names[package.output.dma]: False}
        self._counters_base = names[COUNTERS]
        fabric.connect(self._memory)

    # -- who may use the board -------------------------------------------------------------------

    def _claim(self, client: str) -> None:
        """Make `client` the board's user, unless another one is at work."""
        now = time.monotonic()
        if client != self._owner:
            idle = now - self._last_call >= self.lease
            if self._owner and (
                self.fabric.in_flight or not (idle or not self.connected(self._owner))
            ):
                raise Refused("the board is in use by another client; try again when it is done")
            self._programmed = False
            # Ids are never used twice: what the last client still holds is refused.
            self._maps.clear()
            self._memory.clear()
            self.fabric.memory_changed()
            self._owner = client
        self._last_call = now

    # -- files -----------------------------------------------------------------------------------

    def exists(self, path: str) -> bool:
        """Whether the board's (virtual) file system has this file."""
        with self._alone:
            return path in self._files

    def read_file(self, path: str) -> bytes:
        """Return a file's contents."""
        with self._alone:
            if path not in self._files:
                raise Refused(f"the virtual board has no file {path}")
            return self._files[path]

    def write_file(self, client: str, path: str, data: bytes) -> None:
        """Write a file; writing the FPGA manager's `firmware` programs the fabric."""
        with self._alone:
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
        with self._alone:
            self._claim(client)
            self._files.pop(FIRMWARE + name, None)

    def _program(self, name: str) -> None:
        firmware = self._files.pop(FIRMWARE + name, None)
        if firmware is None:
            raise Refused(f"no firmware {name} was uploaded")
        if self.fabric.in_flight:
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
        self.fabric.program()
        self._programmed = True
        self._files[MANAGER + "state"] = b"operating\n"

    # -- registers -------------------------------------------------------------------------------

    def map(self, client: str, base: int, length: int) -> str:
        """Return an id for a range of addresses."""
        with self._alone:
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
        with self._alone:
            self._claim(client)
            address = self._address(name, offset, 4)
            base, register = address & -SPAN, address & (SPAN - 1)
            if base in self._dmas:
                self._check_programmed()
                return self.fabric.read(self._dmas[base], register)
            if base == self._counters_base:
                return self._counters().get(register, 0)
            return self._words.get(address, 0)

    def write_words(self, client: str, name: str, offset: int, data: bytes) -> None:
        """Write little-endian 32-bit words from `offset` of a mapped range on."""
        with self._alone:
            self._claim(client)
            address = self._address(name, offset, len(data))
            if len(data) % 4 or not data:
                raise Refused(f"{len(data)} bytes are no whole number of words")
            for index, (word,) in enumerate(struct.iter_unpack("<I", data)):
                at = address + 4 * index
                base, register = at & -SPAN, at & (SPAN - 1)
                if base in self._dmas:
                    self._check_programmed()
                    self.fabric.write(self._dmas[base], register, word)
                else:
                    self._words[at] = word

    def _check_programmed(self) -> None:
        if not self._programmed:
            raise Refused("no overlay is loaded")

    def _counters(self) -> dict[int, int]:
        last, frames = self.fabric.told()
        return {
            MAGIC: MAGIC_VALUE,
            SOURCE: SOURCES[self.fabric.source],
            CLOCK_KHZ: round(self.clock_mhz * 1000),
            LAST_FRAMES: 0 if last is None else last.frames,
            LAST_CYCLES_LOW: 0 if last is None else last.cycles & 0xFFFFFFFF,
            LAST_CYCLES_HIGH: 0 if last is None else last.cycles >> 32,
            LAST_LATENCY: 0 if last is None else last.latency,
            LAST_INTERVAL: 0 if last is None else round(last.interval * 256) & 0xFFFFFFFF,
            ALL_FRAMES_LOW: frames & 0xFFFFFFFF,
            ALL_FRAMES_HIGH: frames >> 32,
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
        with self._alone:
            self._claim(client)
            name = f"buffer{next(self._ids)}"
            self._memory.allocate(name, size)
            self.fabric.memory_changed()
            return name

    def buffer(self, client: str, name: str) -> Buffer:
        """Return a buffer."""
        with self._alone:
            self._claim(client)
            if name not in self._memory.buffers:
                raise Refused("this buffer is gone: freed, or another client took the board over")
            return self._memory.buffers[name]

    def write_buffer(self, client: str, name: str, start: int, data: bytes) -> None:
        """Copy `data` into a buffer."""
        buffer = self.buffer(client, name)
        with self._alone:
            buffer.write(start, data)

    def free(self, client: str, name: str) -> None:
        """Free a buffer; one that is gone already is no error."""
        with self._alone:
            # Clean-up after a take-over must not take the board back.
            if client == self._owner:
                self._memory.free(name)
                self.fabric.memory_changed()


def describe(board: Board) -> str:
    """Return one line on what the board is."""
    package = board.package
    return (
        f"{MARK}: {package.network.name} for {package.board} at {package.clock_mhz:g} MHz, "
        f"cycles {board.fabric.source}, "
        + ("DMAs simulated" if board.fabric.own_dmas else "DMAs played by a model")
    )
