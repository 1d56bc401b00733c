"""What a virtual board of a package carries, by default and by the quick options."""

from deploy.board.package import Package
from deploy.virtual_board.accelerator import GraphAccelerator, RtlAccelerator
from deploy.virtual_board.fabric import Fabric
from deploy.virtual_board.played_dmas import PlayedDmas
from deploy.virtual_board.simulated_dmas import SimulatedDmas


def choose(
    package: Package, graph: bool = False, fast: bool = False, without_dmas: bool = False
) -> Fabric:
    """Return the RTL from memory to memory where there is any, or else the graph.

    Args:
        package: to serve.
        graph: execute the graph even so: no cycles are simulated, but it needs no compiler.
        fast: simulate with the faster model of FINN's matrix-vector core.
        without_dmas: simulate the accelerator's RTL alone; the DMAs are played.

    Raises:
        BadInput: the package holds neither, or they do not fit the manifest.
        CheckFailed: the RTL cannot be built.
    """
    if graph or package.rtl is None:
        return PlayedDmas(package, GraphAccelerator(package))
    if without_dmas:
        return PlayedDmas(package, RtlAccelerator(package, package.rtl, fast))
    return SimulatedDmas(package, package.rtl, fast)
