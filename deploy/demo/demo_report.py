"""The demo's report: one self-contained HTML file and the table that ends the run."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from matplotlib.figure import Figure

from models.console import print_table
from models.cost import BASELINE_BIT_OPS, BASELINE_WEIGHT_BITS
from models.files import atomic
from models.published import ACCURACY_THRESHOLD, CURVE_SNRS, CURVES, DATA_LABEL, RESULTS
from training.pictures import data_uri, png

COLOURS = ("#0b6e99", "#d9730d", "#448361")


def cost_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row a network: the published seven, then those of this run."""
    rows = [
        {
            "network": point.network,
            "data": DATA_LABEL,
            "accuracy": point.accuracy,
            "score": point.score,
            "nonzero_weights": point.nonzero_weights,
            "ours": False,
        }
        for point in RESULTS
    ]
    for name, facts in report["networks"].items():
        rows.append(
            {
                "network": f"{facts['accuracy']['network']}, {name}",
                "data": facts["accuracy"]["data"],
                "accuracy": facts["accuracy"]["accuracy"],
                "score": facts["cost"]["score"],
                "nonzero_weights": facts["cost"]["nonzero_weights"],
                "ours": True,
            }
        )
    return rows


def print_summary(report: dict[str, Any]) -> None:
    """Print the cost table and what the hardware came out as."""
    print_table(
        "accuracy over all SNRs and official inference cost (VGG10 = 1)\n"
        f"ours: {report['data']['data_label']}; published: real RadioML 2018.01A",
        ("network", "accuracy", "score", "weights", "data"),
        (
            [
                row["network"],
                f"{row['accuracy']:.1%}",
                f"{row['score']:.6f}",
                f"{row['nonzero_weights']:,}",
                "synthetic" if row["ours"] else "published",
            ]
            for row in cost_rows(report)
        ),
    )
    print_table(
        f"accelerator on {report['settings']['board']}", ("fact", "value"), hardware_rows(report)
    )


def hardware_rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what is known of the accelerator, as texts."""
    built, device = report["build"], report["device"]
    performance, total = built["performance"], built["resources"]
    rows = [
        ("simulated frames/s", f"{device['fps_at_clock']:,.0f} at {device['clock_mhz']:.0f} MHz"),
        ("simulated latency", f"{device['latency_us']:.1f} us"),
        ("simulated cycles a frame", f"{device['cycles_per_frame']:,.0f}"),
        ("estimated cycles a frame", f"{performance['cycles_per_frame']:,}"),
    ]
    rows += [
        (f"estimated {name}", f"{facts['used']:,.0f} ({facts['percent']:.1f} % of the device)")
        for name, facts in total.items()
        if facts["used"]
    ]
    rows += [
        ("run by", device["device"]),
        ("frames run, over all SNRs", f"{device['frames']:,}"),
        ("classes that differ from the network", str(device["mismatches"])),
        ("accuracy on these synthetic frames", f"{device['accuracy']:.1%}"),
    ]
    return rows


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Write the report as one HTML file, pictures inside."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    page = environment.get_template("demo_report.html.jinja").render(
        report=report,
        rows=cost_rows(report),
        hardware=hardware_rows(report),
        curve=data_uri(png(_accuracy_over_snr(report))),
        scatter=data_uri(png(_accuracy_over_cost(report))),
        threshold=ACCURACY_THRESHOLD,
        baseline=(BASELINE_BIT_OPS, BASELINE_WEIGHT_BITS),
    )
    with atomic(path) as temporary:
        temporary.write_text(page)


def _accuracy_over_snr(report: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(7.5, 4.5))
    axes = figure.subplots()
    for name, values in CURVES.items():
        axes.plot(CURVE_SNRS, values, "--", color="0.6", linewidth=1)
        axes.annotate(
            name,
            (30, values[-1]),
            # The first two end within a point of each other.
            (6, {"VGG10": -9, "AaronNet48+": 3}.get(name, -3)),
            textcoords="offset points",
            color="0.4",
            fontsize=8,
        )
    for colour, (name, facts) in zip(COLOURS, report["networks"].items(), strict=False):
        accuracy = facts["accuracy"]
        axes.plot(
            accuracy["snrs"], accuracy["accuracy_per_snr"], color=colour, marker=".", label=name
        )
    axes.axhline(1 / 24, color="0.8", linewidth=1)
    axes.annotate("chance", (-20, 1 / 24), (-20, 0.055), color="0.5", fontsize=8)
    axes.set(xlabel="SNR (dB)", ylabel="accuracy", ylim=(0, 1), xlim=(-20, 39))
    label = next(iter(report["networks"].values()))["accuracy"]["data"]
    axes.set_title(f"Accuracy over SNR on data: {label}\n(dashed: published, real data)", size=10)
    axes.legend(loc="upper left")
    axes.grid(alpha=0.3)
    return figure


def _accuracy_over_cost(report: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(7.5, 4.5))
    axes = figure.subplots()
    rows = cost_rows(report)
    for colour, label, ours in (("0.6", DATA_LABEL, False), (COLOURS[0], "this run", True)):
        chosen = [row for row in rows if row["ours"] is ours]
        axes.scatter(
            [row["score"] for row in chosen],
            [row["accuracy"] for row in chosen],
            [max(row["nonzero_weights"] / 100, 12) for row in chosen],
            color=colour,
            alpha=0.6,
            label=label,
        )
        for index, row in enumerate(sorted(chosen, key=lambda row: row["score"])):
            axes.annotate(
                row["network"].split(", ")[-1].removeprefix("AaronNet"),
                (row["score"], row["accuracy"]),
                # Neighbours take turns above and below.
                (0, -16 if index % 2 else 9),
                textcoords="offset points",
                fontsize=8,
                ha="center",
            )
    axes.axhline(ACCURACY_THRESHOLD, color="0.8", linewidth=1)
    axes.set_xscale("log")
    axes.set(xlabel="official inference cost (VGG10 = 1)", ylabel="accuracy over all SNRs")
    axes.set_title("Accuracy over cost; areas are nonzero weights", size=10)
    axes.margins(0.15)
    axes.legend(loc="lower right", markerscale=0.4)
    axes.grid(alpha=0.3)
    return figure
