"""The demo's report: one self-contained HTML file and the table that ends the run."""

from pathlib import Path
from typing import Any

from models.console import print_table
from models.cost import BASELINE_BIT_OPS, BASELINE_WEIGHT_BITS
from models.published import ACCURACY_THRESHOLD, DATA_LABEL, RESULTS
from training.page import write_page
from training.pictures import accuracy_over_cost, accuracy_over_snr, data_uri


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
    networks, data = report["networks"], report["data"]["data_label"]
    ours = [row | {"name": row["network"]} for row in cost_rows(report) if row["ours"]]
    accuracies = {name: facts["accuracy"] for name, facts in networks.items()}
    write_page(
        path,
        Path(__file__).with_name("demo_report.html.jinja"),
        report=report,
        rows=cost_rows(report),
        hardware=hardware_rows(report),
        curve=data_uri(accuracy_over_snr(accuracies, data)),
        scatter=data_uri(accuracy_over_cost(ours, data)),
        threshold=ACCURACY_THRESHOLD,
        baseline=(BASELINE_BIT_OPS, BASELINE_WEIGHT_BITS),
    )
