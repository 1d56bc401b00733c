"""The demo's report: its record, one self-contained HTML file, and the table that ends the run."""

from dataclasses import asdict, dataclass
from pathlib import Path

from build.build_report import BuildReport, DenseReport, SparseReport
from build.style import Choice
from models.console import print_line, print_table
from models.cost import BASELINE_BIT_OPS, BASELINE_WEIGHT_BITS, Cost
from models.published import ACCURACY_THRESHOLD, DATA_LABEL, HARDWARE, RESULTS, Scored
from training.evaluate import Evaluation
from training.page import write_page
from training.pictures import accuracy_over_cost, accuracy_over_snr, data_uri
from training.synthesis import Written


@dataclass(frozen=True)
class Settings:
    """What the demo does; the defaults take about five minutes on two cores.

    Attributes:
        model: configuration to train.
        frames_per_cell: of each of the 24 x 26 (modulation, SNR).
        min_snr: dB; nothing can be learned in two minutes from frames below.
        float_epochs, quantized_epochs: of training.
        prune: share of the weights that one pruning step removes.
        retrain_epochs: after pruning.
        block_bits: bits between the blocks in the hardware form.
        board: FINN+'s name of it.
        seed: of the data and the training.
    """

    model: str = "aaronnet32"
    frames_per_cell: int = 64
    min_snr: int = 0
    float_epochs: int = 5
    quantized_epochs: int = 4
    prune: float = 0.4
    retrain_epochs: int = 2
    block_bits: int = 8
    board: str = "ZCU104"
    seed: int = 2018


@dataclass(frozen=True)
class Measured:
    """A network of the chain: accuracy on the test split, and cost."""

    accuracy: Evaluation
    cost: Cost


@dataclass(frozen=True)
class Device:
    """What running the accelerator found; see `build.simulation.simulated.Simulated`."""

    device: str
    data: str
    frames: int
    mismatches: int
    accuracy: float
    cycles_per_frame: float
    latency_us: float
    clock_mhz: float
    fps_at_clock: float
    simulated_frames_per_second: float


@dataclass(frozen=True)
class OnBoard:
    """What the unmodified pynq found on the virtual board; see `deploy.board.validation`."""

    board: str
    compared: int
    disagreements: int
    frames_per_second: float
    latency_us: float
    times: str


@dataclass(frozen=True)
class DemoReport:
    """What each step of the chain came to, and how many seconds it took.

    Attributes:
        choice: the style of the accelerator that was run, and why.
        dense: to HDL if it was run, otherwise estimates.
        sparse: None where the dense one was run.
        board: None without the environment of the virtual board, too.
    """

    settings: Settings
    data: Written
    networks: dict[str, Measured]
    choice: Choice
    dense: DenseReport
    sparse: SparseReport | None
    device: Device
    board: OnBoard | None
    seconds: dict[str, float]

    @property
    def build(self) -> BuildReport:
        """The build that was run."""
        return self.sparse or self.dense


@dataclass(frozen=True)
class CostRow(Scored):
    """A network, and the label of the frames that its accuracy is on."""

    data: str
    ours: bool


def cost_rows(report: DemoReport) -> list[CostRow]:
    """Return one row a network: the published seven, then those of this run."""
    rows = [CostRow(**asdict(point), data=DATA_LABEL, ours=False) for point in RESULTS]
    for name, found in report.networks.items():
        measured, cost = found.accuracy, found.cost
        rows.append(
            CostRow(
                network=f"{measured.network}, {name}",
                accuracy=measured.accuracy,
                score=cost.score,
                nonzero_weights=cost.nonzero_weights,
                data=measured.data,
                ours=True,
            )
        )
    return rows


def print_summary(report: DemoReport) -> None:
    """Print the cost table and what the hardware came out as."""
    print_table(
        "accuracy over all SNRs and official inference cost (VGG10 = 1)\n"
        f"ours: {report.data.data_label}; published: real RadioML 2018.01A",
        ("network", "accuracy", "score", "weights", "data"),
        (
            [
                row.network,
                f"{row.accuracy:.1%}",
                f"{row.score:.6f}",
                f"{row.nonzero_weights:,}",
                "synthetic" if row.ours else "published",
            ]
            for row in cost_rows(report)
        ),
    )
    board = report.settings.board
    print_line(str(report.choice))
    print_table(f"accelerator on {board}", ("fact", "value"), hardware_rows(report))
    if rows := style_rows(report):
        print_table(f"two ways to build it for {board}", STYLES, rows)
        for name, lut, ff, dsp, bram, command in COUNTED:
            print_line(f"counted: {name}: {lut} LUT, {ff} FF, {dsp} DSP, {bram} BRAM18 ({command})")
    for name, fps, luts, latency, accuracy, source in anchor_rows():
        facts = [f"{fps} frames/s", *([f"{luts} LUT"] if luts else []), latency, accuracy]
        print_line(f"published: {name}: {', '.join(filter(None, facts))} ({source})")


