"""What Vivado reports of a placed design: records of it, and reading its files."""

from dataclasses import dataclass
from pathlib import Path

from models.errors import CheckFailed

REPORTS = "reports"
FACTS = "facts.txt"
MET = "All user specified timing constraints are met"
KINDS = {
    # As the tables of UltraScale+ and of series 7 name them; BRAM is counted in halves of a tile.
    "LUT": ("CLB LUTs", "Slice LUTs", 1),
    "FF": ("CLB Registers", "Slice Registers", 1),
    "DSP": ("DSPs", "DSPs", 1),
    "BRAM_18K": ("Block RAM Tile", "Block RAM Tile", 2),
    "URAM": ("URAM", "URAM", 1),
}


@dataclass(frozen=True)
class TimingPath:
    """The path with the least slack: its ns, where it begins and ends, levels of logic, its ns."""

    slack_ns: float
    begin: str
    end: str
    levels: int
    delay_ns: float


@dataclass(frozen=True)
class Used:
    """How much of a resource the placed design takes, and how much there is."""

    used: int
    available: int


@dataclass(frozen=True)
class Implementation:
    """What Vivado reports of a bitfile: of the whole shell, placed and routed.

    Attributes:
        vivado: its version.
        clock_mhz: of the fabric, as the clocking wizard makes it.
        setup, hold: the worst path of each kind.
        resources: by kind.
        power_w: total, dynamic and static, as estimated without activities.
    """

    vivado: str
    clock_mhz: float
    setup: TimingPath
    hold: TimingPath
    resources: dict[str, Used]
    power_w: dict[str, float]


def read_reports(folder: Path) -> Implementation:
    """Read a folder of reports.

    Raises:
        CheckFailed: they are not what Vivado writes, or the clock is missed; the worst path is
            named.
    """
    try:
        facts = dict(
            line.split("\t", 1) for line in (folder / FACTS).read_text().splitlines() if line
        )
        found = Implementation(
            facts["vivado"],
            float(facts["clock_hz"]) / 1e6,
            _path(facts, "max"),
            _path(facts, "min"),
            resources=utilization((folder / "utilization.rpt").read_text()),
            power_w=power((folder / "power.rpt").read_text()),
        )
        met = MET in (folder / "timing.rpt").read_text()
    except (OSError, KeyError, ValueError) as error:
        raise CheckFailed(f"{folder} holds no reports of Vivado's: {error}") from error
    if not met:
        raise CheckFailed(missed(found))
    return found


def missed(found: Implementation) -> str:
    """Return in one line how the clock is missed."""
    path, kind = min(
        ((found.setup, "setup"), (found.hold, "hold")), key=lambda one: one[0].slack_ns
    )
    if path.slack_ns >= 0:
        return (
            f"a clock of {found.clock_mhz:g} MHz has pulses too short for a cell, see timing.rpt; "
            "choose a lower --clock"
        )
    # The worst setup path tells how slow the clock has to be.
    possible = 1000 / (1000 / found.clock_mhz - found.setup.slack_ns)
    lower = f"; about {possible:.0f} MHz would do" if kind == "setup" else ""
    return (
        f"{found.clock_mhz:g} MHz are missed by {-path.slack_ns:.3f} ns of {kind} on the path from "
        f"{path.begin} to {path.end} ({path.levels} levels of logic, {path.delay_ns:.3f} ns)"
        f"{lower}"
    )


def _path(facts: dict[str, str], kind: str) -> TimingPath:
    return TimingPath(
        float(facts[f"{kind}.SLACK"]),
        facts[f"{kind}.STARTPOINT_PIN"],
        facts[f"{kind}.ENDPOINT_PIN"],
        int(facts[f"{kind}.LOGIC_LEVELS"]),
        float(facts[f"{kind}.DATAPATH_DELAY"]),
    )


def _rows(text: str) -> dict[str, list[str]]:
    """Return the rows of a report's tables by their first cell, the first of each name."""
    rows: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("|"):
            first, *others = (cell.strip() for cell in line.strip("| \n").split("|"))
            rows.setdefault(first.rstrip("*"), others)
    return rows


def utilization(text: str) -> dict[str, Used]:
    """Return the resources of a report of `report_utilization`, by kind.

    Raises:
        ValueError: LUTs, flip-flops, DSPs or block RAMs are not in it.
    """
    rows, found = _rows(text), {}
    for kind, (*names, unit) in KINDS.items():
        row = next((rows[name] for name in names if name in rows), None)
        if row is not None:
            found[kind] = Used(round(float(row[0]) * unit), round(float(row[-2]) * unit))
        elif kind != "URAM":  # series 7 has none
            raise ValueError(f"no {kind} in utilization.rpt")
    return found


def power(text: str) -> dict[str, float]:
    """Return watts of a report of `report_power`: total, dynamic, static.

    Raises:
        ValueError: they are not in it.
    """
    rows = _rows(text)
    names = {"total": "Total On-Chip Power (W)", "dynamic": "Dynamic (W)",
             "static": "Device Static (W)"}  # fmt: skip
    if absent := [name for name in names.values() if name not in rows]:
        raise ValueError(f"no {absent[0]} in power.rpt")
    return {key: float(rows[name][0]) for key, name in names.items()}
