"""The Xilinx tools that the last steps of a build need: found, or missed before any work."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import BadInput

if TYPE_CHECKING:
    from build.finn_config import Request

SUPPORTED = "2022.2 or 2024.2"  # README of finn-plus 1.6.1
ALVEO_VARIABLES = {
    "PLATFORM_REPO_PATHS": "the folder of the card's platform",
    "XILINX_XRT": "source XRT's setup.sh",
}


def find_vivado() -> Path | None:
    """Return the folder of the Vivado on the PATH (or in XILINX_VIVADO); None without one."""
    if root := os.environ.get("XILINX_VIVADO"):
        return Path(root)
    return _root_of("vivado")


def _root_of(tool: str) -> Path | None:
    executable = shutil.which(tool)
    return Path(executable).resolve().parents[1] if executable else None


def check_tools(request: "Request") -> None:
    """Check that the tools of the last steps are there, and tell FINN+ where.

    Raises:
        BadInput: Vivado (or Vitis, for Alveo) is missing, FINN+ does not build for the board, or
            its shell cannot make the clock.
    """
    from finn.util.settings import get_settings

    to, board = request.to, request.board
    names = {"vivado": "Vivado"}
    if to == "bitfile":
        if not board.shell:
            raise BadInput(f"FINN+ has no shell for {board.name}: it gets as far as --to stitched")
        if request.clock != round(request.clock):
            raise BadInput(
                f"FINN+'s shell makes whole MHz: choose --clock {round(request.clock)} instead of "
                f"{request.clock:g}"
            )
        # FINN's DMA engines are HLS, whatever the network is.
        names["vitis_hls"] = "Vitis HLS (vitis_hls)"
        if board.shell == "alveo":
            names["v++"] = "Vitis (v++)"
    missing = [name for tool, name in names.items() if shutil.which(tool) is None]
    if missing:
        raise BadInput(
            f"--to {to} needs {' and '.join(missing)} on the PATH (FINN+ "
            f"supports {SUPPORTED}); without it --to hdl gives the "
            "generated HDL, aaronnet simulate and aaronnet synth its behaviour and size"
        )
    if "v++" in names:
        unset = [name for name in ALVEO_VARIABLES if not os.environ.get(name)]
        if unset:
            told = " and ".join(f"{name} ({ALVEO_VARIABLES[name]})" for name in unset)
            raise BadInput(f"--to bitfile for {board.name} needs these variables set: {told}")
        os.environ.setdefault("XILINX_VITIS", str(_root_of("v++")))
    os.environ.setdefault("XILINX_VIVADO", str(find_vivado()))
    # What `finn build` sets for the tools: no Tcl store in the home folder, and the DMAs' sources.
    os.environ.setdefault("XILINX_LOCAL_USER_DATA", "no")
    os.environ.setdefault("FINN_CUSTOM_HLS", str(get_settings().finn_custom_hls))
