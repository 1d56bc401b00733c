"""A finished build's folder: opened again by `simulate` and `synth`, which add to its report."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build.build_report import DENSE, SPARSE, BuildReport
from build.layout import GENERATED, HDL, MARKER, NETWORK, PACKAGE, REPORT, graph_after
from deploy.board.records import read_json
from deploy.board.records import record as checked
from models.errors import BadInput
from models.files import existing_file, write_json

if TYPE_CHECKING:
    from qonnx.core.modelwrapper import ModelWrapper

    from build.simulation.simulated import Simulated
    from build.stimuli import Task


@dataclass(frozen=True)
class FinishedBuild:
    """A folder that `aaronnet build --to hdl` (or further) left."""

    folder: Path
    model: "ModelWrapper"  # with generated HDL; of a sparse build the network as exported
    report: BuildReport

    @property
    def task(self) -> "Task":
        """What its network classifies."""
        from build.source import task_of
        from models.export import load_onnx

        return task_of(load_onnx(self.folder / NETWORK))

    @property
    def sparse(self) -> bool:
        """Whether it is one of `--style sparse`."""
        return self.report.style == SPARSE

    @property
    def clock_mhz(self) -> float:
        """The accelerator's clock."""
        return self.report.performance.clock_mhz


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
    style = read_json(folder / MARKER).get("style", DENSE)
    graph = folder / NETWORK if style == SPARSE else graph_after(folder, HDL)
    if not graph.exists():
        raise BadInput(f"{folder} has no HDL; build it again with --to hdl")
    facts = read_json(existing_file(folder / REPORT, "report"))
    try:
        report = checked(BuildReport, facts, others=True)  # what each style adds is not needed
    except ValueError as error:
        raise BadInput(
            f"{folder / REPORT} is no build's report: {error}; build it again"
        ) from error
    if report.style != style:
        raise BadInput(f"{folder / REPORT} is of another build; build it again")
    if report.style == SPARSE:
        setup(folder / GENERATED)
        return FinishedBuild(folder, load_onnx(graph), report)
    return FinishedBuild(folder, load_graph(graph), report)


def record(opened: FinishedBuild, name: str, facts: dict[str, Any]) -> None:
    """Add facts to the build's report.json, in the place of earlier ones of that name."""
    path = opened.folder / REPORT
    write_json(path, {**json.loads(path.read_text()), name: facts})


def record_simulation(opened: FinishedBuild, found: "Simulated") -> None:
    """Keep a simulation's facts with the build; its package then expects their pace and latency.

    Of a run that paused at its ends, had memory in it, was too short for a pace or found a fault,
    the package keeps nothing.
    """
    from build.package import expect_simulated

    record(opened, "simulation" if found.system is None else "system", found.to_dict())
    if not found.stall and found.system is None and found.cycles_per_frame and not found.mismatches:
        expect_simulated(opened.folder / PACKAGE, found.cycles_per_frame, found.latency_cycles)
