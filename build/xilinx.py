"""The Xilinx tools that the last steps of a build need: found, or missed before any work."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import BadInput

if TYPE_CHECKING:
    from build.boards import Board

SUPPORTED = "2022.2 or 2024.2"
"""What FINN+ supports (README of finn-plus 1.6.1), and what our shell is written for."""


def find_vivado() -> Path | None:
    """Return the folder of the Vivado on the PATH (or in XILINX_VIVADO); None without one."""
    if root := os.environ.get("XILINX_VIVADO"):
        return Path(root)
    executable = shutil.which("vivado")
    return Path(executable).resolve().parents[1] if executable else None


def check_tools(board: "Board", to: str) -> None:
    """Check that the tools of the last steps are there, and tell FINN+ where.

    Raises:
        BadInput: Vivado is missing, or there is no shell for the board.
    """
    from build.shell.project import system_of

    if to in ("project", "bitfile"):
        system_of(board)
    if to not in ("stitched", "bitfile"):
        return
    if shutil.which("vivado") is None:
        without = "--to hdl gives the generated HDL"
        if to == "bitfile":
            without = "--to project writes what Vivado needs, for another machine"
        raise BadInput(
            f"--to {to} needs Vivado ({SUPPORTED}) on the PATH; without it {without}, aaronnet "
            "simulate and aaronnet synth tell behaviour and size"
        )
    if to == "stitched":
        from finn.util.settings import get_settings

        os.environ.setdefault("XILINX_VIVADO", str(find_vivado()))
        # What `finn build` sets for the tools: no Tcl store in the home folder, and HLS sources.
        os.environ.setdefault("XILINX_LOCAL_USER_DATA", "no")
        os.environ.setdefault("FINN_CUSTOM_HLS", str(get_settings().finn_custom_hls))
