"""The facts of a build of either style: pace, resources, verification; as records and a table."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from build.shell.reports import Implementation
from deploy.board.records import to_json
from models.config import FRAME_LENGTH
from models.console import print_table
from models.cost import Cost, inference_cost
from models.errors import BadInput
from models.published import HARDWARE

if TYPE_CHECKING:
    from build.finn_config import Request
    from build.source import Source

KINDS = ("LUT", "DSP", "BRAM_18K", "URAM")
DENSE, SPARSE = "dense", "sparse"
EXAMPLE = HARDWARE[0]
"""The published one that every accelerator of this network family is beside."""


@dataclass(frozen=True)
class Estimate:
    """The pace that a build expects.

    Attributes:
        clock_mhz: of the accelerator.
        cycles_per_frame: between two frames in steady state.
        latency_cycles: from a frame's first word to its result.
        bottleneck: name of what sets the pace.
        samples_per_frame: of each channel.
    """

    DERIVED: ClassVar = ("fps", "samples_per_s", "latency_us")

    clock_mhz: float
    cycles_per_frame: int
    latency_cycles: int
    bottleneck: str
    source: str = "estimated"
    samples_per_frame: int = FRAME_LENGTH

    def __post_init__(self) -> None:
        if self.clock_mhz <= 0 or self.cycles_per_frame <= 0:
            raise ValueError("clock_mhz or cycles_per_frame is not positive")

    @property
    def fps(self) -> float:
        """Frames a second."""
        return self.clock_mhz * 1e6 / self.cycles_per_frame

    @property
    def samples_per_s(self) -> float:
        """I/Q samples a second."""
        return self.fps * self.samples_per_frame

    @property
    def latency_us(self) -> float:
        """Latency in microseconds."""
        return self.latency_cycles / self.clock_mhz


@dataclass(frozen=True)
class Resource:
    """How much of one kind is used, of what the board has."""

    DERIVED: ClassVar = ("percent",)

    used: int
    available: int

    @property
    def percent(self) -> float:
        """Share used; 0 of 0 is 0."""
        return 100 * self.used / self.available if self.available else 0.0


@dataclass(frozen=True)
class AgainstExample:
    """An accelerator beside a published one: how many times its rate and its LUTs, if known."""

    name: str
    fps: float
    LUT: int
    fps_ratio: float
    LUT_ratio: float | None


def against_example(fps: float, luts: int | None) -> AgainstExample:
    """Return an accelerator's rate and its LUTs, where they are known, beside the example's."""
    assert EXAMPLE.luts is not None
    ratio = None if luts is None else luts / EXAMPLE.luts
    return AgainstExample(EXAMPLE.name, EXAMPLE.fps, EXAMPLE.luts, fps / EXAMPLE.fps, ratio)


@dataclass(frozen=True)
class Verified:
    """What comparing a step with the network came to.

    Attributes:
        step: its name.
        frames: how many were compared.
        mismatches: frames with another class, or a logit off by more than rounding.
        max_deviation: of a logit.
        quantizers: how many were compared.
    """

    step: str
    frames: int
    mismatches: int
    max_deviation: float
    quantizers: int


@dataclass(frozen=True)
class Layer:
    """A layer of a dense accelerator, estimated."""

    name: str
    operator: str
    cycles: int
    LUT: int
    DSP: int
    BRAM_18K: int
    URAM: int
    folding: dict[str, int]


@dataclass(frozen=True)
class SparseLayer:
    """A layer of a sparse accelerator, and the tensor that leaves it."""

    name: str
    operator: str
    channels: int
    positions: int
    bits: int


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What a build of either style came to.

    Attributes:
        network, data_label: what was built, and what it was trained on.
        board, part: for what.
        to: how far.
        style: DENSE or SPARSE.
        performance: the expected pace.
        resources: by kind; None where nothing estimates them (`aaronnet synth` counts).
        cost: by the official rules; None for a network that they do not cover.
        comparison: with FINN's example.
        hls_nodes: names of the layers that are not written in RTL.
        verification: one entry a step.
        folding: as FINN's JSON has it; None where nothing is folded.
        fifos: of `simulation.sizing`; None unless they were sized.
        implementation: what Vivado reports of the bitfile; None unless one was built.
    """

    DERIVED: ClassVar = ("score",)

    network: str
    data_label: str
    board: str
    part: str
    to: str
    style: str = DENSE
    performance: Estimate
    resources: dict[str, Resource] | None = None
    cost: Cost | None
    comparison: AgainstExample | None = None
    hls_nodes: tuple[str, ...] = ()
    verification: tuple[Verified, ...]
    folding: dict[str, Any] | None = None
    fifos: dict[str, Any] | None = None
    implementation: Implementation | None = None

    @property
    def score(self) -> float | None:
        """The official one; None where the rules do not cover the network."""
        return None if self.cost is None else self.cost.score

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return to_json(self)


