"""The demo's report: its record, one self-contained HTML file, and the table that ends the run."""

from dataclasses import asdict, dataclass
from pathlib import Path

from build.build_report import DenseReport
from models.console import print_table
from models.cost import BASELINE_BIT_OPS, BASELINE_WEIGHT_BITS, Cost
from models.published import ACCURACY_THRESHOLD, DATA_LABEL, RESULTS, Scored
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
class DemoReport:
    """What each step of the chain came to, and how many seconds it took."""

    settings: Settings
    data: Written
    networks: dict[str, Measured]
    build: DenseReport
    device: Device
    seconds: dict[str, float]


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
    print_table(f"accelerator on {report.settings.board}", ("fact", "value"), hardware_rows(report))


def hardware_rows(report: DemoReport) -> list[tuple[str, str]]:
    """Return what is known of the accelerator, as texts."""
    built, device = report.build, report.device
    rows = [
        ("simulated frames/s", f"{device.fps_at_clock:,.0f} at {device.clock_mhz:.0f} MHz"),
        ("simulated latency", f"{device.latency_us:.1f} us"),
        ("simulated cycles a frame", f"{device.cycles_per_frame:,.0f}"),
        ("estimated cycles a frame", f"{built.performance.cycles_per_frame:,}"),
    ]
    rows += [
        (f"estimated {name}", f"{amount.used:,} ({amount.percent:.1f} % of the device)")
        for name, amount in (built.resources or {}).items()
        if amount.used
    ]
    rows += [
        ("run by", device.device),
        ("frames run, over all SNRs", f"{device.frames:,}"),
        ("classes that differ from the network", str(device.mismatches)),
        ("accuracy on these synthetic frames", f"{device.accuracy:.1%}"),
    ]
    return rows


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
        curve=data_uri(accuracy_over_snr(accuracies, data)),
        scatter=data_uri(accuracy_over_cost([row for row in rows if row.ours], data)),
        threshold=ACCURACY_THRESHOLD,
        baseline=(BASELINE_BIT_OPS, BASELINE_WEIGHT_BITS),
    )
