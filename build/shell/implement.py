"""Vivado, run in a project's folder."""

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from build.layout import VIVADO
from build.shell.project import SCRIPT, write_project
from build.shell.reports import FACTS, REPORTS, Implementation, read_reports
from build.simulation.stitch import Accelerator
from models import children
from models.console import Bar
from models.errors import CheckFailed

if TYPE_CHECKING:
    from build.build_report import BuildReport
    from build.finn_config import Request

R = TypeVar("R", bound="BuildReport")

STEPS = ("project", "block design", "synthesis", "placement and routing", "reports")
"""What the script tells that it does, in this order."""

LOG = "vivado.log"


def implement(
    folder: Path, vivado: str = "vivado", told: Callable[[str], None] = lambda step: None
) -> Implementation:
    """Run Vivado on what `write_project` wrote; accelerator.bit and .hwh lie in the folder then.

    Args:
        folder: the project's.
        vivado: the program.
        told: called with each step that begins, one of STEPS.

    Raises:
        CheckFailed: Vivado failed, or the clock is missed; the reports say more.
    """
    command = [vivado, "-mode", "batch", "-nojournal", "-log", LOG, "-source", SCRIPT.name]
    said = []
    with children.talked_to(command, folder) as child:
        for line in child.stdout or ():
            said.append(line.rstrip())
            _tell(said[-1], told)
        code = child.wait()
    if code or not (folder / REPORTS / FACTS).is_file():
        raise CheckFailed(f"Vivado ended with code {code}: {_reason(said)}")
    return read_reports(folder / REPORTS)


def _tell(line: str, told: Callable[[str], None]) -> None:
    name, _, step = line.partition(" ")
    if name == "STEP" and step in STEPS:
        told(step)


def _reason(lines: list[str]) -> str:
    """Return Vivado's first error, or else its last line."""
    lines = [line for line in lines if line]
    errors = [line for line in lines if re.match(r"(ERROR|CRITICAL WARNING):", line)]
    return (errors or lines or ["it said nothing"])[0 if errors else -1]


def with_shell(report: R, request: "Request", accelerator: Accelerator, new: Path, out: Path) -> R:
    """Put a shell around a build's accelerator, as far as was asked for.

    Args:
        report: of the build.
        request: what was asked for; `--to hdl` wants no shell.
        accelerator: its RTL.
        new: where the build is made.
        out: where it will be; reports stay there where the clock is missed.

    Returns:
        the report, with what Vivado reports of a bitfile.

    Raises:
        BadInput: the accelerator has several inputs or outputs.
        CheckFailed: see `implement`.
    """
    if request.to not in ("project", "bitfile"):
        return report
    folder = new / VIVADO
    write_project(accelerator, request.board, request.clock, folder)
    if request.to == "project":
        return report
    kept = out / "vivado-reports"
    shutil.rmtree(kept, ignore_errors=True)
    with Bar("Vivado", len(STEPS)) as bar:

        def told(step: str) -> None:
            bar(STEPS.index(step), len(STEPS))
            bar.describe(f"Vivado: {step}")

        try:
            found = implement(folder, told=told)
        except CheckFailed as error:
            kept.mkdir(parents=True)
            for path in (folder / LOG, *(folder / REPORTS).glob("*.rpt")):
                if path.is_file():
                    shutil.copy(path, kept)
            raise CheckFailed(f"{error}; reports: {kept}") from error
        bar(len(STEPS), len(STEPS))
    return dataclasses.replace(report, implementation=found)
