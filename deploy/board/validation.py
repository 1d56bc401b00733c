"""What a validation finds; `facts` of it are the JSON report."""

from dataclasses import dataclass
from typing import Any

from deploy.board.records import left_out, to_json


@dataclass(frozen=True)
class Validated:
    """The package that was validated."""

    folder: str
    digest: str
    network: str
    score: float | None
    board: str
    clock_mhz: float
    samples_per_frame: int = 1024


@dataclass(frozen=True)
class BoardFound:
    """What the board calls itself, and whether its DMAs are ours (or else FINN's)."""

    name: str
    virtual: bool
    own_dmas: bool


@dataclass(frozen=True)
class Expected:
    """What the build promises, and where from: "simulated" or "estimated"."""

    source: str
    frames_per_second: float
    latency_seconds: float
    accuracy: float | None = left_out()
    label: str | None = left_out()


@dataclass
class Disagreement:
    """A frame that the board classifies otherwise than the network; classes are indices.

    SNR and label, the true class, are None where they are unknown.
    """

    row: int
    snr: int | None
    label: int | None
    network: int
    board: int
    again: list[int] | None = left_out()


@dataclass(frozen=True)
class Accuracy:
    """Accuracy over some frames; SNRs are in dB.

    Attributes:
        label: where the frames come from.
        accuracy: None where the true classes are unknown; by_snr and confusion are then empty.
        confusion: counts, rows true classes, columns found ones.
        compared: frames of which the network's class is known; without any, what follows is None.
    """

    label: str
    frames: int
    accuracy: float | None
    by_snr: dict[str, float]
    confusion: list[list[int]]
    compared: int
    network_accuracy: float | None = left_out()
    network_by_snr: dict[str, float] | None = left_out()
    disagreeing: list[Disagreement] | None = left_out()


@dataclass(frozen=True)
class Throughput:
    """Rates with transfers of `batch` frames; the host's contain packing and the connection."""

    batch: int
    accelerator_frames_per_second: float
    accelerator_samples_per_second: float
    host_frames_per_second: float
    host_samples_per_second: float


@dataclass(frozen=True)
class Validation:
    """Everything.

    Attributes:
        times: where the accelerator's times come from: measured, simulated or estimated.
        frames_per_second, samples_per_second: in steady state, by the largest batch; None if that
            is a single frame, which tells nothing of it.
        power_watts: rail -> watts; None where the board has no sensors.
        agrees: every class was the network's.
    """

    package: Validated
    board: BoardFound
    expected: Expected
    samples: Accuracy
    times: str
    throughput: list[Throughput]
    frames_per_second: float | None
    samples_per_second: float | None
    latency_seconds: float | None
    power_watts: dict[str, float] | None
    disagreements: int
    compared: int
    agrees: bool
    data: Accuracy | None = left_out()

    def facts(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return to_json(self)