@dataclass(frozen=True, kw_only=True)
class DenseReport(BuildReport):
    """What a dense build came to."""

    layers: tuple[Layer, ...]


@dataclass(frozen=True, kw_only=True)
class SparseReport(BuildReport):
    """What a sparse build came to.

    Attributes:
        adders: in all its adder graphs.
    """

    adders: int
    layers: tuple[SparseLayer, ...]


def head(source: "Source", request: "Request", style: str) -> dict[str, Any]:
    """Return the fields of a report that say what was built: all up to `style`, and `cost`."""
    try:
        cost = inference_cost(source.original or source.model, source.name)
    except BadInput:
        cost = None  # the official rules do not cover every operator that can be built
    return {
        "network": source.name,
        "data_label": source.checkpoint.data_label if source.checkpoint else "unknown",
        "board": request.board.name,
        "part": request.board.part,
        "to": request.to,
        "style": style,
        "cost": cost,
    }


def _implementation_rows(report: BuildReport) -> list[tuple[str, str]]:
    """Return what Vivado reports of a bitfile, as rows of a table."""
    if (found := report.implementation) is None:
        return []
    slack = f"{found.setup.slack_ns:.3f} ns to spare at {found.clock_mhz:g} MHz"
    used = ", ".join(f"{one.used:,} {kind}" for kind, one in found.resources.items() if one.used)
    watts = f"{found.power_w['total']:.2f} W, {found.power_w['dynamic']:.2f} of them dynamic"
    return [("placed, timing", slack), ("placed, with its shell", used), ("power, Vivado's", watts)]


def show(report: BuildReport, layers: bool = False) -> None:
    """Print a report as a table on stdout, and with `layers` those as another."""
    pace, example, checked = report.performance, report.comparison, report.verification
    rows = [
        ("frames/s", f"{pace.fps:,.0f} at {pace.clock_mhz:g} MHz"),
        ("samples/s", f"{pace.samples_per_s / 1e6:,.1f} million"),
        ("clocks a frame", f"{pace.cycles_per_frame:,} ({pace.bottleneck})"),
        ("latency", f"{pace.latency_us:,.1f} us"),
    ]
    for kind, amount in (report.resources or {}).items():
        if amount.used:
            of = f"{amount.used:,} of {amount.available:,} ({amount.percent:.1f} %)"
            rows.append((kind, of))
    if isinstance(report, SparseReport):
        rows.append(("adders", f"{report.adders:,}, no DSP slice"))
        rows.append(("resources", "aaronnet synth counts them"))
    if found := report.fifos:
        simulated = f"{found['cycles_per_frame']:,.0f} ({found['least']:,.0f} with the least FIFOs)"
        rows.append(("simulated clocks a frame", simulated))
    if report.score is not None:
        rows.append(("official score", f"{report.score:.6f}"))
    if example is not None:
        luts = "" if example.LUT_ratio is None else f", {example.LUT_ratio:.2f} x LUT"
        rows.append(("against FINN's VGG10 example", f"{example.fps_ratio:.2f} x frames/s{luts}"))
    rows.append(
        ("verified", f"{len(checked)} steps, {checked[-1].frames} frames each, no mismatch")
    )
    rows += _implementation_rows(report)
    rows.append(("HLS nodes", ", ".join(report.hls_nodes) or "none"))
    title = f"{report.network} on {report.board}, {report.style} (estimates)"
    print_table(title, ("fact", "value"), rows)
    if layers and isinstance(report, SparseReport):
        print_table(
            "layers",
            ("layer", "operator", "channels", "positions", "bits"),
            (
                [row.name, row.operator, row.channels, row.positions, row.bits]
                for row in report.layers
            ),
        )
    if layers and isinstance(report, DenseReport):
        print_table(
            "layers",
            ("layer", "clocks", "folding", *KINDS[:3]),
            (
                [
                    layer.name,
                    layer.cycles,
                    " ".join(f"{key}={value}" for key, value in layer.folding.items()),
                    *(getattr(layer, kind) for kind in KINDS[:3]),
                ]
                for layer in report.layers
            ),
        )
