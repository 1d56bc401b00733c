"""A validation as a report to read: Markdown, which a terminal shows as well."""

from collections.abc import Sequence

from deploy.board.validation import Accuracy, Validation

WORST = 8
VIRTUAL = {
    True: (
        "**Virtual board.** Driver, protocol, packing, the RTL of our DMAs (registers, AXI's rules "
        "on every clock, a model of the memory behind them) and of the accelerator are checked; "
        "the board's interconnect and memory controller, the bitstream and the clocks are not."
    ),
    False: (
        "**Virtual board.** Driver, protocol, packing and the accelerator's results are checked; "
        "a model plays the DMAs. AXI timing, the DMAs' own RTL, the bitstream and the clocks of a "
        "real board are not checked."
    ),
}
"""By whether the DMAs are ours."""
TIMES = {
    "measured": "measured on the board",
    "simulated": "simulated: clock cycles of the RTL at the board's clock",
    "estimated": "estimated: clock cycles from the build's report, nothing was simulated",
}


def render(found: Validation, classes: Sequence[str]) -> str:
    """Return the report.

    Args:
        found: what there is to tell.
        classes: names in the order of the indices.
    """
    package, score = found.package, found.package.score
    lines = [
        f"# {package.network} on {found.board.name}",
        "",
        f"- package {package.folder} ({package.digest[:12]}) for {package.board} at "
        f"{package.clock_mhz:g} MHz",
        f"- inference cost score {'unknown' if score is None else f'{score:.6f}'}",
        f"- agreement with the network: {found.compared - found.disagreements} of "
        f"{found.compared} frames",
    ]
    if found.board.virtual:
        lines += ["", VIRTUAL[found.board.own_dmas]]
    for tested, title in ((found.samples, "The package's samples"), (found.data, "Data")):
        if tested is not None:
            lines += ["", f"## {title}", "", *_accuracy(tested, classes)]
    lines += ["", "## Speed", "", *_speed(found)]
    return "\n".join(lines)


def _accuracy(tested: Accuracy, classes: Sequence[str]) -> list[str]:
    lines = [f"Frames: {tested.frames}, {tested.label}."]
    if tested.accuracy is not None:
        lines += ["", *_by_snr(tested)]
    mistaken = [
        (count, classes[label], classes[found])
        for label, row in enumerate(tested.confusion)
        for found, count in enumerate(row)
        if count and label != found
    ]
    if mistaken:
        lines += ["", "Most confused:", ""]
        rows = [[true, found, str(n)] for n, true, found in sorted(mistaken, reverse=True)[:WORST]]
        lines += _table(["true", "found", "frames"], rows)
    if tested.disagreeing:
        lines += ["", f"Frames that disagree with the network: {len(tested.disagreeing)}", ""]
        rows = [
            [
                str(entry.row),
                _or_dash(entry.snr, "{}"),
                "-" if entry.label is None else classes[entry.label],
                *(classes[entry.network], classes[entry.board]),
                ", ".join(classes[index] for index in entry.again or []) or "-",
            ]
            for entry in tested.disagreeing
        ]
        lines += _table(["row", "SNR [dB]", "true", "network", "board", "again"], rows)
    return lines


def _by_snr(tested: Accuracy) -> list[str]:
    by_snr = tested.network_by_snr or {}
    return _table(
        ["SNR [dB]", "board", "network"],
        [
            [snr, f"{value:.3f}", _or_dash(by_snr.get(snr), "{:.3f}")]
            for snr, value in tested.by_snr.items()
        ]
        + [[
            "all",
            _or_dash(tested.accuracy, "{:.4f}"),
            _or_dash(tested.network_accuracy, "{:.4f}"),
        ]],
    )  # fmt: skip


def _speed(found: Validation) -> list[str]:
    expected, samples = found.expected, found.package.samples_per_frame
    lines = [f"Times of the accelerator: {TIMES[found.times]}.", ""]
    rows = [
        [
            "frames/s, steady state",
            _or_dash(found.frames_per_second, "{:,.0f}"),
            f"{expected.frames_per_second:,.0f}",
        ],
        [
            "samples/s, steady state",
            _or_dash(found.samples_per_second, "{:,.0f}"),
            f"{samples * expected.frames_per_second:,.0f}",
        ],
        [
            "latency of a frame [us]",
            "-" if found.latency_seconds is None else f"{1e6 * found.latency_seconds:.1f}",
            f"{1e6 * expected.latency_seconds:.1f}",
        ],
    ]
    lines += _table(["", found.times, f"expected ({expected.source})"], rows)
    host = "host frames/s"
    if found.board.virtual:
        host += " (remote procedure calls and simulator, not the board's)"
    lines += ["", *_table(
        ["batch", "accelerator frames/s", "accelerator samples/s", host],
        [
            [
                str(row.batch),
                f"{row.accelerator_frames_per_second:,.0f}",
                f"{row.accelerator_samples_per_second:,.0f}",
                f"{row.host_frames_per_second:,.0f}",
            ]
            for row in found.throughput
        ],
    )]  # fmt: skip
    if found.power_watts:
        rows = [[name, f"{watts:.3f}"] for name, watts in found.power_watts.items()]
        lines += ["", *_table(["rail", "W"], rows)]
    else:
        lines += ["", "Power: the board does not tell."]
    return lines


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


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
