"""A finished build's folder: opened again by `simulate` and `synth`, which add to its report."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build.layout import GENERATED, HDL, MARKER, NETWORK, PACKAGE, REPORT, graph_after
from deploy.board.records import read_json
from deploy.board.records import record as checked
from models.errors import BadInput
from models.files import existing_file, write_json

if TYPE_CHECKING:
    from qonnx.core.modelwrapper import ModelWrapper


@dataclasses.dataclass(frozen=True)
class FinishedBuild:
    """A folder that `aaronnet build --to hdl` (or further) left."""

    folder: Path
    model: "ModelWrapper"  # with generated HDL; of a sparse build the network as exported
    clock_mhz: float
    report: dict[str, Any]

    @property
    def sparse(self) -> bool:
        """Whether it is one of `--style sparse`."""
        return self.report.get("style") == "sparse"


@dataclasses.dataclass(frozen=True)
class _Performance:
    clock_mhz: float
    cycles_per_frame: float

    def __post_init__(self) -> None:
        if self.clock_mhz <= 0 or self.cycles_per_frame <= 0:
            raise ValueError("clock_mhz or cycles_per_frame is not positive")


@dataclasses.dataclass(frozen=True)
class _Report:
    """What is read of a build's report."""

    network: str
    board: str
    part: str
    performance: _Performance


def open_build(folder: Path) -> FinishedBuild:
    """Open a build's folder.

    Raises:
        BadInput: it is no build, one without HDL, or its report or graph is damaged.
    """
    from build.environment import setup
    from build.source import load_graph
    from build.staging import finish
    from models.export import load_onnx

    finish(folder)
    if not (folder / MARKER).is_file():
        raise BadInput(f"{folder} is no folder of `aaronnet build`: it has no {MARKER}")
    sparse = read_json(folder / MARKER).get("style") == "sparse"
    graph = folder / NETWORK if sparse else graph_after(folder, HDL)
    if not graph.exists():
        raise BadInput(f"{folder} has no HDL; build it again with --to hdl")
    report = read_json(existing_file(folder / REPORT, "report"))
    try:
        needed = checked(_Report, report, others=True)
    except ValueError as error:
        raise BadInput(
            f"{folder / REPORT} is no build's report: {error}; build it again"
        ) from error
    clock = needed.performance.clock_mhz
    if sparse:
        setup(folder / GENERATED)
        return FinishedBuild(folder, load_onnx(graph), clock, report)
    return FinishedBuild(folder, load_graph(graph), clock, report)


def record(opened: FinishedBuild, name: str, facts: dict[str, Any]) -> None:
    """Add facts to the build's report.json, in the place of earlier ones of that name."""
    path = opened.folder / REPORT
    write_json(path, {**json.loads(path.read_text()), name: facts})


def record_simulation(opened: FinishedBuild, facts: dict[str, Any]) -> None:
    """Keep a simulation's facts with the build; its package then expects their pace and latency.

    Of a run that paused at its ends, was too short for a pace or found a fault, the package keeps
    nothing.
    """
    from build.package import expect_simulated

    record(opened, "simulation", facts)
    if not facts["stall"] and facts["cycles_per_frame"] and not facts["mismatches"]:
        cycles, latency = facts["cycles_per_frame"], facts["latency_cycles"]
        expect_simulated(opened.folder / PACKAGE, cycles, latency)
