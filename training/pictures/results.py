"""Accuracy, cost and sparsity of networks, as PNG bytes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.lines import Line2D

from models import published
from models.published import Scored
from training.pictures.canvas import WIDTH, one_plot, png

if TYPE_CHECKING:  # who draws needs nothing that trains
    from training.evaluate import Evaluation
    from training.sparsity import Sparsity


def accuracy_over_snr(results: Mapping[str, "Evaluation"], data: str) -> bytes:
    """Draw accuracy over SNR.

    Args:
        results: by name.
        data: label of the frames.
    """
    figure, axes = one_plot(4.8)
    for name, measured in results.items():
        share = [np.nan if a is None else 100 * a for a in measured.accuracy_per_snr]
        label = f"{name} ({measured.accuracy:.1%})"
        axes.plot(measured.snrs, share, marker="o", markersize=3, label=label)
    for (name, curve), style in zip(published.CURVES.items(), (":", "--", "-."), strict=True):
        axes.plot(
            *(published.CURVE_SNRS, [100 * share for share in curve], style),
            color="grey",
            alpha=0.7,
            label=f"{name}, published",
        )
    axes.set(xlabel="SNR (dB)", ylabel="accuracy (%)", ylim=(0, 100), title=f"on {data}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return png(figure)


def compression(rows: Sequence[Scored]) -> bytes:
    """Draw how many times cheaper than VGG10 each network is."""
    figure, axes = one_plot(0.6 + 0.42 * len(rows))
    ratios = [1 / row.score if row.score else np.nan for row in rows]
    bars = axes.barh([row.network for row in rows], ratios, color="tab:blue")
    axes.bar_label(bars, [f"{ratio:.1f}x" for ratio in ratios], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(xlabel="compression: cost of the VGG10 baseline / cost")
    return png(figure)


def accuracy_over_cost(rows: Sequence[Scored], data: str) -> bytes:
    """Draw accuracy over official cost, circles as large as there are weights.

    Args:
        rows: ours.
        data: label of the frames they were tested on.
    """
    figure, axes = one_plot(5.2)
    groups: tuple[tuple[Sequence[Scored], str, str, Sequence[object]], ...] = (
        (published.RESULTS, "lightgrey", published.DATA_LABEL, "abcdefghijklmnopqrstuvwxyz"),
        (rows, "tab:blue", f"on {data}", range(1, len(rows) + 1)),
    )
    handles: list[Artist] = []
    for points, colour, label, keys in groups:
        axes.scatter(
            [point.score for point in points],
            [100 * point.accuracy for point in points],
            s=[point.nonzero_weights / 60 for point in points],
            color=colour,
            edgecolor="black",
            linewidth=0.6,
            alpha=0.6,
        )
        handles.append(axes.scatter([], [], color=colour, edgecolor="black", label=label))
        for key, point in zip(keys, points, strict=False):
            # Names would lie upon each other: a key here, its name in the legend. Ours stand
            # to the right of their circles, the published ones below.
            away = np.sqrt(point.nonzero_weights / 60) / 2 + 6
            axes.annotate(
                str(key),
                (point.score, 100 * point.accuracy),
                xytext=(away, 0) if points is rows else (0, -away),
                textcoords="offset points",
                ha="center",
                va="center",
                fontsize=9,
                fontweight="bold" if points is rows else "normal",
                color="black" if points is rows else "dimgrey",
            )
            handles.append(Line2D([], [], linestyle="", label=f"{key}  {point.network}"))
    axes.set(
        xscale="log",
        xlabel="official inference cost (VGG10 w8a8 = 1); circle area: nonzero weights",
        ylabel="accuracy over all SNRs (%)",
        title=f"on {data}; grey: published",
    )
    axes.margins(x=0.12, y=0.2)
    axes.grid(alpha=0.3)
    axes.legend(
        handles=handles, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1), handlelength=1
    )
    return png(figure)


Frontier = Mapping[str, Sequence[tuple[str, float, float]]]
"""Points (name, score, accuracy) by the data that the accuracies are of."""


def frontier(groups: Frontier) -> bytes:
    """Draw accuracy over official cost, a mark and a line along the best for each data."""
    figure, axes = one_plot(5.6)
    handles: list[Artist] = []
    looks = (
        ("tab:blue", "o", range(1, 100)),
        ("tab:orange", "s", "abcdefg"),
        ("grey", "^", "ABCDEFGHIJKLMNO"),
    )
    for (data, points), (colour, marker, keys) in zip(groups.items(), looks, strict=False):
        shares = [100 * share for _, _, share in points]
        scores = [score for _, score, _ in points]
        axes.scatter(scores, shares, color=colour, marker=marker, s=26, zorder=3)
        best = best_of(points)
        axes.step(
            [p[1] for p in best], [100 * p[2] for p in best], where="post", color=colour, alpha=0.4
        )
        handles.append(axes.scatter([], [], color=colour, marker=marker, label=data))
        for key, (name, score, share) in zip(keys, points, strict=False):
            # Names would lie upon each other: a key here, its name in the legend.
            axes.annotate(
                *(str(key), (score, 100 * share), (0, 5)),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=colour,
            )
            handles.append(Line2D([], [], linestyle="", label=f"{key}  {name}"))
    axes.axhline(100 * published.ACCURACY_THRESHOLD, color="black", linewidth=0.6, linestyle=":")
    axes.set(
        xscale="log",
        xlabel="official inference cost (VGG10 w8a8 = 1); dotted: the challenge's 56 %",
        ylabel="accuracy over all SNRs (%)",
    )
    axes.margins(x=0.08, y=0.12)
    axes.grid(alpha=0.3)
    axes.legend(
        handles=handles, fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1), handlelength=1
    )
    return png(figure)


def accuracy_over_luts(points: Sequence[tuple[str, float, float]], data: str) -> bytes:
    """Draw accuracy over the LUTs of sparse builds.

    Args:
        points: (name, LUTs as mapped, accuracy).
        data: what the accuracies are of.
    """
    figure, axes = one_plot(4.6)
    for name, luts, share in points:
        axes.scatter([luts / 1000], [100 * share], color="tab:blue", s=26)
        axes.annotate(
            *(name, (luts / 1000, 100 * share), (0, 6)),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.axhline(100 * published.ACCURACY_THRESHOLD, color="black", linewidth=0.6, linestyle=":")
    axes.set(
        xlabel="thousand LUTs, mapped by Yosys; dotted: the challenge's 56 %",
        ylabel="accuracy over all SNRs (%)",
        title=f"sparse, 257 clocks a frame; {data}",
    )
    axes.title.set_fontsize(8)
    axes.margins(x=0.15, y=0.2)
    axes.grid(alpha=0.3)
    return png(figure)


def search_trace(rows: Sequence[Mapping[str, Any]], data: str) -> bytes:
    """Draw accuracy and mean probability over score along a search; `rows` as `search.Row`."""
    figure, axes = one_plot(4.6)
    scores = [row["score"] for row in rows]
    for key, label in (("accuracy", "accuracy"), ("probability", "mean probability of the class")):
        axes.plot(scores, [100 * row[key] for row in rows], marker="o", markersize=3, label=label)
    axes.set(xlabel="official inference cost", ylabel="%", title=f"without training, on {data}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return png(figure)


def best_of(points: Sequence[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """Return the points (name, score, accuracy) that no cheaper one equals, cheapest first."""
    best: list[tuple[str, float, float]] = []
    for point in sorted(points, key=lambda point: (point[1], -point[2])):
        if not best or point[2] > best[-1][2]:
            best.append(point)
    return best


def confusion_matrix(measured: "Evaluation", name: str | None = None) -> bytes:
    """Draw the confusion matrix over all SNRs, rows summing to 100 %; `name`: the network's."""
    counts = np.array(measured.confusion, float)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = one_plot(WIDTH * 0.86)
    image = axes.imshow(100 * share, cmap="Blues", vmin=0, vmax=100)
    names = measured.classes
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    for y, x in np.argwhere(share >= 0.05):
        colour = "white" if share[y, x] > 0.5 else "black"
        axes.text(
            x, y, f"{100 * share[y, x]:.0f}", ha="center", va="center", fontsize=6, color=colour
        )
    axes.set(
        xlabel="predicted",
        ylabel="true",
        title=f"{name or measured.network}, {measured.accuracy:.1%}, all SNRs, on {measured.data}",
    )
    figure.colorbar(image, ax=axes, label="% of the true class", shrink=0.8)
    return png(figure)


def sparsity(layers: Sequence["Sparsity"], name: str) -> bytes:
    """Draw each layer's nonzero weights and zeros; `name`: the network's."""
    figure, axes = one_plot(0.8 + 0.26 * len(layers))
    names = [layer.name for layer in layers]
    nonzero = np.array([layer.nonzero for layer in layers])
    weights = np.array([layer.weights for layer in layers])
    axes.barh(names, nonzero, color="tab:blue", label="nonzero")
    bars = axes.barh(names, weights - nonzero, left=nonzero, color="lightgrey", label="zero")
    axes.bar_label(
        bars, [f"{1 - n / w:.0%} zero" for n, w in zip(nonzero, weights, strict=True)], padding=3
    )
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.tick_params(axis="y", labelsize=8)
    axes.set(xlabel="quantized weights", title=name)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    return png(figure)
