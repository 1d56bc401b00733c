"""Networks trained on the real data, asked about a file."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from training.pictures.canvas import save


def deviations(facts: dict[str, Any], picture: str | Path) -> None:
    """Draw what `training.fidelity` found: a panel a network, and accuracy per class.

    Raises:
        BadInput: `picture` cannot be written.
    """
    networks, tolerance = facts["networks"], facts["tolerance"]["snr"]
    figure = Figure(figsize=(5.2 * len(networks), 9.5), layout="constrained")
    figure.suptitle(
        f"{facts['data_label']}: networks trained on the real data, {facts['frames']:,} frames"
    )
    grid = figure.subplots(2, len(networks), squeeze=False, height_ratios=[1, 1.25])
    for (top, bottom), network in zip(grid.T, networks, strict=True):
        shares = [np.nan if a is None else a for a in network["accuracy_per_snr"]]
        mean = f"mean {network['accuracy']:.3f}"
        top.plot(facts["snrs"], shares, marker=".", label=f"this file, {mean}")
        published = network["published"]
        if published and published["curve"]:
            snrs = [int(snr) for snr in published["curve"]]
            curve = np.array(list(published["curve"].values()))
            top.plot(
                snrs,
                curve,
                "o",
                fillstyle="none",
                color="tab:red",
                label=f"published (real data), mean {published['accuracy']:.3f}",
            )
            top.fill_between(
                snrs,
                curve - tolerance,
                curve + tolerance,
                color="tab:red",
                alpha=0.12,
                linewidth=0,
                label=f"+-{100 * tolerance:.0f} points",
            )
        elif published:
            top.plot([], [], " ", label=f"published mean {published['accuracy']:.3f} (no curve)")
        top.set(title=network["network"], xlabel="SNR, dB", ylabel="accuracy", ylim=(0, 1))
        top.grid(alpha=0.3)
        top.legend(loc="upper left", fontsize=8)
        place = np.arange(len(facts["classes"]))
        for key, shift, label in (
            ("accuracy_per_class_high", -0.2, "10 dB and above"),
            ("accuracy_per_class", 0.2, "all SNRs"),
        ):
            values = [np.nan if a is None else a for a in network[key]]
            bottom.barh(place + shift, values, 0.4, label=label)
        bottom.set(xlim=(0, 1), xlabel="accuracy", ylim=(len(facts["classes"]) - 0.4, -0.6))
        bottom.set_yticks(place, facts["classes"], fontsize=8)
        bottom.grid(axis="x", alpha=0.3)
    grid[1][0].legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=8, ncols=2, frameon=False)
    save(figure, picture)
