"""What computes between played DMAs: bytes of frames in, bytes of results out."""

import importlib
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy.board.package import Package
from deploy.board.packing import pack, unpack
from models.errors import BadInput, CheckFailed


@dataclass(frozen=True)
class Run:
    """One transfer, from the first input word offered to the last result.

    Attributes:
        results: uint8 (frames, bytes a frame's result).
        cycles: clock cycles of the whole transfer.
        latency: clock cycles to the first frame's result.
        interval: clock cycles from a frame's result to the next one's in steady state.
    """

    results: np.ndarray
    cycles: int
    latency: int
    interval: float


class Accelerator(ABC):
    """An accelerator between the DMAs.

    Attributes:
        source: where its cycles come from, "simulated" or "estimated".
    """

    source: str

    @abstractmethod
    def run(self, frames: np.ndarray) -> Run:
        """Stream frames, uint8 (frames, bytes a frame), through.

        Raises:
            CheckFailed: it did not deliver (a deadlock, say).
        """


class RtlAccelerator(Accelerator):
    """The accelerator's RTL, verilated; cycles are measured.

    Args:
        package: says how wide the streams are.
        folder: the RTL, see `build.simulation.rtl_folder`.
        fast: with the faster model of FINN's matrix-vector core.

    Raises:
        BadInput: the RTL does not fit the package.
        CheckFailed: it cannot be verilated.
    """

    source = "simulated"

    def __init__(self, package: Package, folder: Path, fast: bool = False):
        from build.simulation.rtl_folder import read_rtl
        from build.simulation.verilate import build

        self.rtl = read_rtl(folder, fast)
        found = self.rtl.input.width // 8, self.rtl.output.width // 8
        if found != (package.input.packed[-1], package.output.packed[-1]):
            raise BadInput(f"{folder}: streams of {found} bytes are not what the manifest says")
        self.executable: Path = build(self.rtl.design)

    def run(self, frames: np.ndarray) -> Run:
        """Simulate one transfer from reset."""
        from build.simulation.verilate import Collect, Feed, run

        source, sink, words = self.rtl.input, self.rtl.output, self.rtl.output_words
        done = run(
            self.executable,
            {source.name: Feed(frames.reshape(-1, source.width // 8))},
            {sink.name: Collect(len(frames) * words)},
            widths={sink.name: sink.width},
            files=self.rtl.data,
            idle=1_000_000,
        )
        if done.failure:
            raise CheckFailed(f"the simulated accelerator failed: {done.failure}")
        ends = done.arrivals[sink.name].reshape(len(frames), words)[:, -1]
        # The first interval still fills the pipeline.
        gaps = np.diff(ends)[1:] if len(ends) > 2 else np.diff(ends)
        interval = float(gaps.mean()) if len(gaps) else float(ends[0] + 1)
        results = done.data[sink.name].reshape(len(frames), -1)
        return Run(results, int(ends[-1]) + 1, int(ends[0]) + 1, interval)


class GraphAccelerator(Accelerator):
    """The dataflow graph, executed node by node; cycles are those that the manifest expects."""

    source = "estimated"

    def __init__(self, package: Package):
        from build.environment import setup

        if package.graph is None:
            raise BadInput(
                f"{package.folder} holds neither RTL nor a graph; build it with --to hdl"
            )
        with tempfile.TemporaryDirectory() as folder:
            # FINN's modules cannot be imported without a folder for what they might generate.
            setup(Path(folder))
            importlib.import_module("build.rtl.specialize")
            from build.source import read_graph

            self.package, self.model = package, read_graph(package.graph)

    def run(self, frames: np.ndarray) -> Run:
        """Execute the graph on one transfer's frames."""
        from build.execute import execute

        ports = self.package.input, self.package.output
        numbers = [len(frames), *ports[0].packed[1:]]
        values = unpack(frames.reshape(numbers), ports[0].datatype, ports[0].folded[-1])
        values = values.reshape(len(frames), *ports[0].normal[1:])
        (result,) = execute(self.model, values.astype(np.float64)).values()
        folded = np.rint(result).astype(np.int64).reshape(len(frames), *ports[1].folded[1:])
        results = pack(folded, ports[1].datatype).reshape(len(frames), -1)
        return timed(self.package, results)


def timed(package: Package, results: np.ndarray) -> Run:
    """Return a run that takes as many cycles as the manifest expects."""
    interval = float(package.performance.cycles_per_frame)
    latency = int(package.performance.latency_cycles)
    return Run(results, round(latency + (len(results) - 1) * interval), latency, interval)
