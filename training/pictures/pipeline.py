"""The layers of an accelerator."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from training.pictures.canvas import save


def balance(facts: dict[str, Any], line_rate: int, picture: str | Path) -> None:
    """Draw how many clocks a frame each layer takes: a balanced pipeline is a straight line.

    Args:
        facts: the build's report.
        line_rate: clocks a frame at which one sample enters in each clock.
        picture: file to write.

    Raises:
        BadInput: `picture` cannot be written.
    """
    rows = [row for row in facts["layers"] if row["cycles"]]
    figure = Figure(figsize=(8, 0.16 * len(rows) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    slowest = facts["performance"]["bottleneck"]
    colours = ["#d9730d" if row["name"] == slowest else "#0b6e99" for row in rows]
    axes.barh([row["name"] for row in rows], [row["cycles"] for row in rows], color=colours)
    axes.axvline(line_rate, color="0.5", linewidth=1, linestyle="--")
    axes.text(line_rate, -0.9, "line rate ", color="0.4", fontsize=7, ha="right")
    axes.set_ylim(len(rows) - 0.4, -1.8)
    axes.tick_params(labelsize=6)
    axes.set_xlabel("clocks a frame (estimated)")
    axes.set_title(
        f"{facts['network']} on {facts['board']}: {facts['performance']['fps']:,.0f} frames/s",
        fontsize=10,
    )
    save(figure, picture)
