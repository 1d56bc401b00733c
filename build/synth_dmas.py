"""Resources of the DMAs that a build gets, by Yosys: no placement, no clock."""

import math
from typing import Any

from build.finished import FinishedBuild
from build.layout import PACKAGE
from build.rtl.dmas import Dma, MemoryPort, dma_pair, memory_port, sources
from build.yosys import Job, synthesise_jobs
from deploy.board.package import Port, read_package
from models.console import Progress


def dmas_of(opened: FinishedBuild, port: MemoryPort | None = None) -> tuple[Dma, Dma]:
    """Return the DMAs of a build's accelerator.

    Args:
        opened: the build.
        port: of the memory; the board's otherwise.
    """
    package = read_package(opened.folder / PACKAGE)

    def end(side: Port) -> tuple[int, int]:
        return side.packed[-1], math.prod(side.packed[:-1])

    port = port or memory_port(opened.report.part)
    return dma_pair(end(package.input), end(package.output), port)


def synthesise_dmas(
    dmas: tuple[Dma, ...],
    family: str,
    progress: Progress = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Return name, resources and longest path of each DMA; see `build.yosys.synthesise_jobs`.

    Raises:
        CheckFailed: Yosys rejects one.
    """
    todo = [
        Job(dma.name, dma.module, sources(), {}, {}, dma.module, dma.parameters, dsp=False)
        for dma in dmas
    ]
    return synthesise_jobs(todo, family, 1, progress)
