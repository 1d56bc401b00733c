"""Faults that a DMA meets: what is done, and how it has to end.

A case adds commands to a script and returns its check of what was played. After each the same DMAs
have to do a right transfer.
"""

from collections.abc import Callable

import numpy as np

from build.rtl.dmas import Dma
from build.simulation.system import Played, Script, Unit
from deploy.board.registers import (
    ADDRESS_HIGH,
    ADDRESS_LOW,
    BAD,
    BAD_HIGH,
    BAD_LOW,
    CONTROL,
    DECERR,
    DONE,
    FRAMES,
    IDLE,
    IGNORED,
    MISALIGNED,
    RANGE,
    REPETITIONS,
    RESET,
    SLVERR,
    START,
    STATUS,
)
from tests.build.dma.units import LONG, Transfer, room

Check = Callable[[Played], None]
GIB4 = 1 << 32


def beat(unit: Unit) -> int:
    return unit.source.data_bits // 8


def addresses(unit: Unit, random: np.random.Generator) -> tuple[int, int]:
    """Return places for source and target that are multiples of a beat, some by odd boundaries."""
    size = beat(unit)
    bases = [0x1000_0000, 0x2000_0000]
    if unit.source.address_bits > 32:
        # 4 GiB lies in the middle.
        bases[random.integers(2)] = GIB4 - int(random.integers(1, 6)) * size
    near = [4096 - int(random.integers(0, 6)) * size for _ in bases]
    return tuple(b + (n if b % 4096 == 0 else 0) for b, n in zip(bases, near, strict=True))


