"""The driver on a board itself: pynq's local interface, played by a stand-in for the module."""

import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from deploy.board.driver import Driver
from deploy.board.errors import BadInput, CheckFailed
from deploy.board.package import Package
from deploy.board.validate import validate
from deploy.board.validation_report import render
from tests.deploy.packages import ToyAccelerator

SECONDS = 0.002


class Memory:
    """Physical memory: buffers by address."""

    def __init__(self, limit: int = 1 << 30):
        self.buffers: dict[int, np.ndarray] = {}
        self.limit = limit

    def allocate(self, shape, dtype):
        size = int(np.prod(shape))
        if size > self.limit:
            raise MemoryError("no contiguous memory")
        buffer = np.zeros(shape, dtype).view(LocalBuffer)
        buffer.device_address = 0x2_0000_0000 + len(self.buffers) * 0x1000_0000
        self.buffers[buffer.device_address] = buffer
        return buffer


class LocalBuffer(np.ndarray):
    def flush(self):
        pass

    def invalidate(self):
        pass

    def freebuffer(self):
        pass


class Dma:
    """An IODMA; `start` is called with its registers."""

    def __init__(self, start):
        self.registers, self.start, self.ready_at = {}, start, None

    def write(self, offset, value):
        assert type(value) is int
        self.registers[offset] = value
        if offset == 0:
            self.start()

    def read(self, offset=0):
        if self.ready_at is None:
            return 4
        if time.perf_counter() < self.ready_at:
            return 1
        self.ready_at = None
        return 6


@pytest.fixture
def board(package: Package, monkeypatch: pytest.MonkeyPatch):
    """A pynq module whose board computes with the toy accelerator, SECONDS a transfer."""
    memory, accelerator = Memory(), ToyAccelerator(package)
    world = SimpleNamespace(memory=memory, hangs=False, name="zcu104", transfers=0)

    def run():
        data, result = (
            memory.buffers[dma.registers[0x10] | dma.registers[0x14] << 32] for dma in (idma, odma)
        )
        frames = idma.registers[0x1C]
        assert frames == odma.registers[0x1C]
        run = accelerator.run(np.asarray(data[:frames]).reshape(frames, -1))
        result[:frames] = run.results.reshape(frames, *result.shape[1:])
        world.transfers += 1
        odma.ready_at = time.perf_counter() + (1e9 if world.hangs else SECONDS)

    idma, odma = Dma(run), Dma(lambda: None)
    overlay = SimpleNamespace(ip_dict={"idma0": {}, "odma0": {}}, idma0=idma, odma0=odma)
    rail = SimpleNamespace(power=SimpleNamespace(value=2.5))
    device = SimpleNamespace(name=world.name, capabilities={"MEMORY_MAPPED": True})
    pynq = SimpleNamespace(
        Device=SimpleNamespace(active_device=device),
        Overlay=lambda path, device: overlay,
        allocate=memory.allocate,
        get_rails=lambda: {"INT": rail},
    )
    monkeypatch.setitem(sys.modules, "pynq", pynq)
    monkeypatch.setitem(sys.modules, "pynq.ps", SimpleNamespace(ON_TARGET=True))
    monkeypatch.delenv("PYNQ_REMOTE_DEVICES", raising=False)
    return world


def test_times_are_measured(board, package: Package) -> None:
    frames = np.random.default_rng(0).normal(size=(100, 1024, 2))
    with Driver(package, batch=30) as driver:
        np.testing.assert_array_equal(
            driver.predict(frames), ToyAccelerator(package).predict(frames)
        )
        timing = driver.timing
    assert not driver.virtual and timing.source == "measured" and board.transfers == 4
    assert 4 * SECONDS <= timing.accelerator_seconds <= timing.seconds
    assert timing.latency_seconds is None and timing.interval_seconds is None


def test_validation_of_a_real_board(board, package: Package) -> None:
    facts = validate(package, sweep=(1, 64)).facts()
    assert facts["agrees"] and facts["times"] == "measured" and facts["compared"] == 624
    assert SECONDS <= facts["latency_seconds"] < 1
    assert 0 < facts["frames_per_second"] <= 64 / SECONDS
    assert facts["power_watts"] == {"INT": 2.5}


def test_the_steady_state_is_that_of_the_largest_batch(board, package: Package) -> None:
    found = validate(package, count=24, sweep=(64, 1))
    assert found.samples.frames == 24 and [row.batch for row in found.throughput] == [64, 1]
    # A transfer takes SECONDS whatever its size.
    assert found.frames_per_second > 8 / SECONDS
    assert found.samples_per_second == 1024 * found.frames_per_second
    alone = validate(package, count=24, sweep=(1,))
    assert alone.frames_per_second is None and alone.samples_per_second is None
    assert "| frames/s, steady state  |        - |" in render(alone, package.classes)


def test_an_accelerator_that_hangs_is_given_up(board, package: Package) -> None:
    board.hangs = True
    with Driver(package, timeout=0.2) as driver, pytest.raises(CheckFailed, match="hangs"):
        driver.predict(np.zeros((1, 1024, 2)))
    with (
        Driver(package) as driver,
        pytest.raises(CheckFailed, match="not idle"),
    ):
        driver.predict(np.zeros((1, 1024, 2)))


def test_memory_runs_out(board, package: Package) -> None:
    board.memory.limit = 1 << 20
    with pytest.raises(BadInput, match="no contiguous memory.*use a smaller batch"):
        Driver(package, batch=1000)


def test_no_pynq_and_no_board(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYNQ_REMOTE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "pynq", None)
    with pytest.raises(BadInput, match="no working pynq"):
        Driver(package)

    class Device:
        @property
        def active_device(self):
            raise RuntimeError("No Devices Found")

    monkeypatch.setitem(sys.modules, "pynq", SimpleNamespace(Device=Device()))
    with pytest.raises(BadInput, match="no PYNQ board"):
        Driver(package)
