"""A virtual board whose DMAs are the RTL: registers, memory and errors as a client sees them."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import grpc
import numpy as np
import pytest

from deploy.board.package import Package, read_package
from deploy.board.registers import (
    BAD_LOW,
    BUSY,
    CONTROL,
    DECERR,
    DONE,
    IDLE,
    IGNORED,
    MISALIGNED,
    OURS,
    READY,
    RESET,
    START,
    STATUS,
    VERSION,
)
from deploy.virtual_board.board import Board
from deploy.virtual_board.choose import choose
from deploy.virtual_board.fabric import Fabric
from deploy.virtual_board.overlay import blocks, write_overlay
from deploy.virtual_board.server import serve
from deploy.virtual_board.simulated_dmas import SimulatedDmas
from tests.deploy.packages import needs_board_env, run_client
from tests.deploy.remote_client import Client
from tests.deploy.sum_package import LANES, WORDS, make_sum_package, results_of

ADDRESS = "127.0.0.27"
NOWHERE = 0x7000_0000


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    made = read_package(make_sum_package(tmp_path_factory.mktemp("sum") / "package"))
    write_overlay(made)
    return made


@pytest.fixture(scope="module")
def fabric(package: Package) -> Iterator[Fabric]:
    with closing(choose(package)) as made:
        assert isinstance(made, SimulatedDmas)
        yield made


@pytest.fixture
def board(package: Package, fabric: Fabric) -> Iterator[Board]:
    board = Board(package, fabric, memory=16 << 20, lease=0.3)
    with serve(board, ADDRESS):
        yield board


class User(Client):
    """Two buffers, one on each side of 4 GiB, and the two DMAs."""

    def __init__(self, package: Package, frames: int = 5):
        super().__init__(ADDRESS)
        self.program(package)
        self.base = blocks(package)
        self.idma, self.odma = (self.dma(self.base[name]) for name in ("idma0", "odma0"))
        random = np.random.default_rng(frames)
        self.data = random.integers(0, 256, (frames, WORDS * LANES), np.uint8)
        _, self.source = self.allocate(self.data.tobytes())
        self.result, self.target = self.allocate(bytes(frames + 3))

    def transfer(self, frames: int = 5) -> None:
        self.start(self.odma, self.target, frames)
        self.start(self.idma, self.source, frames)
        assert self.wait(self.odma) == ""

    def results(self) -> bytes:
        (answer,) = self.call("RemoteBuffer.read", {"buffer_id": self.result})
        return bytes(answer.data)

    def word(self, dma: str, register: int) -> int:
        answer = self.read(dma, register)
        assert not answer.msg
        return answer.data

    def is_right(self) -> None:
        """A transfer of everything is right."""
        name, self.target = self.allocate(bytes(8))
        self.result = name
        self.transfer()
        assert self.results() == results_of(self.data).tobytes() + bytes(3)
        assert self.word(self.idma, STATUS) == self.word(self.odma, STATUS) == 0


@pytest.fixture
def user(board: Board, package: Package) -> User:
    return User(package)


def test_a_transfer_goes_through_the_rtl(user: User, package: Package) -> None:
    assert user.word(user.idma, VERSION) >> 8 == user.word(user.odma, VERSION) >> 8 == OURS
    assert user.word(user.odma, CONTROL) == IDLE
    # A buffer of 8 bytes, far below a page; the other one, on this side or that, above 4 GiB.
    assert sorted(address >> 32 for address in (user.source, user.target)) == [0, 8]
    assert user.start(user.odma, user.target, 5) == ""
    assert user.word(user.odma, CONTROL) == START  # waits for input
    assert user.start(user.idma, user.source, 5) == ""
    assert user.wait(user.odma) == ""
    assert user.word(user.odma, CONTROL) == IDLE  # done and ready are cleared by reading
    assert user.word(user.idma, CONTROL) == DONE | IDLE | READY
    assert user.results() == results_of(user.data).tobytes() + bytes(3)
    counters = user.dma(user.base["virtual_board"])
    words = [user.word(counters, offset) for offset in range(0, 0x28, 4)]
    assert words[:4] == [0x41415242, 1, 250_000, 5] and words[8] == 5
    cycles, latency, interval = words[4], words[6], words[7] / 256
    assert interval == pytest.approx(WORDS + 1, rel=0.01)
    # The accelerator alone takes WORDS + 1 clocks a frame; the memory 20 to 80 on either side.
    assert 5 * (WORDS + 1) + 40 < cycles < 5 * (WORDS + 1) + 400
    assert WORDS < latency <= cycles
    # What is beside a buffer is not memory to the DMAs, and it is still right the next time.
    user.is_right()


@pytest.mark.parametrize("side", ["idma", "odma"])
def test_an_address_without_memory_is_decerr(user: User, side: str) -> None:
    there = {"idma": user.source, "odma": user.target} | {side: NOWHERE}
    user.start(user.odma, there["odma"], 5)
    user.start(user.idma, there["idma"], 5)
    assert user.wait(user.odma) == ""
    dma = getattr(user, side)
    assert user.word(dma, STATUS) == DECERR and user.word(dma, BAD_LOW) == NOWHERE
    # What a bad read leaves out is zeros; of a bad write there is nothing.
    assert user.results() == bytes(8)
    user.is_right()


def test_a_freed_buffer_is_no_memory_any_more(user: User) -> None:
    user.call("RemoteBuffer.freebuffer", {"buffer_id": user.result})
    user.start(user.odma, user.target, 5)
    user.start(user.idma, user.source, 5)
    assert user.wait(user.odma) == ""
    assert user.word(user.odma, STATUS) == DECERR
    user.is_right()


def test_odd_addresses_and_no_frames_end_at_once(user: User) -> None:
    user.start(user.odma, user.target + 1, 5)
    assert user.wait(user.odma) == "" and user.word(user.odma, STATUS) == MISALIGNED
    user.start(user.odma, NOWHERE, 0)
    assert user.wait(user.odma) == "" and user.word(user.odma, STATUS) == 0
    user.is_right()


def test_starts_while_busy_are_counted_and_a_reset_ends_what_waits(user: User) -> None:
    user.start(user.odma, user.target, 5)
    for _ in range(3):
        user.write(user.odma, CONTROL, START)
    assert user.word(user.odma, IGNORED) == 3
    user.start(user.idma, user.source, 4)  # one frame fewer than the other waits for
    deadline = time.monotonic() + 20
    while not user.word(user.idma, CONTROL) & DONE:
        assert time.monotonic() < deadline
    assert user.word(user.odma, CONTROL) == START and user.word(user.odma, STATUS) == BUSY
    assert user.write(user.idma, RESET, 1) == ""
    while not user.word(user.odma, CONTROL) & IDLE:
        assert time.monotonic() < deadline
    user.is_right()


def test_a_client_that_dies_in_a_transfer_leaves_the_next_one_a_right_board(
    user: User, board: Board, package: Package
) -> None:
    user.start(user.odma, user.target, 5)
    user.start(user.idma, user.source, 3)
    user.channel.close()
    time.sleep(board.lease + 0.2)
    User(package).is_right()


def test_a_dead_simulator_is_one_line_and_the_next_overlay_starts_another(
    user: User, fabric: SimulatedDmas, package: Package
) -> None:
    assert fabric._live is not None
    fabric._live._child.kill()
    assert "the simulator ended" in user.read(user.odma, CONTROL).msg
    assert "no overlay is loaded" in user.read(user.odma, CONTROL).msg
    user.program(package)
    user.is_right()


def test_two_clients_do_not_mix(user: User, package: Package, board: Board) -> None:
    other = Client(ADDRESS)
    with pytest.raises(grpc.RpcError, match="in use by another client"):
        other.program(package)
    user.is_right()


SCRIPT = """
import sys
from unittest.mock import PropertyMock, patch
import h5py
from deploy.board.driver import Driver
from deploy.board.errors import BusError
folder = sys.argv[1]
with h5py.File(f"{folder}/samples.h5") as file:
    frames, wanted = file["X"][:120], file["predicted"][:120]
