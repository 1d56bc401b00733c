"""The board's memory for transfers: buffers that clients allocate, found again by address."""

from bisect import insort
from dataclasses import dataclass

PAGE = 4096
BASE = 0x1000_0000


class Refused(Exception):
    """The board cannot do what the client asks for; the message is for its user."""


@dataclass
class Buffer:
    """Contiguous memory."""

    address: int
    data: bytearray

    def write(self, start: int, data: bytes) -> None:
        """Copy `data` into the buffer."""
        if start < 0 or start + len(data) > len(self.data):
            raise Refused(f"{start + len(data)} bytes do not fit the buffer's {len(self.data)}")
        self.data[start : start + len(data)] = data


class Memory:
    """Buffers by id.

    Args:
        size: bytes that can be allocated in all.
    """

    def __init__(self, size: int):
        self.size = size
        self.buffers: dict[str, Buffer] = {}

    def allocate(self, name: str, size: int) -> None:
        """Make a buffer of `size` zero bytes at the first address where there is room."""
        if size <= 0:
            raise Refused(f"cannot allocate {size} bytes")
        used: list[tuple[int, int]] = []
        for buffer in self.buffers.values():
            insort(used, (buffer.address, buffer.address + len(buffer.data)))
        address = BASE
        for start, end in used:
            if address + size <= start:
                break
            address = -(-end // PAGE) * PAGE
        if address + size > BASE + self.size:
            raise Refused(
                f"no room for {size} bytes in the board's {self.size >> 20} MiB for buffers; "
                "use smaller batches"
            )
        self.buffers[name] = Buffer(address, bytearray(size))

    def at(self, address: int, size: int) -> memoryview | None:
        """Return `size` bytes at an address; None if they do not lie in one buffer."""
        for buffer in self.buffers.values():
            start = address - buffer.address
            if start >= 0 and start + size <= len(buffer.data):
                return memoryview(buffer.data)[start : start + size]
        return None
