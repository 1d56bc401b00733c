"""The board's memory for transfers: buffers that clients allocate, found again by address.

It is one file in memory that other processes can map: a simulator of the DMAs' RTL reads and
writes the very bytes that clients see.
"""

import mmap
import os
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

PAGE = 4096


class Refused(Exception):
    """The board cannot do what the client asks for; the message is for its user."""


@dataclass(frozen=True)
class Bank:
    """A range of addresses, and where it lies in the file."""

    address: int
    offset: int
    size: int


@dataclass
class Buffer:
    """Contiguous memory in a bank.

    Attributes:
        address: that a DMA sees.
        offset: in the file.
        data: its bytes.
    """

    address: int
    offset: int
    data: memoryview

    def write(self, start: int, data: bytes) -> None:
        """Copy `data` into the buffer."""
        if start < 0 or start + len(data) > len(self.data):
            raise Refused(f"{start + len(data)} bytes do not fit the buffer's {len(self.data)}")
        self.data[start : start + len(data)] = data


class Memory:
    """Buffers by id.

    Args:
        size: bytes that can be allocated in all.
        bases: the addresses where banks begin, each with its share of `size`.

    Attributes:
        fd: of the file.
        banks: what lies where.
    """

    def __init__(self, size: int, bases: Sequence[int]):
        share = max(size // len(bases) // PAGE, 1) * PAGE
        self.size = share * len(bases)
        self.banks = [Bank(base, index * share, share) for index, base in enumerate(bases)]
        # Closed with this object.
        self._file = os.fdopen(os.memfd_create("board"), "r+b", buffering=0)
        self.fd = self._file.fileno()
        os.ftruncate(self.fd, self.size)
        self._bytes = mmap.mmap(self.fd, self.size)
        self.buffers: dict[str, Buffer] = {}

    def allocate(self, name: str, size: int) -> None:
        """Make a buffer of `size` zero bytes: in the emptiest bank, where there is room first."""
        if size <= 0:
            raise Refused(f"cannot allocate {size} bytes")
        for bank in sorted(self.banks, key=lambda bank: -self._free(bank)):
            if (start := self._room(bank, size)) is not None:
                offset = bank.offset + start
                data = memoryview(self._bytes)[offset : offset + size]
                self.buffers[name] = Buffer(bank.address + start, offset, data)
                return
        raise Refused(
            f"no room for {size} bytes in the board's {self.size >> 20} MiB for buffers; "
            "use smaller batches"
        )

    def free(self, name: str) -> None:
        """Give a buffer's pages back; one that is gone already is no error."""
        buffer = self.buffers.pop(name, None)
        if buffer is not None:
            # Whoever gets them next finds zeros.
            self._bytes.madvise(mmap.MADV_REMOVE, buffer.offset, _pages(len(buffer.data)))

    def clear(self) -> None:
        """Free all buffers."""
        for name in list(self.buffers):
            self.free(name)

    def at(self, address: int, size: int) -> memoryview | None:
        """Return `size` bytes at an address; None if they do not lie in one buffer."""
        for buffer in self.buffers.values():
            start = address - buffer.address
            if start >= 0 and start + size <= len(buffer.data):
                return buffer.data[start : start + size]
        return None

    def _used(self, bank: Bank) -> list[tuple[int, int]]:
        used: list[tuple[int, int]] = []
        for buffer in self.buffers.values():
            start = buffer.address - bank.address
            if 0 <= start < bank.size:
                insort(used, (start, start + _pages(len(buffer.data))))
        return used

    def _free(self, bank: Bank) -> int:
        return bank.size - sum(end - start for start, end in self._used(bank))

    def _room(self, bank: Bank, size: int) -> int | None:
        place = 0
        for start, end in self._used(bank):
            if place + size <= start:
                break
            place = end
        return place if place + size <= bank.size else None


def _pages(size: int) -> int:
    """Return the bytes of all pages that `size` bytes touch."""
    return -(-size // PAGE) * PAGE