for batch in (1, 7, 100):
    with Driver(folder, batch=batch) as driver:
        assert driver.virtual and driver.own_dmas
        count = 5 if batch == 1 else len(frames)
        assert (driver.predict(frames[:count]) == wanted[:count]).all(), batch
        assert driver.timing.source == "simulated" and driver.timing.frames == count
        assert 257 <= driver.timing.accelerator_seconds * 250e6 / count < 257 + 400
with Driver(folder, batch=7) as driver:
    buffer = type(driver._slots[0].source)
    with patch.object(buffer, "device_address", PropertyMock(return_value=0x70000000)):
        try:
            driver.predict(frames[:7])
        except BusError as error:
            print(error.dma, error.response, hex(error.address), error)
    assert (driver.predict(frames[:50]) == wanted[:50]).all()
"""


@needs_board_env
def test_the_driver_names_the_bus_error(board: Board, package: Package) -> None:
    done = run_client(ADDRESS, "-c", SCRIPT, package.folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("input DECERR 0x70000000 the input DMA ended the transfer at")


def test_a_frame_may_take_more_words_than_a_page_of_memory(tmp_path: Path) -> None:
    """Buffers are as long as they were asked for, whole pages to nobody."""
    from deploy.virtual_board.memory import PAGE, Memory

    memory = Memory(1 << 20, (0x1000_0000, 0x8_0000_0000))
    for name, size in (("a", 1), ("b", PAGE + 1), ("c", 100), ("d", 200_000)):
        memory.allocate(name, size)
    places = [(buffer.address, len(buffer.data)) for buffer in memory.buffers.values()]
    assert all(address % PAGE == 0 for address, _ in places)
    assert {address >> 32 for address, _ in places} == {0, 8}
    memory.buffers["d"].write(0, b"x" * 200_000)
    memory.free("d")
    memory.allocate("e", 300_000)
    assert bytes(memory.buffers["e"].data) == bytes(300_000)
    assert memory.at(places[0][0], 1) is not None and memory.at(places[0][0], 2) is None
