"""The validation's facts as a report to read: Markdown, which a terminal shows as well."""

from collections.abc import Sequence
from typing import Any

WORST = 8
VIRTUAL = (
    "**Virtual board.** Driver, protocol, packing and the accelerator's results are checked; AXI "
    "timing, the IODMAs' own RTL, the bitstream and the clocks of a real board are not."
)
TIMES = {
    "measured": "measured on the board",
    "simulated": "simulated: clock cycles of the RTL at the board's clock",
    "estimated": "estimated: clock cycles from the build's report, nothing was simulated",
}


def render(facts: dict[str, Any], classes: Sequence[str]) -> str:
    """Return the report.

    Args:
        facts: of `deploy.board.validate.validate`.
        classes: names in the order of the indices.
    """
    package, board = facts["package"], facts["board"]
    score = package["score"]
    lines = [
        f"# {package['network']} on {board['name']}",
        "",
        f"- package {package['folder']} ({package['digest'][:12]}) for {package['board']} at "
        f"{package['clock_mhz']:g} MHz",
        f"- inference cost score {'unknown' if score is None else f'{score:.6f}'}",
        f"- agreement with the network: {facts['compared'] - facts['disagreements']} of "
        f"{facts['compared']} frames",
    ]
    if board["virtual"]:
        lines += ["", VIRTUAL]
    for name, title in (("samples", "The package's samples"), ("data", "Data")):
        if name in facts:
            lines += ["", f"## {title}", "", *_accuracy(facts[name], classes)]
    lines += ["", "## Speed", "", *_speed(facts)]
    return "\n".join(lines)


def _accuracy(facts: dict[str, Any], classes: Sequence[str]) -> list[str]:
    network = facts.get("network_accuracy")
    lines = [f"Frames: {facts['frames']}, {facts['label']}.", ""]
    lines += _table(
        ["SNR [dB]", "board", "network"],
        [
            [snr, f"{value:.3f}", _or_dash(facts.get("network_by_snr", {}).get(snr), "{:.3f}")]
            for snr, value in facts["by_snr"].items()
        ]
        + [["all", f"{facts['accuracy']:.4f}", _or_dash(network, "{:.4f}")]],
    )
    mistaken = [
        (count, classes[label], classes[found])
        for label, row in enumerate(facts["confusion"])
        for found, count in enumerate(row)
        if count and label != found
    ]
    if mistaken:
        lines += ["", "Most confused:", ""]
        rows = [[true, found, str(n)] for n, true, found in sorted(mistaken, reverse=True)[:WORST]]
        lines += _table(["true", "found", "frames"], rows)
    if facts.get("disagreeing"):
        lines += ["", f"Frames that disagree with the network: {len(facts['disagreeing'])}", ""]
        rows = [
            [
                *(str(entry["row"]), str(entry["snr"]), classes[entry["label"]]),
                *(classes[entry["network"]], classes[entry["board"]]),
                ", ".join(classes[index] for index in entry.get("again", [])) or "-",
            ]
            for entry in facts["disagreeing"]
        ]
        lines += _table(["row", "SNR [dB]", "true", "network", "board", "again"], rows)
    return lines


def _speed(facts: dict[str, Any]) -> list[str]:
    expected = facts["expected"]
    lines = [f"Times of the accelerator: {TIMES[facts['times']]}.", ""]
    latency, known = facts["latency_seconds"], expected["latency_seconds"]
    rows = [
        [
            "frames/s, steady state",
            f"{facts['frames_per_second']:,.0f}",
            _or_dash(expected["frames_per_second"], "{:,.0f}"),
        ],
        [
            "samples/s, steady state",
            f"{facts['samples_per_second']:,.0f}",
            _or_dash(_times(expected["frames_per_second"], 1024), "{:,.0f}"),
        ],
        [
            "latency of a frame [us]",
            _or_dash(_times(latency, 1e6), "{:.1f}"),
            _or_dash(_times(known, 1e6), "{:.1f}"),
        ],
    ]
    lines += _table(["", facts["times"], f"expected ({expected['source']})"], rows)
    host = "host frames/s"
    if facts["board"]["virtual"]:
        host += " (remote procedure calls and simulator, not the board's)"
    lines += ["", *_table(
        ["batch", "accelerator frames/s", "accelerator samples/s", host],
        [
            [
                str(row["batch"]),
                f"{row['accelerator_frames_per_second']:,.0f}",
                f"{row['accelerator_samples_per_second']:,.0f}",
                f"{row['host_frames_per_second']:,.0f}",
            ]
            for row in facts["throughput"]
        ],
    )]  # fmt: skip
    power = facts["power_watts"]
    if power:
        rows = [[name, f"{watts:.3f}"] for name, watts in power.items()]
        lines += ["", *_table(["rail", "W"], rows)]
    else:
        lines += ["", "Power: the board does not tell."]
    return lines


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *rest = [
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join([first, *rest]) + " |"

    rule = [
        ("-" * (width - 1) + ":") if index else "-" * width for index, width in enumerate(widths)
    ]
    return [line(columns), "| " + " | ".join(rule) + " |", *map(line, rows)]
