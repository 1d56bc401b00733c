"""Rings of frames: a transfer without end, at both DMAs, behind a memory that stalls."""

import numpy as np
import pytest

from build.simulation.system import Played, Script, Unit
from deploy.board.registers import (
    ADDRESS_HIGH,
    ADDRESS_LOW,
    BUSY,
    BY_DMA,
    BY_PROGRAM,
    CONTROL,
    DONE,
    IDLE,
    LOST,
    RANGE,
    RESET,
    RING,
    SLVERR,
    START,
    STATUS,
)
from tests.build.dma.units import LONG, UNITS, Transfer, run

QUICK, SLOW = "pace 20 20 0 1", "pace 1 80 300 12"
AT, TO = 0x1000_0FC0, 0x2000_0F80  # rings lie across 4 KiB


class Radio:
    """Frames put into a ring, and results taken out of another one.

    Args:
        script: to add to.
        unit: whose DMAs.
        slots: of both rings.
        seed: of the frames.
    """

    def __init__(self, script: Script, unit: Unit, slots: int, seed: int = 0):
        self.script, self.unit, self.slots = script, unit, slots
        self.random = np.random.default_rng(seed)
        self.frames: list[np.ndarray] = []
        self.taken: list[int] = []
        for dma, at in ((unit.sink, TO), (unit.source, AT)):
            script.add(f"room {at} {slots * dma.slot_bytes}")

    def start(self, *names: str) -> None:
        for name in names or ("sink", "source"):
            dma, at = (self.unit.sink, TO) if name == "sink" else (self.unit.source, AT)
            self.script.write(dma.name, ADDRESS_LOW, at)
            self.script.write(dma.name, ADDRESS_HIGH, 0)
            self.script.write(dma.name, RING, self.slots)
            self.script.write(dma.name, CONTROL, START)

    def put(self, count: int = 1) -> None:
        """Put frames into the next slots, and tell their number once."""
        dma = self.unit.source
        for _ in range(count):
            frame = self.random.integers(0, 256, dma.frame_bytes, np.uint8)
            slot = len(self.frames) % self.slots
            self.script.load(AT + slot * dma.slot_bytes, frame.tobytes())
            self.frames.append(frame)
        self.script.write(dma.name, BY_PROGRAM, len(self.frames))

    def take(self) -> None:
        """Wait for the next result, take it, and say so."""
        dma, number = self.unit.sink, len(self.taken)
        self.script.reach(dma.name, BY_DMA, number + 1, LONG)
        at = TO + number % self.slots * dma.slot_bytes
        self.taken.append(self.script.save(at, dma.frame_bytes))
        self.script.write(dma.name, BY_PROGRAM, number + 1)

    def end(self) -> list[int]:
        """End both rings; return the places of the control registers that say so."""
        for dma in (self.unit.source, self.unit.sink):
            self.script.write(dma.name, RING, 0)
        return [
            self.script.poll(dma.name, DONE, LONG) for dma in (self.unit.source, self.unit.sink)
        ]

    def counters(self) -> list[int]:
        """Return the places of source's and sink's counters: moved, lost, each."""
        return [
            self.script.read(dma.name, offset)
            for dma in (self.unit.source, self.unit.sink)
            for offset in (BY_DMA, LOST)
        ]

    def check(self, played: Played, numbers: range | list[int]) -> None:
        """Check that the results are the frames of these numbers."""
        assert len(self.taken) == len(numbers)
        for place, number in zip(self.taken, numbers, strict=True):
            np.testing.assert_array_equal(played.memory(place), self.frames[number])


def ordinary(script: Script, unit: Unit) -> Transfer:
    """A transfer of the usual kind, that has to be right."""
    script.add("empty")
    transfer = Transfer(script, unit, np.random.default_rng(5), 7, (0x5000, 0x9000))
    transfer.end(script)
    return transfer


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_frames_go_round_and_nothing_is_lost(slots):
    script, radios, ends, counted, after = Script(), [], [], [], []
    for unit in UNITS:
        for pace in (QUICK, SLOW):
            script.add(pace)
            script.add("empty")
            radio = Radio(script, unit, slots, seed=slots)
            radio.start()
            for _ in range(7 * slots + 3):
                room = slots - (len(radio.frames) - len(radio.taken))
                if room and radio.random.integers(3):
                    radio.put(int(radio.random.integers(1, room + 1)))
                elif room < slots:
                    radio.take()
            while len(radio.taken) < len(radio.frames):
                radio.take()
            counted.append(radio.counters())
            ends.append(radio.end())
            radios.append(radio)
            after.append(ordinary(script, unit))
    played = run(script)
    for radio, places, done, transfer in zip(radios, counted, ends, after, strict=True):
        count = len(radio.frames)
        assert count > 2 * slots
        radio.check(played, range(count))
        assert [played.number(place) for place in places] == [count, 0, count, 0]
        assert all(played.number(place) & (DONE | IDLE) == DONE | IDLE for place in done)
        transfer.check(played)
    assert played.violations == {}


