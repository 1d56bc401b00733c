"""`aaronnet simulate` and `aaronnet synth` of a sparse build: its RTL is made again, in seconds."""

from typing import Any

import numpy as np

from build.boards import find_board
from build.finished import FinishedBuild
from build.simulation.against_network import Subject, compare
from build.simulation.simulate import Difference, Simulation
from build.simulation.simulated import Simulated
from build.simulation.stitch import TOP
from build.sparse.assemble import Sparse, compile_network, mismatches
from build.sparse.compose import compose
from build.sparse.emit import LEVELS
from build.sparse.fold import fold
from build.sparse.from_graph import network_of
from build.sparse.network import Network
from build.yosys import FAMILIES, KINDS, Job, synthesise_jobs
from models.console import Progress
from models.errors import BadInput


def hardware_of(opened: FinishedBuild, depth: int = LEVELS) -> tuple[Network, Sparse]:
    """Return the folded network of a sparse build and its hardware.

    Args:
        opened: the build.
        depth: of adders between two registers; a build has LEVELS.
    """
    network = fold(compose(fold(network_of(opened.model))))
    return network, compile_network(network, opened.report.performance.cycles_per_frame, depth)


def simulate_sparse(
    opened: FinishedBuild,
    frames: np.ndarray,
    classes: np.ndarray | None = None,
    **options: Any,
) -> Simulated:
    """Simulate a sparse build; arguments are `against_network.simulate_build`'s, without `fast`.

    With `per_node` every tensor is compared with the integer network's, which the build compared
    with the network.

    Raises:
        CheckFailed: the accelerator deadlocks or loses words.
    """
    network, made = hardware_of(opened)
    integers = network.quantize(frames)

    def judge(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return found[:, 0], found[:, 0] != network.classes(integers)

    def differing(simulation: Simulation) -> tuple[int, list[Difference]]:
        compared = mismatches(made.accelerator, network, simulation, integers)
        return len(compared), [each for each in compared.values() if each is not None]

    subject = Subject(made.accelerator, integers.transpose(0, 2, 1), judge, differing)
    return compare(opened, subject, classes, **options)


def synthesise_sparse(
    opened: FinishedBuild,
    family: str,
    processes: int | None = None,
    progress: Progress = lambda done, total: None,
    flat: bool = False,
    depth: int = LEVELS,
) -> dict[str, Any]:
    """Synthesise a sparse build module by module; arguments and facts as `synthesise_build`'s.

    With `flat` all of it is one design to Yosys, and one row. `depth` is that of the adders between
    two registers, whatever the build has. There is no estimate. Any family will do: there are no
    primitives in this HDL.

    Raises:
        BadInput: the family is unknown.
        CheckFailed: Yosys rejects a module.
    """
    if family not in FAMILIES:
        raise BadInput(f"unknown family {family!r}; choose one of {', '.join(FAMILIES)}")
    _, made = hardware_of(opened, depth)
    sources = made.accelerator.design.sources
    todo = [
        Job(
            unit.name,
            unit.module.removeprefix("m_"),
            # And the modules in it.
            {f: t for f, t in sources.items() if f == file or f"\t{f[:-3]} " in sources[file]},
            {},
            {},
            unit.module,
            unit.parameters,
            dsp=False,
        )
        for unit in made.units
        for file in [f"{unit.module}.sv"]
    ]
    if flat:
        todo = [Job("all of it", "flat", dict(sources), {}, {}, TOP, dsp=False)]
    rows = synthesise_jobs(todo, family, processes, progress)
    available = find_board(opened.report.board).resources
    return {
        "network": opened.report.network,
        "board": opened.report.board,
        "family": family,
        "nodes": rows,
        "total": {kind: sum(row["resources"][kind] for row in rows) for kind in KINDS},
        "estimate": {},
        "ratio": {},
        "available": {kind: available[kind] for kind in KINDS if kind in available},
    }
