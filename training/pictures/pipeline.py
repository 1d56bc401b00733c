"""The layers of an accelerator."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from training.pictures.canvas import save


def balance(
    cycles: Mapping[str, int], slowest: str, title: str, line_rate: int, picture: str | Path
) -> None:
    """Draw how many clocks a frame each layer takes: a balanced pipeline is a straight line.

    Args:
        cycles: of each layer, in order; those of none are left out.
        slowest: the layer to mark.
        title: of the picture.
        line_rate: clocks a frame at which one sample enters in each clock.
        picture: file to write.

    Raises:
        BadInput: `picture` cannot be written.
    """
    rows = {name: count for name, count in cycles.items() if count}
    figure = Figure(figsize=(8, 0.16 * len(rows) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    colours = ["#d9730d" if name == slowest else "#0b6e99" for name in rows]
    axes.barh(list(rows), list(rows.values()), color=colours)
    axes.axvline(line_rate, color="0.5", linewidth=1, linestyle="--")
    axes.text(line_rate, -0.9, "line rate ", color="0.4", fontsize=7, ha="right")
    axes.set_ylim(len(rows) - 0.4, -1.8)
    axes.tick_params(labelsize=6)
    axes.set_xlabel("clocks a frame (estimated)")
    axes.set_title(title, fontsize=10)
    save(figure, picture)
