"""What `aaronnet synth` prints: tables of modules, or of kinds of modules."""

from typing import Any

from build.yosys import KINDS
from models.console import print_markdown, print_table

Row = dict[str, Any]
"""A node or a kind of nodes, as `build.yosys.synthesise_jobs` returns it."""

NO_CLOCK = "logic only, on Artix-7's scale; no clock rate follows"


def by_kind(rows: list[Row]) -> list[Row]:
    """Return one row a kind of node: name, how many (`number`), resources summed, the longest path.

    A kind of which no node could be timed has the reason of the first; one of which some could not
    has the longest of the others, and their number in `untimed`.
    """
    found = []
    for kind in dict.fromkeys(row["op_type"] for row in rows):
        same = [row for row in rows if row["op_type"] == kind]
        timed = [row for row in same if row["untimed"] is None]
        left = [row["untimed"] for row in same if row["untimed"] is not None]
        longest = max(timed or same, key=lambda row: row["delay_ps"] or 0)
        untimed = (f"{len(left)} of them: " if timed else "") + left[0] if left else None
        found.append({
            **longest,
            "name": kind,
            "number": len(same),
            "resources": {k: sum(row["resources"][k] for row in same) for k in KINDS},
            "untimed": untimed,
        })  # fmt: skip
    return found


def delay_cells(row: Row) -> tuple[object, object]:
    """Return a row's picoseconds and levels as a table shows them, or why there are none."""
    if row["delay_ps"] is None:
        return f"not timed: {row['untimed']}", ""
    if row["untimed"]:
        return f"{row['delay_ps']:,}; not timed: {row['untimed']}", row["levels"]
    return row["delay_ps"], row["levels"]


def _named(row: Row, kinds: bool) -> list[object]:
    return [row["name"], row["number"]] if kinds else [row["name"]]


def show(facts: dict[str, Any], sparse: bool, nodes: bool, kinds: bool, delays: bool) -> None:
    """Print a build's tables.

    Args:
        facts: from `build.yosys.synthesise_build` or of a sparse build.
        sparse: whether it is of a sparse build: without estimates, module by module.
        nodes: show every node of a dense build, too.
        kinds: show kinds of nodes instead of nodes.
        delays: show the longest paths.
    """
    title = f"{facts['network']} on {facts['board']}: mapped by Yosys (no placement, no clock)"
    rows = by_kind(facts["nodes"]) if kinds else facts["nodes"]
    first = ["kind", "how many"] if kinds else ["node"]
    if nodes or kinds or sparse:
        estimated = [] if sparse or kinds else ["LUT", "DSP", "BRAM_18K"]
        print_table(
            title,
            [*first, *KINDS, *(f"estimated {kind}" for kind in estimated)],
            [
                (
                    *_named(row, kinds),
                    *(row["resources"][kind] for kind in KINDS),
                    *(row["estimate"][kind] for kind in estimated),
                )
                for row in rows
            ],
        )
    if delays:
        print_table(
            f"Longest paths: {NO_CLOCK}",
            [*first, "ps", "levels"],
            [
                (*_named(row, kinds), *delay_cells(row))
                for row in sorted(rows, key=lambda row: -(row["delay_ps"] or 0))
            ],
        )
    if "dmas" in facts:
        print_table(
            f"DMAs: longest path of {NO_CLOCK}",
            ["", *KINDS, "ps", "levels"],
            [(row["name"], *row["resources"].values(), *delay_cells(row)) for row in facts["dmas"]],
        )
    if sparse:
        print_table(title, ["", "Yosys"], list(facts["total"].items()))
        return
    ratios = {kind: f"{value:.2f}" for kind, value in facts["ratio"].items() if value}
    print_table(
        title,
        ["", "Yosys", "estimate", "ratio"],
        [
            (kind, facts["total"][kind], facts["estimate"].get(kind, ""), ratios.get(kind, ""))
            for kind in KINDS
        ],
    )


def show_markdown(facts: dict[str, Any], kinds: bool, delays: bool) -> None:
    """Print one Markdown table, as docs/ have it; arguments are `show`'s."""
    rows = by_kind(facts["nodes"]) if kinds else facts["nodes"]
    print_markdown(
        [*(["kind", "how many"] if kinds else ["module"]), *KINDS,
         *(["ps", "levels"] if delays else [])],
        [
            (
                *_named(row, kinds),
                *(row["resources"][kind] for kind in KINDS),
                *(delay_cells(row) if delays else []),
            )
            for row in rows
        ],
    )  # fmt: skip
