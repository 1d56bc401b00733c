"""What computes behind the virtual board's DMAs: bytes of frames in, bytes of results out."""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy.package import Package
from deploy.packing import pack, unpack
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
        package: must hold the folder `rtl/`: `design.json` is {top, ports, sources, data, values,
            input, output, output_words}: names of the Verilog files under hdl/ in the order of
            compilation, of the memories under data/, of the two outer streams, ports as
            [name, bits, internal], and the words of one frame's result.
    """

    source = "simulated"

    def __init__(self, package: Package):
        from build.simulation.verilate import Design, Port, build

        folder = package.rtl
        if folder is None:
            raise BadInput(f"{package.folder} holds no RTL to simulate; build with --to hdl")
        try:
            facts = json.loads((folder / "design.json").read_text())
            ports = [Port(name, int(bits), bool(inner)) for name, bits, inner in facts["ports"]]
            widths = {port.name: port.width for port in ports}
            design = Design(
                facts["top"],
                {name: (folder / "hdl" / name).read_text() for name in facts["sources"]},
                ports,
                facts["values"],
            )
            self.files = {name: (folder / "data" / name).read_bytes() for name in facts["data"]}
            self.input, self.output = facts["input"], facts["output"]
            self.words = int(facts["output_words"])
            self.widths = {self.output: widths[self.output]}
            self.bytes = widths[self.input] // 8
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise BadInput(f"{folder} holds no simulation: {error}; build it again") from error
        if (self.bytes, widths[self.output] // 8) != (
            package.input.packed[-1],
            package.output.packed[-1],
        ):
            raise BadInput(f"{folder}: the streams are not as wide as the manifest says")
        self.executable: Path = build(design)

    def run(self, frames: np.ndarray) -> Run:
        """Simulate one transfer from reset."""
        from build.simulation.verilate import Collect, Feed, run

        done = run(
            self.executable,
            {self.input: Feed(frames.reshape(-1, self.bytes))},
            {self.output: Collect(len(frames) * self.words)},
            widths=self.widths,
            files=self.files,
            idle=1_000_000,
        )
        if done.failure:
            raise CheckFailed(f"the simulated accelerator failed: {done.failure}")
        ends = done.arrivals[self.output].reshape(len(frames), self.words)[:, -1]
        # The first interval still fills the pipeline.
        gaps = np.diff(ends)[1:] if len(ends) > 2 else np.diff(ends)
        interval = float(gaps.mean()) if len(gaps) else float(ends[0] + 1)
        results = done.data[self.output].reshape(len(frames), -1)
        return Run(results, int(ends[-1]) + 1, int(ends[0]) + 1, interval)


class GraphAccelerator(Accelerator):
    """The dataflow graph, executed node by node; cycles are those that the manifest expects."""

    source = "estimated"

    def __init__(self, package: Package):
        from build.flow import load_graph

        if package.graph is None:
            raise BadInput(f"{package.folder} holds no graph to execute")
        self.package, self.model = package, load_graph(package.graph)

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
    interval = float(package.performance["cycles_per_frame"])
    latency = int(package.performance["latency_cycles"])
    return Run(results, round(latency + (len(results) - 1) * interval), latency, interval)


def choose(package: Package) -> Accelerator:
    """Return the RTL where the package holds it, or else the graph.

    Raises:
        BadInput: the package holds neither.
        CheckFailed: the RTL cannot be built.
    """
    return RtlAccelerator(package) if package.rtl is not None else GraphAccelerator(package)