def some(random: np.random.Generator, unit: Unit) -> int:
    """Return a number of frames that takes a few bursts."""
    return 1 + int(random.integers(0, max(2, 6000 // unit.source.frame_bytes)))


def idle(script: Script, unit: Unit) -> Check:
    """Wait until both DMAs are idle and the bus is empty."""
    quiet = script.add(f"quiet {LONG}")
    ends = [script.poll(dma.name, IDLE, LONG) for dma in (unit.source, unit.sink)]
    status = [script.read(dma.name, STATUS) for dma in (unit.source, unit.sink)]

    def check(played: Played) -> None:
        assert played.answers[quiet] == "ok"
        assert all(played.number(end) & (IDLE | DONE | START) == IDLE for end in ends)
        assert not any(played.number(one) & 3 for one in status)

    return check


def reset(script: Script, dma: Dma) -> None:
    script.write(dma.name, RESET, 1)


def bad_bus(script: Script, unit: Unit, random: np.random.Generator) -> Check:
    """A beat of source or target answers badly: both DMAs end, the side says where."""
    reads, answer = bool(random.integers(2)), int(random.integers(2, 4))
    at, frames = addresses(unit, random), some(random, unit)
    size = frames * unit.source.frame_bytes
    offset = int(random.integers(size))
    script.add(f"fault {'r' if reads else 'w'} {at[0 if reads else 1] + offset} 1 {answer}")
    transfer = Transfer(script, unit, random, frames, at)
    transfer.end(script)
    dma, other = (unit.source, unit.sink)[:: 1 if reads else -1]
    found = [script.read(dma.name, one) for one in (STATUS, BAD, BAD_LOW, BAD_HIGH, FRAMES)]
    healthy = script.read(other.name, STATUS)
    script.add("heal")

    def check(played: Played) -> None:
        assert all(played.number(place) & DONE for place in transfer.done)
        status, bad, low, high, moved = map(played.number, found)
        assert status == {2: SLVERR, 3: DECERR}[answer] and played.number(healthy) == 0
        assert bad >= 1 and moved <= frames
        where, start = high << 32 | low, at[0 if reads else 1]
        if reads:
            # The beat itself; what came through before it is right, zeros follow.
            assert where == (start + offset) // beat(unit) * beat(unit)
            written = transfer.written(played)
            right = np.flatnonzero(written != transfer.data)
            until = int(right[0]) if len(right) else size
            word = unit.source.word_bytes
            assert not written[-(-until // word) * word :].any()
        else:
            # The first burst that holds it: its address.
            span = unit.sink.burst * beat(unit)
            assert start <= where <= start + offset < where + span

    return check


def nowhere(script: Script, unit: Unit, random: np.random.Generator) -> Check:
    """Source or target lies where no memory is: DECERR."""
    reads, frames = bool(random.integers(2)), some(random, unit)
    at = list(addresses(unit, random))
    lost = 0x3000_0000
    place = lost if reads else at[0]
    room(script, at[0], bytes(frames * unit.source.frame_bytes + 64))
    room(script, at[1], bytes(frames * unit.source.frame_bytes))
    script.start(unit.sink, at[1] if reads else lost, frames)
    script.start(unit.source, place, frames)
    done = [script.poll(dma.name, DONE, LONG) for dma in (unit.sink, unit.source)]
    dma = unit.source if reads else unit.sink
    found = [script.read(dma.name, one) for one in (STATUS, BAD_LOW)]

    def check(played: Played) -> None:
        assert all(played.number(place) & DONE for place in done)
        assert [played.number(one) for one in found] == [DECERR, lost]

    return check


def soft_reset(script: Script, unit: Unit, random: np.random.Generator) -> Check:
    """A reset of either DMA in the middle: both end without a word, the bus is clean."""
    transfer = Transfer(script, unit, random, some(random, unit) + 3, addresses(unit, random))
    script.add(f"run {random.integers(0, 400)}")
    for _ in range(random.integers(1, 3)):
        reset(script, (unit.source, unit.sink)[random.integers(2)])
    assert transfer.frames > 0
    return idle(script, unit)


def hard_reset(script: Script, unit: Unit, random: np.random.Generator) -> Check:
    """The reset wire in the middle, of DMAs and memory."""
    Transfer(script, unit, random, some(random, unit), addresses(unit, random))
    script.add(f"run {random.integers(0, 400)}")
    script.add("reset")
    return idle(script, unit)


def other_order(script: Script, unit: Unit, random: np.random.Generator) -> Check:
    """The reading DMA is started first, the other some time later."""
    at, frames = addresses(unit, random), some(random, unit)
    transfer = Transfer(script, unit, random, frames, at, first="source")
    transfer.end(script)
    return transfer.check


def start_before_address(script: Script, unit: Unit, random: np.random.Generator) -> Check:
    """Control is written first: the last transfer's registers hold."""
    at, frames = addresses(unit, random), some(random, unit)
    first = Transfer(script, unit, random, frames, at)
    first.end(script)
    script.load(at[1], bytes(len(first.data)))
    for dma in (unit.sink, unit.source):
        script.write(dma.name, CONTROL, START)
        script.write(dma.name, ADDRESS_LOW, 0x7000_0000)
        script.write(dma.name, ADDRESS_HIGH, 0)
        script.write(dma.name, REPETITIONS, 7)
    again = [script.poll(dma.name, DONE, LONG) for dma in (unit.sink, unit.source)]
    place = script.save(at[1], len(first.data))

    def check(played: Played) -> None:
        assert all(played.number(end) & DONE for end in again)
        np.testing.assert_array_equal(played.memory(place), first.data)

    return check


def nothing(script: Script, unit: Unit, random: np.random.Generator) -> Check:
    """No frames: done at once, without a word on the bus."""
    for dma in (unit.sink, unit.source):
        script.start(dma, 0x3000_0000, 0)
    quiet = script.add("quiet 1")
    done = [script.poll(dma.name, DONE, 200) for dma in (unit.sink, unit.source)]
    status = [
        script.read(dma.name, one) for dma in (unit.sink, unit.source) for one in (STATUS, BAD)
    ]

    def check(played: Played) -> None:
        assert played.answers[quiet] == "ok"
        assert all(played.number(end) & DONE for end in done)
        assert not any(played.number(one) for one in status)

    return check


def one_frame(script: Script, unit: Unit, random: np.random.Generator) -> Check:
    """One frame, across 4 KiB or 4 GiB where it is longer than a beat."""
    transfer = Transfer(script, unit, random, 1, addresses(unit, random))
    transfer.end(script)
    return transfer.check


def across(script: Script, unit: Unit, random: np.random.Generator) -> Check:
    """Many bursts across 4 KiB, and 4 GiB where addresses go so far."""
    frames = 9000 // unit.source.frame_bytes + 1
    transfer = Transfer(script, unit, random, frames, addresses(unit, random))
    transfer.end(script)
    return transfer.check


def start_while_busy(script: Script, unit: Unit, random: np.random.Generator) -> Check:
    """Starts in the middle are ignored and counted."""
    times = int(random.integers(1, 5))
    before = [script.read(dma.name, IGNORED) for dma in (unit.sink, unit.source)]
    frames = 20_000 // unit.source.frame_bytes
    transfer = Transfer(script, unit, random, frames, addresses(unit, random))
    for dma in (unit.sink, unit.source):
        for _ in range(times):
            script.write(dma.name, CONTROL, START)
    transfer.end(script)
    after = [script.read(dma.name, IGNORED) for dma in (unit.sink, unit.source)]

    def check(played: Played) -> None:
        transfer.check(played)
        for old, new in zip(before, after, strict=True):
            assert played.number(new) - played.number(old) == times

    return check


def rewritten(script: Script, unit: Unit, random: np.random.Generator) -> Check:
    """Registers are written in the middle: the transfer is the one that was started."""
    transfer = Transfer(script, unit, random, some(random, unit), addresses(unit, random))
    for dma in (unit.sink, unit.source):
        script.write(dma.name, ADDRESS_LOW, 0x3000_0000)
        script.write(dma.name, REPETITIONS, 1)
    transfer.end(script)
    return transfer.check


def refused(script: Script, unit: Unit, random: np.random.Generator) -> Check:
    """An address that is no multiple of a beat, or a transfer beyond the address space."""
    dma = (unit.sink, unit.source)[random.integers(2)]
    end, size = 1 << dma.address_bits, beat(unit)
    kinds = [(0x1000_0000 + int(random.integers(1, size)), MISALIGNED)]
    if dma.frame_bytes > size:
        kinds.append((end - size, RANGE))
    if dma.address_bits < 64:
        kinds.append((end, RANGE))
    address, wanted = kinds[random.integers(len(kinds))]
    script.start(dma, address, 1)
    quiet = script.add("quiet 1")
    done = script.poll(dma.name, DONE, 200)
    status = script.read(dma.name, STATUS)

    def check(played: Played) -> None:
        assert played.answers[quiet] == "ok" and played.number(done) & DONE
        assert played.number(status) == wanted

    return check


def unequal(script: Script, unit: Unit, random: np.random.Generator) -> Check:
    """One DMA is started for more frames than the other: it waits, until a reset."""
    at, few = addresses(unit, random), some(random, unit)
    more = few + 2 + 4000 // unit.source.frame_bytes
    room(script, at[0], bytes(more * unit.source.frame_bytes + 64))
    room(script, at[1], bytes(more * unit.source.frame_bytes + 64))
    sides = [(unit.sink, at[1]), (unit.source, at[0])][:: 1 if random.integers(2) else -1]
    (short, short_at), (long, long_at) = sides
    script.start(short, short_at, few)
    script.start(long, long_at, more)
    done = script.poll(short.name, DONE, LONG)
    waits = script.read(long.name, STATUS)
    reset(script, (short, long)[random.integers(2)])
    rest = idle(script, unit)

    def check(played: Played) -> None:
        assert played.number(done) & DONE and played.number(waits) == 1
        rest(played)

    return check


def dead_client(script: Script, unit: Unit, random: np.random.Generator) -> Check:
    """A client goes away in the middle of programming or waiting; the next one resets."""
    at, frames = len(script.commands), some(random, unit)
    Transfer(script, unit, random, frames, addresses(unit, random))
    # So far it came.
    writes = [i for i in range(at, len(script.commands)) if script.commands[i].startswith("write")]
    del script.commands[writes[random.integers(len(writes))] + 1 :]
    script.add(f"run {random.integers(0, 2000)}")
    reset(script, unit.source)
    return idle(script, unit)


CASES = {
    case.__name__: case
    for case in (
        *(bad_bus, nowhere, soft_reset, hard_reset, other_order, start_before_address, nothing),
        *(one_frame, across, start_while_busy, rewritten, refused, unequal, dead_client),
    )
}
