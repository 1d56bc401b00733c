"""Run frames through the accelerator of a package, on a PYNQ board or through PYNQ.remote.

    with Driver("package/") as driver:
        classes = driver.predict(frames)  # float (N, 1024, 2), or complex (N, 1024)

Two buffers on either side: while the DMAs move one batch, the host packs the next and unpacks the
last. Needs pynq, numpy and h5py. For a board elsewhere set PYNQ_REMOTE_DEVICES=ADDRESS first.
"""

import copy
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy.board.device import Calls, check_board, check_clock, compare_clock, open_device
from deploy.board.errors import BadInput, BusError, CheckFailed
from deploy.board.package import Input, Package, Port, read_package
from deploy.board.packing import pack, unpack
from deploy.board.registers import (
    ADDRESS_HIGH,
    ADDRESS_LOW,
    BAD_HIGH,
    BAD_LOW,
    CLOCK_KHZ,
    CONTROL,
    COUNTERS,
    DECERR,
    DONE,
    IDLE,
    LAST_CYCLES_HIGH,
    LAST_CYCLES_LOW,
    LAST_INTERVAL,
    LAST_LATENCY,
    MAGIC,
    MAGIC_VALUE,
    MISALIGNED,
    OURS,
    RANGE,
    REPETITIONS,
    RESET,
    SLVERR,
    SOURCE,
    SOURCES,
    START,
    STATUS,
    VERSION,
)


@dataclass
class Timing:
    """How long some frames took.

    Attributes:
        frames: how many.
        seconds: on the host, from the first frame packed to the last result unpacked.
        accelerator_seconds: from the start of a batch's DMAs to their end, summed over batches.
        latency_seconds: from the start to the first frame's result; None where nothing tells.
        interval_seconds: a frame's share in steady state; None where nothing tells.
        source: of the accelerator's times: "measured" on a real board, "simulated" or "estimated"
            on a virtual one.
    """

    frames: int = 0
    seconds: float = 0.0
    accelerator_seconds: float = 0.0
    latency_seconds: float | None = None
    interval_seconds: float | None = None
    source: str = "measured"


@dataclass
class _Slot:
    """A pair of buffers, and the frames on their way through them."""

    source: Any
    target: Any
    frames: int = 0
    started: float = 0.0