def test_what_is_overwritten_is_counted_and_what_was_not_begun_is_skipped():
    script, unit = Script(), UNITS[0]
    script.add(QUICK)
    radio = Radio(script, unit, 4)
    radio.start("source")
    radio.put(4)
    script.add("run 1000")  # read, and held up: nobody takes what the accelerator gives
    radio.put(8)
    early = radio.counters()
    radio.start("sink")
    for _ in range(8):
        radio.take()
    counters = radio.counters()
    ends = radio.end()
    transfer = ordinary(script, unit)
    played = run(script)
    assert [played.number(place) for place in early[:2]] == [0, 0]
    # Four were on their way when their slots were overwritten; four more were never begun.
    radio.check(played, [0, 1, 2, 3, 8, 9, 10, 11])
    assert [played.number(place) for place in counters] == [12, 8, 8, 0]
    assert all(played.number(place) & DONE for place in ends)
    transfer.check(played)
    assert played.violations == {}


def test_results_that_nobody_takes_hold_the_accelerator_and_are_not_overwritten():
    script, unit = Script(), UNITS[1]
    radio = Radio(script, unit, 3)
    radio.start()
    radio.put(3)
    script.reach(unit.sink.name, BY_DMA, 3, LONG)
    radio.put(3)  # the reading DMA has freed its slots
    script.add("run 3000")
    held = radio.counters()
    # It says that it took more than there is, and less than it has taken before: no counts at all.
    for count in (4, 0xFFFF_FFFF):
        script.write(unit.sink.name, BY_PROGRAM, count)
    refused = [script.read(unit.sink.name, offset) for offset in (BY_PROGRAM, LOST)]
    for _ in range(6):
        radio.take()
    ends = radio.end()
    played = run(script)
    assert played.number(held[2]) == 3
    assert [played.number(place) for place in refused] == [0, 2]
    radio.check(played, range(6))
    assert all(played.number(place) & DONE for place in ends)
    assert played.violations == {}


def test_an_interrupt_comes_with_each_result():
    script, unit = Script(), UNITS[2]
    radio = Radio(script, unit, 4)
    for offset in (0x04, 0x08):
        script.write(unit.sink.name, offset, 1)
    radio.start()
    rises = []
    for _ in range(6):
        radio.put()
        radio.take()
        rises.append(script.read(unit.sink.name, 0x0C))
        script.write(unit.sink.name, 0x0C, 1)  # toggles
        rises.append(script.read(unit.sink.name, 0x0C))
    for offset in (0x04, 0x08):
        script.write(unit.sink.name, offset, 0)
    radio.end()
    assert [run(script).number(place) for place in rises] == [1, 0] * 6


def test_a_bad_response_ends_a_ring_and_a_reset_ends_both():
    script, unit = Script(), UNITS[0]
    radio = Radio(script, unit, 4)
    radio.start()
    radio.put()
    radio.take()
    script.add(f"fault r {AT + unit.source.slot_bytes} 1 2")
    radio.put(2)
    done = script.poll(unit.source.name, DONE, LONG)
    status = [script.read(dma.name, STATUS) for dma in (unit.source, unit.sink)]
    script.write(unit.source.name, RESET, 1)
    idle = [script.poll(dma.name, IDLE, LONG) for dma in (unit.source, unit.sink)]
    for dma in (unit.source, unit.sink):
        script.write(dma.name, RING, 0)
    script.add("heal")
    transfer = ordinary(script, unit)
    played = run(script)
    assert played.number(done) & DONE
    assert [played.number(place) for place in status] == [SLVERR, BUSY]
    assert all(played.number(place) & (IDLE | DONE) == IDLE for place in idle)
    transfer.check(played)
    assert played.violations == {}


def test_a_ring_that_leaves_the_address_space_ends_there():
    script, unit = Script(), UNITS[1]
    radio = Radio(script, unit, 8)
    radio.start("sink")
    script.add("room 0xFFFFFFFC 4")
    script.write(unit.source.name, ADDRESS_LOW, 0xFFFF_FFFC)
    script.write(unit.source.name, RING, 8)
    script.write(unit.source.name, CONTROL, START)
    script.write(unit.source.name, BY_PROGRAM, 5)
    done = script.poll(unit.source.name, DONE, LONG)
    found = [script.read(unit.source.name, offset) for offset in (STATUS, BY_DMA)]
    for dma in (unit.source, unit.sink):
        script.write(dma.name, RING, 0)
    ends = script.poll(unit.sink.name, DONE, LONG)
    transfer = ordinary(script, unit)
    played = run(script)
    assert played.number(done) & DONE and played.number(ends) & DONE
    assert [played.number(place) for place in found] == [RANGE, 1]
    transfer.check(played)
    assert played.violations == {}