STYLES = ("fact", "sparse", "dense")
COUNTED = (
    (
        "aaronnet32++-hw8, sparse, 257 clocks",
        *("20,126", "34,509", "0", "203"),
        "aaronnet build aaronnet32++-hw8 --style sparse -o DIR; aaronnet synth DIR",
    ),
    (
        "published AaronNet32++ in 8 bits, dense, 1,024 clocks",
        *("82,562", "110,293", "936", "33"),
        "aaronnet build CHECKPOINT --style dense --to hdl -o DIR; aaronnet synth DIR",
    ),
)
"""What Yosys counted of both styles of the smallest network for ZCU104, as docs/build.md has it.

Synthesis takes too long for the demo."""

COUNTS = ("counted before", "LUT", "FF", "DSP", "BRAM18", "by")
ANCHORS = ("accelerator", "frames/s", "LUT", "latency", "accuracy", "source")


def hardware_rows(report: DemoReport) -> list[tuple[str, str]]:
    """Return what was found of the accelerator that was run, as texts."""
    device = report.device
    rows = [
        ("run by", device.device),
        ("frames run, over all SNRs", f"{device.frames:,}"),
        ("classes that differ from the network", str(device.mismatches)),
        ("accuracy on these synthetic frames", f"{device.accuracy:.1%}"),
    ]
    if (board := report.board) is not None:
        rows += [
            (f"frames/s by pynq on {board.board}", f"{board.frames_per_second:,.0f} {board.times}"),
            (f"latency by pynq on {board.board}", f"{board.latency_us:.1f} us {board.times}"),
            ("of its frames differ", f"{board.disagreements} of {board.compared:,}"),
        ]
    return rows


def style_rows(report: DemoReport) -> list[tuple[str, str, str]]:
    """Return both styles side by side, as texts; nothing where there is one only."""
    dense, device, area = report.dense.performance, report.device, report.choice.area
    if report.sparse is None or area is None:
        return []
    resources = report.dense.resources or {}

    def finn(kind: str) -> str:
        known = resources.get(kind)
        return "not estimated" if known is None else f"{known.used:,} estimated by FINN"

    return [
        ("clocks a frame", f"{device.cycles_per_frame:,.0f} simulated",
         f"{dense.cycles_per_frame:,} estimated"),
        (f"frames/s at {device.clock_mhz:g} MHz", f"{device.fps_at_clock:,.0f} simulated",
         f"{dense.fps:,.0f} estimated"),
        ("latency in us", f"{device.latency_us:.1f} simulated",
         f"{dense.latency_us:.1f} estimated"),
        ("LUT", f"about {area.luts:,} estimated", finn("LUT")),
        ("FF", "not estimated", finn("FF")),
        ("DSP", "0 by construction", finn("DSP")),
        ("BRAM_18K", f"about {area.brams:,} estimated", finn("BRAM_18K")),
    ]  # fmt: skip


def anchor_rows() -> list[tuple[str, str, str, str, str, str]]:
    """Return the published accelerators, as texts."""
    return [
        (
            *(one.name, f"{one.fps:,}", "" if one.luts is None else f"about {one.luts:,}"),
            "" if one.latency_us is None else f"{one.latency_us:g} us",
            *(f"{one.accuracy:.1%}", one.source),
        )
        for one in HARDWARE
    ]


def write_report(path: Path, report: DemoReport) -> None:
    """Write the report as one HTML file, pictures inside."""
    data, rows = report.data.data_label, cost_rows(report)
    accuracies = {name: found.accuracy for name, found in report.networks.items()}
    write_page(
        path,
        Path(__file__).with_name("demo_report.html.jinja"),
        report=report,
        rows=rows,
        hardware=hardware_rows(report),
        styles=(STYLES, style_rows(report)),
        counted=(COUNTS, COUNTED),
        anchors=(ANCHORS, anchor_rows()),
        curve=data_uri(accuracy_over_snr(accuracies, data)),
        scatter=data_uri(accuracy_over_cost([row for row in rows if row.ours], data)),
        threshold=ACCURACY_THRESHOLD,
        baseline=(BASELINE_BIT_OPS, BASELINE_WEIGHT_BITS),
    )
