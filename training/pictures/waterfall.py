"""A recording: its spectrum over time with the answers above it, and frames in the I/Q plane."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from training.pictures.canvas import DPI, WIDTH, png

COLOURS = colormaps["tab20"]


def waterfall(
    spectrum: np.ndarray,
    seconds: float,
    edges: tuple[float, float],
    bands: Sequence[tuple[float, float]],
    answers: Sequence[Sequence[tuple[float, float, str]]],
    unit: str,
) -> bytes:
    """Draw a spectrogram, and a bar of the answers over the same time for each channel.

    Args:
        spectrum: dB (times, frequencies).
        seconds: how long the recording is, in `unit`.
        edges: lowest and highest frequency of the picture.
        bands: lowest and highest frequency of each channel, the lowest channel first.
        answers: (begin, end, answer) of each channel, in `unit`.
        unit: of time: "s", or "samples" where no rate is known.

    Returns:
        PNG.
    """
    figure = Figure(figsize=(WIDTH * 1.2, 4.8 + 0.22 * len(bands)), dpi=DPI, layout="constrained")
    bar, picture = figure.subplots(2, 1, sharex=True, height_ratios=[len(bands), 20])
    names = sorted({answer for channel in answers for _, _, answer in channel})
    colour = {name: COLOURS(number % 20) for number, name in enumerate(names)}
    for lane, channel in enumerate(answers):
        for begin, end, answer in channel:
            bar.broken_barh([(begin, end - begin)], (lane, 0.9), color=colour[answer], linewidth=0)
    bar.set(yticks=[], ylim=(0, len(bands)))
    bar.legend(
        handles=[Patch(color=colour[name], label=name) for name in names],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=8,
        fontsize=7,
        frameon=False,
    )
    low, high = np.percentile(spectrum, [5, 99.8])
    picture.imshow(
        spectrum.T,
        origin="lower",
        aspect="auto",
        extent=(0, seconds, *edges),
        vmin=low,
        vmax=high,
        cmap="viridis",
    )
    for line in {edge for band in bands for edge in band}:
        picture.axhline(line, color="white", linewidth=0.6, linestyle="--")
    picture.set(xlabel=f"time, {unit}", ylabel="Hz" if unit == "s" else "cycles/sample")
    return png(figure)


def constellations(frames: Mapping[str, tuple[np.ndarray, float | None]]) -> bytes:
    """Draw frames in the I/Q plane, one sample a symbol.

    Args:
        frames: answer to (complex (S,), probability); one plot each.

    Returns:
        PNG.
    """
    columns = min(len(frames), 6)
    lines = -(-len(frames) // columns)
    figure = Figure(figsize=(1.6 * columns, 1.8 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).reshape(-1)
    for axis in grid[len(frames) :]:
        axis.set_axis_off()
    for axis, (answer, (points, probability)) in zip(grid, frames.items(), strict=False):
        limit = float(np.abs(points).max()) * 1.1 or 1.0
        axis.plot(points.real, points.imag, ".", markersize=2)
        axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=[], yticks=[])
        sure = "" if probability is None else f" {probability:.2f}"
        axis.set_title(f"{answer}{sure}", fontsize=8)
    return png(figure)
