"""What cocotb runs inside the simulator of test_cocotb.py: transfers against cocotbext-axi.

cocotbext-axi's memory answers at the DMAs' masters and itself asserts that no burst leaves 4 KiB
and that WLAST comes with the last beat; its AXI-Lite master writes the registers; its stream sink
and source are where an accelerator would be.
"""

from collections.abc import Iterator
from random import Random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiRamRead,
    AxiRamWrite,
    AxiReadBus,
    AxiStreamBus,
    AxiStreamSink,
    AxiStreamSource,
    AxiWriteBus,
)
from cocotbext.axi.sparse_memory import SparseMemory

from build.rtl.dmas import Dma
from build.simulation.system import Unit
from deploy.board.registers import (
    ADDRESS_HIGH,
    ADDRESS_LOW,
    CONTROL,
    DONE,
    FRAMES,
    IDLE,
    READY,
    REPETITIONS,
    START,
    STATUS,
)
from tests.build.dma.units import unit

UNITS = {
    64: unit("narrow", 6, 11, 64, 40),  # frames end inside a beat
    128: unit("wide", 4, 25, 128, 40, burst=64, in_flight=3),
}
"""Bits of the memory's data -> DMAs."""
TOP = "cocotb_top"
TRANSFERS = 36  # of each width, both ways
MOST_BYTES = 3000
GUARD = 64  # bytes around a target that have to stay
SEED = 20
GIB4 = 1 << 32
PLACES = (0x1000_0000, GIB4, 0x5A_0000_0000)
"""Boundaries that transfers lie across: of 4 KiB, of 4 GiB, of 4 KiB above 4 GiB."""


def dmas(pair: Unit) -> tuple[Dma, Dma]:
    return pair.source, pair.sink


def top() -> str:
    """Return a top module whose ports, all seen by cocotb, are the DMAs' buses and streams."""
    ports, wires, instances = ["input ap_clk", "input ap_rst_n"], [], []
    for pair in UNITS.values():
        for dma, other in (dmas(pair), dmas(pair)[::-1]):
            name, stream = dma.name, f"{dma.name}_stream"
            there, back = ("output", "input") if dma.reads else ("input", "output")
            ports += dma.ports()
            ports += [
                f"{there} [{8 * dma.word_bytes - 1}:0] {stream}_TDATA",
                f"{there} {stream}_TVALID",
                f"{back} {stream}_TREADY",
            ]
            wires.append(f"\twire {name}_reset_asked, {name}_resetting, {name}_draining;")
            instances.append(dma.instance(stream, other.name))
    listed = ",\n\t".join(f"{port} /*verilator public_flat_rw*/" for port in ports)
    return "\n".join([f"module {TOP} (\n\t{listed}\n);", *wires, *instances, "endmodule\n"])


def pauses(random: Random, share: float) -> Iterator[bool]:
    """Yield for each clock whether a channel pauses."""
    while True:
        yield random.random() < share


