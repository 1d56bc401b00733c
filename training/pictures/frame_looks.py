"""Real frames beside synthetic ones."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.pictures.canvas import WIDTH, png

if TYPE_CHECKING:
    from training.frame_statistics import Looks

_TRACES = 150  # of an eye
_POINTS = 4000  # of a constellation
_COLOURS = ("tab:blue", "tab:orange")


def distributions(looks: Sequence["Looks"], labels: Sequence[str]) -> bytes:
    """Draw spectra, amplitudes, delays, drifts and cumulants of both over each other; PNG."""
    figure = Figure(figsize=(WIDTH * 1.3, 7.5), layout="constrained")
    (wide, near, amplitude), (delay, drift, cumulant) = figure.subplots(2, 3)
    for look, label, colour in zip(looks, labels, _COLOURS, strict=True):
        frequency = np.fft.fftshift(np.fft.fftfreq(look.spectra.shape[1]))
        # The median over the frames: a single broken one would lift the floor.
        density = 10 * np.log10(np.median(look.spectra, axis=0) + 1e-20)
        wide.plot(frequency, density, color=colour, linewidth=1, label=label)
        near.plot(frequency, density, color=colour, linewidth=1)
        amplitude.hist(look.amplitudes.ravel(), 80, range=(0, 2.2), **_line(colour))
        delay.hist(look.values["timing: delay, samples"], 16, range=(0, 8), **_line(colour))
        known = look.values["drift: cycles a sample"]
        drift.hist(1e5 * known[np.isfinite(known)], 41, range=(-12, 12), **_line(colour))
        cumulant.hist(look.values["cumulant C42"], 60, range=(-2.2, 0.2), **_line(colour))
    near.set(xlim=(0.03, 0.1), ylim=(-35, 15))
    for axes, title, unit in (
        (wide, "spectrum, dB", "cycles a sample"),
        (near, "... at the edge of the band", "cycles a sample"),
        (amplitude, "amplitudes", "|x| over the frame's RMS"),
        (delay, "delay of the symbols", "samples"),
        (drift, "drift of frames on a line", "1e-5 cycles a sample"),
        (cumulant, "cumulant C42", "of a frame"),
    ):
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(unit, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.25)
    figure.legend(*wide.get_legend_handles_labels(), loc="outside upper center", fontsize=9)
    return png(figure)


def eyes(looks: Sequence["Looks"], labels: Sequence[str]) -> bytes:
    """Draw eye and constellation of both after the matched filter; PNG."""
    figure = Figure(figsize=(WIDTH * 1.3, 6.5), layout="constrained")
    for line, look, label in zip(figure.subplots(2, 4), looks, labels, strict=True):
        for pair, kind, chosen in (
            (line[:2], "frames on a line", look.on_a_line),
            (line[2:], "others", ~look.on_a_line),
        ):
            _eye(pair[0], look.aligned[chosen])
            _plane(pair[1], look.aligned[chosen])
            pair[0].set_title(kind, fontsize=9)
        line[0].set_ylabel(label, fontsize=8)
    return png(figure)


def clipping(shares: Sequence[Mapping[int, float]], labels: Sequence[str]) -> bytes:
    """Draw the share of samples beyond +-2 over the SNR in dB; PNG."""
    figure = Figure(figsize=(WIDTH, 3), layout="constrained")
    axes = figure.add_subplot()
    for share, label, colour in zip(shares, labels, _COLOURS, strict=True):
        if share:
            axes.plot(list(share), list(share.values()), ".-", color=colour, label=label)
    axes.set(xlabel="SNR, dB", ylabel="samples beyond +-2, share")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return png(figure)


def _line(colour: str) -> dict:
    return {"histtype": "step", "density": True, "color": colour}


def _eye(axes: Axes, aligned: np.ndarray) -> None:
    traces = aligned.real.reshape(-1, aligned.shape[-1])[:: max(1, aligned[..., 0].size // _TRACES)]
    half = aligned.shape[-1] // 2
    axes.plot(np.arange(-half, half + 1), traces.T, color="tab:green", linewidth=0.4, alpha=0.5)
    axes.set(ylim=(-2, 2))
    axes.set_xlabel("samples from a symbol's middle", fontsize=8)
    axes.tick_params(labelsize=7)


def _plane(axes: Axes, aligned: np.ndarray) -> None:
    points = aligned[..., aligned.shape[-1] // 2].ravel()
    points = points[:: max(1, len(points) // _POINTS)]
    axes.plot(points.real, points.imag, ".", markersize=1)
    axes.set(xlim=(-2, 2), ylim=(-2, 2), aspect="equal", xticks=[], yticks=[])
