"""Frames of each modulation."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from training.pictures.canvas import save
from training.synthesis.modulations import SPS


def modulations(frames: dict[str, np.ndarray], title: str, picture: str | Path) -> None:
    """Draw a row of plots for each class: I and Q over time, I/Q plane, spectrum.

    Args:
        frames: class name to float32 (B, L, 2); the first frame is shown, the spectrum is the
            mean over all of them.
        title: names the data.
        picture: file to write.

    Raises:
        BadInput: `picture` cannot be written.
    """
    height = 1.25 * len(frames) + 1.2
    figure = Figure(figsize=(11, height))
    figure.suptitle(title, fontsize=13, y=1 - 0.2 / height)
    # Fixed margins in inches: the automatic layout takes a minute over so many axes.
    margins = {"top": 1 - 0.6 / height, "bottom": 0.5 / height, "left": 0.12, "right": 0.985}
    grid = figure.subplots(
        len(frames),
        3,
        squeeze=False,
        gridspec_kw={"width_ratios": [4.4, 1, 2.4], "hspace": 0.12, "wspace": 0.14, **margins},
    )
    for axes, (name, block) in zip(grid, frames.items(), strict=True):
        _row(axes, block)
        axes[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10, labelpad=8)
        if axes is not grid[-1]:
            axes[0].tick_params(labelbottom=False)
            axes[2].tick_params(labelbottom=False)
    heads = ("at most 256 samples", "I/Q plane", "power spectrum, dB")
    for axis, head in zip(grid[0], heads, strict=True):
        axis.set_title(head, fontsize=10)
    grid[0][0].legend(loc="upper right", fontsize=7, ncols=2)
    grid[-1][0].set_xlabel("sample", fontsize=9)
    grid[-1][2].set_xlabel("cycles/sample", fontsize=9)
    save(figure, picture)


def _row(axes: np.ndarray, block: np.ndarray) -> None:
    """Draw frames (B, L, 2) of one class into its three axes."""
    block = block.astype(float)  # squares of what is far too large overflow float32
    first = block[0]
    limit = float(np.abs(first).max()) * 1.1 or 1.0
    time, plane, spectrum = axes
    time.plot(first[:256, 0], linewidth=0.9, label="I")
    time.plot(first[:256, 1], linewidth=0.9, label="Q")
    time.set(xlim=(0, min(len(first), 256) - 1), ylim=(-limit, limit))
    whole = first[: len(first) // SPS * SPS]
    start = np.square(whole).sum(axis=1).reshape(-1, SPS).mean(axis=0).argmax()
    plane.plot(first[:, 0], first[:, 1], linewidth=0.4, color="lightgrey")
    plane.plot(*first[start::SPS].T, ".", markersize=2, color="tab:green")
    plane.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=[], yticks=[])
    window = np.hanning(len(first))
    signal = (block[..., 0] + 1j * block[..., 1]) * window
    power = (np.abs(np.fft.fft(signal, axis=1)) ** 2).mean(axis=0) / (window**2).sum()
    frequency = np.fft.fftshift(np.fft.fftfreq(len(first)))
    decibels = 10 * np.log10(np.fft.fftshift(power) + 1e-12)
    spectrum.plot(frequency, decibels, linewidth=0.9, color="tab:red")
    spectrum.set(xlim=(-0.5, 0.5))
    spectrum.margins(y=0.12)
    for axis in axes:
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.25)