class Driver:
    """The accelerator of a package, loaded and ready.

    Args:
        package: the folder, or what `read_package` returned.
        batch: most frames a transfer.
        timeout: seconds that a transfer may take; None: 10 s on a real board, and on a virtual one
            what a slow simulation needs.

    Attributes:
        timing: of the last `predict`, `logits` or `stream`.
        virtual: there is a virtual board behind it.
        own_dmas: the DMAs are ours, which say how a transfer ended; FINN's do not.
        board: what the board calls itself.

    Raises:
        BadInput: package, board, overlay or clock do not fit each other, or there is no board.
        CheckFailed: the board does not answer.
    """

    def __init__(
        self, package: str | Path | Package, batch: int = 256, timeout: float | None = None
    ):
        if batch < 1:
            raise BadInput(f"a batch has at least one frame, not {batch}")
        self.package = package if isinstance(package, Package) else read_package(package)
        self.batch, self.timing = batch, Timing()
        device = open_device()
        self.board = getattr(device, "name", "Unknown")
        self._calls = Calls(remote=bool(getattr(device, "capabilities", {}).get("REMOTE")))
        check_board(self.package, self.board)
        check_clock(self.package)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._load(device)
        self.virtual = self._counters is not None
        self.timeout = timeout or (120.0 + 2.0 * batch if self.virtual else 10.0)
        self._slots = [self._allocate(), self._allocate()]

    def resized(self, batch: int) -> "Driver":
        """Return a driver on the same loaded overlay with buffers for other batches.

        Raises:
            BadInput: the board has no room for the buffers.
        """
        other = copy.copy(self)
        other.batch, other.timing = batch, Timing()
        other._slots = [other._allocate(), other._allocate()]
        return other

    def _load(self, device: Any) -> None:
        from pynq import Overlay

        bitfile = self.package.overlay
        overlay = self._calls(lambda: Overlay(str(bitfile.absolute()), device=device))
        names = (self.package.input.dma, self.package.output.dma)
        missing = [name for name in names if name not in overlay.ip_dict]
        if missing:
            raise BadInput(f"{bitfile} has no {' and no '.join(missing)}: it is another design")
        self._overlay = overlay
        self._input, self._output = (self._calls(getattr, overlay, name) for name in names)
        # FINN's answer with another register's value, or with zero.
        self.own_dmas = all(
            self._calls(dma.read, VERSION) >> 8 == OURS for dma in (self._input, self._output)
        )
        self._counters = None
        if COUNTERS in overlay.ip_dict:
            counters = self._calls(getattr, overlay, COUNTERS)
            if self._calls(counters.read, MAGIC) == MAGIC_VALUE:
                self._counters = counters
                found = self._calls(counters.read, CLOCK_KHZ) / 1000
                compare_clock(self.package, found, "the virtual board's accelerator runs")

    def _allocate(self) -> _Slot:
        from pynq import allocate

        def one(port: Port) -> Any:
            shape = (self.batch, *port.packed[1:])
            try:
                return self._calls.keep(self._calls(lambda: allocate(shape, dtype=np.uint8)))
            except CheckFailed as error:
                size = self.batch * port.frame_bytes
                raise BadInput(
                    f"the board gives no buffer of {size} bytes for {self.batch} frames "
                    f"({error}); use a smaller batch"
                ) from error

        return _Slot(one(self.package.input), one(self.package.output))

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the buffers back; the bitstream stays."""
        for slot in self._slots:
            for buffer in (slot.source, slot.target):
                if not self._calls.broken:
                    self._calls(buffer.freebuffer)
        self._slots = []

    def predict(self, frames: np.ndarray) -> np.ndarray:
        """Return the class of each frame, int64 (N,).

        Args:
            frames: numbers (N, samples, channels), or complex (N, samples) for two channels; any N.

        Raises:
            BadInput: another shape, or a sample that is no finite number.
            CheckFailed: the board stopped answering or did not finish in time.
        """
        return self.classes(self._outputs(frames))

    def logits(self, frames: np.ndarray) -> np.ndarray:
        """Return the class scores of each frame, float64 (N, classes).

        Raises:
            BadInput: as `predict`, or the accelerator delivers classes only.
        """
        if self.package.output.kind != "logits":
            raise BadInput("this accelerator delivers classes, no logits; build it with --logits")
        return self._outputs(frames) * self.package.output.scale

    def stream(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the accelerator's raw outputs, int (n, outputs), batch by batch; see `classes`.

        Args:
            blocks: frames as for `predict`, in blocks of any size. An empty one says that nothing
                comes for now: what is on its way is then finished at once.
        """
        self.timing = Timing(source=self._source())
        begin = time.perf_counter()
        running: _Slot | None = None
        turn = 0
        for batch in self._batches(blocks):
            if not len(batch):
                if running is not None:
                    self._wait(running)
                    yield self._collect(running)
                    running = None
                continue
            slot = self._slots[turn]
            turn = 1 - turn
            self._fill(slot, batch)
            if running is not None:
                self._wait(running)
            self._start(slot)
            if running is not None:
                yield self._collect(running)
            running = slot
        if running is not None:
            self._wait(running)
            yield self._collect(running)
        self.timing.seconds = time.perf_counter() - begin

    def classes(self, outputs: np.ndarray) -> np.ndarray:
        """Return int64 (N,) classes of raw outputs (N, outputs).

        Raises:
            CheckFailed: the accelerator named a class that does not exist.
        """
        if self.package.output.kind == "logits":
            return outputs.argmax(axis=1)
        found = outputs[:, 0].astype(np.int64)
        if len(found) and not 0 <= found.min() <= found.max() < len(self.package.classes):
            raise CheckFailed(f"the accelerator answered class {found.max()}, which there is not")
        return found

    def _outputs(self, frames: np.ndarray) -> np.ndarray:
        frames = np.asarray(frames)
        if frames.ndim > 1 and not len(frames):
            return np.empty((0, self._results()), np.int64)
        return np.concatenate(list(self.stream([frames])))

    def _results(self) -> int:
        return int(np.prod(self.package.output.normal))

    def _batches(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            block = as_frames(block, self.package.input.frame)
            for start in range(0, len(block) or 1, self.batch):
                yield block[start : start + self.batch]

    def _fill(self, slot: _Slot, frames: np.ndarray) -> None:
        integers = quantize(frames, self.package.input)
        packed = pack(integers, self.package.input.datatype)
        slot.frames = len(frames)
        slot.source[: slot.frames] = packed
        # The whole buffer: a slice of a remote buffer has the whole one's address.
        self._calls(slot.source.flush)

    def _start(self, slot: _Slot) -> None:
        if not self._calls(self._output.read, CONTROL) & IDLE:
            raise CheckFailed("the output DMA is not idle: another program uses it, or it hangs")
        slot.started = time.perf_counter()
        for dma, buffer in ((self._output, slot.target), (self._input, slot.source)):
            address = self._calls(lambda buffer=buffer: buffer.device_address)
            self._calls(dma.write, ADDRESS_LOW, int(address) & 0xFFFFFFFF)
            self._calls(dma.write, ADDRESS_HIGH, int(address) >> 32)
            self._calls(dma.write, REPETITIONS, slot.frames)
            self._calls(dma.write, CONTROL, START)

    def _wait(self, slot: _Slot) -> None:
        deadline = time.perf_counter() + self.timeout
        while not self._calls(self._output.read, CONTROL) & DONE:
            if time.perf_counter() > deadline:
                if self.own_dmas:
                    self._calls(self._output.write, RESET, 1)
                raise CheckFailed(
                    f"a transfer of {slot.frames} frames did not end within {self.timeout:.0f} s: "
                    f"the accelerator hangs{' and was reset' if self.own_dmas else ''}; load the "
                    "overlay again"
                )
        if self.own_dmas:
            self._check_ends(slot)
        self._account(slot, time.perf_counter() - slot.started)

    def _check_ends(self, slot: _Slot) -> None:
        """Raise BusError if one of our DMAs says that a transfer ended early."""
        for name, dma, buffer in (
            ("input", self._input, slot.source),
            ("output", self._output, slot.target),
        ):
            status = self._calls(dma.read, STATUS)
            for bit, response in ((RANGE, "range"), (MISALIGNED, "misaligned")):
                if status & bit:
                    raise BusError(
                        name, response, int(self._calls(lambda b=buffer: b.device_address))
                    )
            for bit, response in ((DECERR, "DECERR"), (SLVERR, "SLVERR")):
                if status & bit:
                    high, low = (self._calls(dma.read, one) for one in (BAD_HIGH, BAD_LOW))
                    raise BusError(name, response, high << 32 | low)

    def _account(self, slot: _Slot, seconds: float) -> None:
        timing = self.timing
        timing.frames += slot.frames
        counters = self._counters
        if counters is None:
            timing.accelerator_seconds += seconds
            if slot.frames == 1:
                timing.latency_seconds = seconds
            return

        def register(offset: int) -> int:
            return self._calls(counters.read, offset)

        clock = register(CLOCK_KHZ) * 1000
        cycles = register(LAST_CYCLES_HIGH) << 32 | register(LAST_CYCLES_LOW)
        timing.accelerator_seconds += cycles / clock
        timing.latency_seconds = register(LAST_LATENCY) / clock
        timing.interval_seconds = register(LAST_INTERVAL) / 256 / clock

    def _collect(self, slot: _Slot) -> np.ndarray:
        self._calls(slot.target.invalidate)
        port = self.package.output
        packed = np.asarray(slot.target)[: slot.frames]
        return unpack(packed, port.datatype, port.folded[-1]).reshape(slot.frames, -1)

    def _source(self) -> str:
        if self._counters is None:
            return "measured"
        found = self._calls(self._counters.read, SOURCE)
        return next((name for name, value in SOURCES.items() if value == found), "estimated")


def as_frames(frames: np.ndarray, frame: tuple[int, int] = (1024, 2)) -> np.ndarray:
    """Return frames as real numbers (N, samples, channels).

    Args:
        frames: numbers of that shape, or complex (N, samples) for two channels.
        frame: samples and channels.

    Raises:
        BadInput: they are no frames, or a sample is no finite number.
    """
    frames = np.asarray(frames)
    if frames.dtype.kind == "c" and frames.ndim == 2:
        frames = np.stack([frames.real, frames.imag], axis=-1)
    samples, channels = frame
    if frames.dtype.kind not in "fiu" or frames.ndim != 3 or frames.shape[2] != channels:
        complex_too = f" or complex (N, {samples})" if channels == 2 else ""
        raise BadInput(
            f"frames must be numbers (N, {samples}, {channels}){complex_too}, not {frames.dtype} "
            f"{frames.shape}"
        )
    if frames.dtype.kind == "f" and not np.isfinite(frames).all():
        row = int(np.isfinite(frames).all(axis=(1, 2)).argmin())
        raise BadInput(f"frame {row} holds NaN or infinity")
    return frames


def quantize(frames: np.ndarray, port: Input) -> np.ndarray:
    """Return a network's input integers, shape (N, *folded), in the type's container.

    Raises:
        BadInput: a frame has another number of samples than the accelerator takes.
    """
    if frames.shape[1:] != port.frame:
        raise BadInput(
            f"frames of {frames.shape[1]} samples; this accelerator takes {port.frame[0]}"
        )
    quantizer = port.quantizer
    if quantizer.signs is not None and quantizer.thresholds is not None:
        integers = np.empty(frames.shape, port.datatype.container)
        for channel, steps in enumerate(quantizer.thresholds):
            samples = quantizer.signs[channel] * frames[:, :, channel].astype(np.float32)
            reached = np.searchsorted(np.array(steps, np.float32), samples, side="right")
            integers[:, :, channel] = reached + quantizer.minimum
        return integers.reshape(len(frames), *port.folded[1:])
    # In float32, as the network does: x / step, round half to even, clip.
    scaled = np.divide(frames, np.float32(quantizer.step), dtype=np.float32)
    np.clip(np.rint(scaled, out=scaled), quantizer.minimum, quantizer.maximum, out=scaled)
    return scaled.astype(port.datatype.container).reshape(len(frames), *port.folded[1:])
