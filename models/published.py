"""Published results on the real RadioML 2018.01A test split, to compare ours with.

Source: the AaronNet authors' repository and the problem statement of ITU-ML5G-PS-007 (2021).
AaronNet128's score was counted here from its published checkpoint; the curves were read off the
authors' plot, to about one point.
"""

from dataclasses import dataclass

DATA_LABEL = "RadioML 2018.01A (published)"
ACCURACY_THRESHOLD = 0.56
"""Mean accuracy over all SNRs that an entry to the challenge had to reach."""


@dataclass(frozen=True)
class Scored:
    """A network by what the challenge asks for; accuracy as a fraction over all SNRs."""

    network: str
    accuracy: float
    score: float
    nonzero_weights: int


RESULTS = (
    Scored("VGG10", 0.59467, 1.0, 155617),
    Scored("AaronNet32", 0.58497, 0.057224, 12491),
    Scored("AaronNet32+", 0.58313, 0.030711, 6794),
    Scored("AaronNet32++", 0.56089, 0.015705, 3160),
    Scored("AaronNet48", 0.59607, 0.096463, 19747),
    Scored("AaronNet48+", 0.60074, 0.043207, 8667),
    Scored("AaronNet48++", 0.57047, 0.023599, 4439),
)
# Not entries of the authors' table: another size, and another team's.
OTHERS = (
    Scored("AaronNet128", 0.62612, 0.556311, 123579),
    Scored("BacalhauNet", 0.56241, 0.016211, 1784),
)


@dataclass(frozen=True)
class Entrant:
    """An entry of another team; its weights were not published, or not counted by us."""

    name: str
    accuracy: float
    score: float


@dataclass(frozen=True)
class Hardware:
    """A published accelerator for the 24 classes; None: not published.

    Attributes:
        name: the network and the board.
        source: who says so.
        fps: frames of 1024 samples a second.
        luts: about.
        latency_us: microseconds.
        accuracy: over all SNRs.
    """

    name: str
    source: str
    fps: int
    luts: int | None
    latency_us: float | None
    accuracy: float


HARDWARE = (
    Hardware(
        "FINN's VGG10 example (w4a4, 32 filters) on ZCU104 at 250 MHz",
        "AMD/Xilinx, finn-examples",
        *(230_000, 90_000, None, 0.559),
    ),
    Hardware(
        "ternary VGG on ZCU111",
        "S. Tridgell et al., Real-time Automatic Modulation Classification using RFSoC (2020)",
        *(488_000, None, 8.0, 0.445),
    ),
)
"""What accelerators of this task are beside."""

FIELD = (
    Entrant("BacalhauNet", 0.56241, 0.016211),
    Entrant("Feedback-Magnitude-Pruning", 0.5625, 0.0419),
    Entrant("RCSL-TCD", 0.5634, 0.143),
    Entrant("Team Velocity", 0.5607, 0.3211),
)
"""What else reached 56 % on the real data, November 2026; nothing below 0.0157 was found."""

CURVE_SNRS = (-20, -10, -8, -6, -4, -2, 0, 2, 4, 6, 8, 10, 14, 20, 30)
CURVES = {
    "VGG10": (
        *(0.045, 0.14, 0.20, 0.27, 0.338, 0.43, 0.53, 0.622),
        *(0.728, 0.828, 0.892, 0.912, 0.927, 0.930, 0.931),
    ),
    "AaronNet48+": (
        *(0.046, 0.135, 0.185, 0.25, 0.333, 0.43, 0.54, 0.64),
        *(0.745, 0.848, 0.906, 0.923, 0.938, 0.941, 0.943),
    ),
    "AaronNet32++": (
        *(0.044, 0.115, 0.175, 0.23, 0.305, 0.395, 0.497, 0.585),
        *(0.675, 0.77, 0.84, 0.872, 0.89, 0.892, 0.887),
    ),
}
"""Accuracy at `CURVE_SNRS` dB."""
