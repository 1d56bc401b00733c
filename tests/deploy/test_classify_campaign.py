"""How much of a recording with all 24 modulations is told right; prints the table of the docs.

Run with: python -m pytest -s -m slow tests/deploy/test_classify_campaign.py
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deploy.board.radioml import CLASSES
from models import checkpoint
from training.recordings.emitters import Emitter, Plan, write_recording
from training.recordings.estimate import estimate
from training.recordings.formats import open_recording
from training.recordings.prepared import Preparation, Prepared
from training.recordings.recording import InMemory, Recording
from training.recordings.rows import classify
from training.synthesis import write_dataset
from training.temperature import calibrate

pytestmark = pytest.mark.slow

RATE, SECONDS = 4e6, 0.2
SPACING = RATE / (len(CLASSES) + 1)
NETWORK = "aaronnet48"
ANALOGUE = {"AM-SSB-WC", "AM-SSB-SC", "AM-DSB-WC", "AM-DSB-SC", "FM"}


def plan(snr: float = 12) -> Plan:
    """Every modulation, each at its place and with a rate of its own."""
    emitters = [
        Emitter(
            name,
            symbol_rate=15_000 + 400 * number,
            centre=(number + 1) * SPACING - RATE / 2,
            snr=snr,
            start=0.0,
            stop=SECONDS,
        )
        for number, name in enumerate(CLASSES)
    ]
    return Plan(RATE, SECONDS, tuple(emitters))


def right(path: Path, emitters: list[Emitter]) -> dict[str, float]:
    """Share of each emitter's frames that is told right, centres and rates being known."""
    recording, network = open_recording(path), checkpoint.load(NETWORK)
    shares = {}
    for emitter in emitters:
        how = Preparation(shift=emitter.centre, symbol_rate=emitter.symbol_rate)
        prepared = Prepared(recording, how, 1024)
        rows = classify(network, prepared, CLASSES)
        shares[emitter.modulation] = float(
            np.mean([row.answer == emitter.modulation for row in rows])
        )
    return shares


def test_known_and_estimated_and_impaired(tmp_path: Path) -> None:
    clean = plan()
    cases = {
        "clean": clean,
        "DC 0.1 %": replace(clean, dc=0.001),
        "I/Q 1 dB, 5 degrees": replace(clean, imbalance_db=1, imbalance_degrees=5),
        "clock 100 ppm": replace(clean, clock_ppm=100),
    }
    table = {}
    for name, case in cases.items():
        path = tmp_path / "r.sigmf-meta"
        write_recording(path, case, seed=11)
        table[name] = right(path, list(case.emitters))
        if name == "clean":
            found = estimate(open_recording(path).source, len(CLASSES))
            near = [
                min(found, key=lambda e, w=emitter: abs(e.centre - w.centre))  # type: ignore[misc]
                for emitter in clean.emitters
            ]
            guessed = [
                replace(emitter, centre=e.centre, symbol_rate=e.symbol_rate)
                for emitter, e in zip(clean.emitters, near, strict=True)
            ]
            table["estimated"] = right(path, guessed)
    print(f"\n{NETWORK}, {len(CLASSES)} emitters at 12 dB, share of frames told right")
    print("| modulation | " + " | ".join(table) + " |\n|---|" + "--:|" * len(table))
    for name in CLASSES:
        print(f"| {name} | " + " | ".join(f"{table[case][name]:.2f}" for case in table) + " |")
    means = {case: float(np.mean(list(shares.values()))) for case, shares in table.items()}
    print("| mean | " + " | ".join(f"{mean:.3f}" for mean in means.values()) + " |")
    digital = [name for name in CLASSES if name not in ANALOGUE]
    assert means["clean"] > 0.7
    estimated = np.mean([table["estimated"][name] for name in digital])
    assert estimated > 0.8 * np.mean([table["clean"][name] for name in digital])


@pytest.fixture(scope="module")
def temperature(tmp_path_factory: pytest.TempPathFactory) -> float:
    """Of the network, fitted on synthetic frames (recipe 1) that it was not trained on."""
    path = tmp_path_factory.mktemp("data") / "data.h5"
    write_dataset(path, 80, seed=77, jobs=1)
    found = calibrate(checkpoint.load(NETWORK), path)
    print(f"\n{found}")
    return found.temperature


@pytest.mark.parametrize("what", ["noise", "carrier", "chirp", "4FSK"])
def test_what_the_network_does_not_know(what: str, temperature: float) -> None:
    rng = np.random.default_rng(0)
    count = 1024 * 300
    n = np.arange(count)
    phase = {
        "carrier": 0.013 * n,
        "chirp": 1e-7 * n**2 % 1,
        "4FSK": np.cumsum(np.repeat(rng.integers(0, 4, count // 8) - 1.5, 8)) / 24,
        "noise": 0 * n,
    }[what]
    noise = rng.standard_normal((count, 2)).view(complex)[:, 0]
    x = noise if what == "noise" else np.exp(2j * np.pi * phase) + 0.03 * noise
    recording = Recording(InMemory(x.astype(np.complex64), 1.0), what, rate_known=False)
    prepared = Prepared(recording, Preparation(), 1024)
    network = checkpoint.load(NETWORK)
    for divided in (1.0, temperature):
        rows = list(classify(network, prepared, CLASSES, temperature=divided))
        taken = Counter(row.answer for row in rows).most_common(2)
        sure = np.array([row.probability for row in rows])
        shares = {limit: float((sure < limit).mean()) for limit in (0.5, 0.9, 0.99)}
        print(f"\n{what}, temperature {divided:.3f}: taken for {taken}; unknown {shares}")
        assert shares[0.99] >= shares[0.5]