class Side:
    """A DMA's registers, memory and stream, all of cocotbext-axi.

    Args:
        dut: the top module.
        dma: whose.
        memory: of all DMAs.
    """

    def __init__(self, dut, dma: Dma, memory: SparseMemory):
        self.dma, self.clock, self.memory = dma, dut.ap_clk, memory
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, f"{dma.name}_s_axi"), self.clock)
        master, stream = f"{dma.name}_m_axi", AxiStreamBus.from_prefix(dut, f"{dma.name}_stream")
        write, read = self.registers.write_if, self.registers.read_if
        self.channels = [write.aw_channel, write.w_channel, write.b_channel]
        self.channels += [read.ar_channel, read.r_channel]
        if dma.reads:
            ram = AxiRamRead(AxiReadBus.from_prefix(dut, master), self.clock, mem=memory)
            self.stream = AxiStreamSink(stream, self.clock)
            self.channels += [ram.ar_channel, ram.r_channel]
        else:
            ram = AxiRamWrite(AxiWriteBus.from_prefix(dut, master), self.clock, mem=memory)
            self.stream = AxiStreamSource(stream, self.clock)
            self.channels += [ram.aw_channel, ram.w_channel, ram.b_channel]
        self.channels.append(self.stream)

    def pause(self, random: Random) -> None:
        """Let every channel pause from now on, each as often as is drawn for it."""
        for channel in self.channels:
            share = random.choice((0, 0.2, 0.6))
            channel.set_pause_generator(pauses(Random(random.random()), share))

    async def start(self, address: int, frames: int) -> None:
        for offset, value in (
            (ADDRESS_LOW, address & 0xFFFFFFFF),
            (ADDRESS_HIGH, address >> 32),
            (REPETITIONS, frames),
            (CONTROL, START),
        ):
            await self.registers.write_dword(offset, value)

    async def end(self, frames: int) -> None:
        """Wait for done, which is cleared by the read that shows it."""
        while not (control := await self.registers.read_dword(CONTROL)) & DONE:
            assert control == START
            await ClockCycles(self.clock, 20)
        assert control == DONE | IDLE | READY
        assert await self.registers.read_dword(CONTROL) == IDLE
        assert await self.registers.read_dword(STATUS) == 0
        assert await self.registers.read_dword(FRAMES) == frames

    async def read(self, address: int, frames: int, data: bytes) -> None:
        """Have `data` read from memory and compare what the stream brings."""
        self.memory.write(address, data)
        await self.start(address, frames)
        await self.end(frames)
        await ClockCycles(self.clock, 50)  # for words that should not be
        assert bytes(self.stream.read_nowait()) == data

    async def write(self, address: int, frames: int, data: bytes, random: Random) -> None:
        """Have the stream's `data` written and compare memory, also around them."""
        before = random.randbytes(len(data) + 2 * GUARD)
        self.memory.write(address - GUARD, before)
        # Words may be there before the start, or not.
        early = random.random() < 0.5
        if early:
            await self.stream.send(data)
        await self.start(address, frames)
        if not early:
            await self.stream.send(data)
        await self.end(frames)
        assert self.stream.empty()
        found = self.memory.read(address - GUARD, len(before))
        assert found == before[:GUARD] + data + before[-GUARD:]


def drawn(random: Random, pair: Unit, index: int) -> list[tuple[int, int, bytes]]:
    """Return address, frames and data for both DMAs, each across another boundary."""
    beat, found = pair.source.data_bits // 8, []
    for number, dma in enumerate(dmas(pair)):
        frames = random.randint(1, MOST_BYTES // dma.frame_bytes)
        size = frames * dma.frame_bytes
        before = random.randint(1, (size - 1) // beat) * beat
        place = PLACES[(index + number) % len(PLACES)]
        found.append((place - before, frames, random.randbytes(size)))
    return found


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(bits=list(UNITS))
async def transfers(dut, bits: int) -> None:
    """Move frames both ways at once, again and again, while every channel pauses at random."""
    random, pair, memory = Random(SEED + bits), UNITS[bits], SparseMemory(1 << 40)
    dut.ap_rst_n.value = 0
    Clock(dut.ap_clk, 10, unit="ns").start()
    await ClockCycles(dut.ap_clk, 4)
    # The other width's too, whose inputs would float.
    sides = {dma.name: Side(dut, dma, memory) for one in UNITS.values() for dma in dmas(one)}
    source, sink = (sides[dma.name] for dma in dmas(pair))
    await ClockCycles(dut.ap_clk, 4)
    dut.ap_rst_n.value = 1
    for index in range(TRANSFERS):
        source.pause(random)
        sink.pause(random)
        reading, writing = drawn(random, pair, index)
        tasks = [
            cocotb.start_soon(source.read(*reading)),
            cocotb.start_soon(sink.write(*writing, random)),
        ]
        for task in tasks:
            await task
