"""How much of a recording with all 24 modulations is told right; prints the tables of the docs.

Run with: python -m pytest -s -m slow tests/deploy/test_classify_campaign.py
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile
from typer.testing import CliRunner

import aaronnet
from deploy.board.radioml import CLASSES
from models import checkpoint
from models.checkpoint import Checkpoint
from tests.deploy.packages import needs_board_env
from training.recordings.emitters import Emitter, Plan, write_recording
from training.recordings.estimate import estimate
from training.recordings.formats import open_recording
from training.recordings.prepared import Preparation, Prepared
from training.recordings.recording import InMemory, Recording
from training.recordings.rows import classify
from training.synthesis import write_dataset
from training.temperature import calibrate, save_calibrated

pytestmark = pytest.mark.slow

RATE, SECONDS = 4e6, 0.2
SPACING = RATE / (len(CLASSES) + 1)
NETWORK, HARDWARE = "aaronnet48", "aaronnet32++-hw8"
ANALOGUE = {"AM-SSB-WC", "AM-SSB-SC", "AM-DSB-WC", "AM-DSB-SC", "FM"}
THRESHOLD, FAMILIAR = 0.5, 0.05


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


def answers(recording: Recording, emitters: Iterable[Emitter]) -> dict[str, list[str]]:
    """Each emitter's answers, centres and rates being known."""
    network, found = checkpoint.load(NETWORK), {}
    for emitter in emitters:
        how = Preparation(shift=emitter.centre, symbol_rate=emitter.symbol_rate)
        rows = classify(network, Prepared(recording, how, 1024), CLASSES)
        found[emitter.modulation] = [row.answer for row in rows]
    return found


def right(found: dict[str, list[str]]) -> dict[str, float]:
    """Share of each emitter's frames that is told right."""
    return {name: float(np.mean([a == name for a in of])) for name, of in found.items()}


def guessed(recording: Recording, emitters: tuple[Emitter, ...]) -> list[Emitter]:
    """The emitters at their estimates: there are as many, and each is next to one emitter."""
    found = estimate(recording.source, len(emitters))
    assert len(found) == len(emitters)
    near = [min(emitters, key=lambda e, c=one.centre: abs(e.centre - c)) for one in found]
    assert len({emitter.modulation for emitter in near}) == len(emitters)
    return [
        replace(emitter, centre=one.centre, symbol_rate=one.symbol_rate)
        for emitter, one in zip(near, found, strict=True)
    ]


def show(what: str, table: dict[str, dict[str, float]]) -> None:
    print(f"\n{what}\n| modulation | " + " | ".join(table) + " |\n|---|" + "--:|" * len(table))
    for name in CLASSES:
        print(f"| {name} | " + " | ".join(f"{table[case][name]:.2f}" for case in table) + " |")
    means = [float(np.mean(list(shares.values()))) for shares in table.values()]
    print("| mean | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")


def test_known_and_estimated_and_impaired(tmp_path: Path) -> None:
    clean = plan()
    imbalance = {"imbalance_db": 1, "imbalance_degrees": 5}
    cases = {
        "clean": clean,
        "DC 0.1 %": replace(clean, dc=0.001),
        "I/Q 1 dB, 5 degrees": replace(clean, **imbalance),
        "clock 100 ppm": replace(clean, clock_ppm=100),
        "all three": replace(clean, dc=0.001, clock_ppm=100, **imbalance),
    }
    table = {}
    for name, case in cases.items():
        path = tmp_path / "r.sigmf-meta"
        write_recording(path, case, seed=11)
        recording = open_recording(path)
        table[name] = right(answers(recording, case.emitters))
        if name in ("clean", "all three"):
            by_estimate = answers(recording, guessed(recording, case.emitters))
            table[f"{name}, estimated"] = right(by_estimate)
    show(f"{NETWORK}, {len(CLASSES)} emitters at 12 dB, share of frames told right", table)
    digital = [name for name in CLASSES if name not in ANALOGUE]

    def mean(case: str) -> float:
        return float(np.mean([table[case][name] for name in digital]))

    assert mean("clean") > 0.8
    for case in ("clean", "all three"):
        assert mean(f"{case}, estimated") > 0.95 * mean(case)


def test_files_of_five_types(tmp_path: Path) -> None:
    clean = plan()
    write_recording(tmp_path / "r.sigmf-meta", clean, seed=11)
    x = np.fromfile(tmp_path / "r.sigmf-data", np.complex64)
    pairs = x.view(np.float32).reshape(-1, 2)
    np.save(tmp_path / "r.npy", x)
    np.savez(tmp_path / "r.npz", iq=pairs)
    wavfile.write(tmp_path / "r.wav", int(RATE), pairs)
    np.round(pairs * 32767).astype("<i2").tofile(tmp_path / "r.cs16")
    np.round(pairs * 127 + 127.5).astype("u1").tofile(tmp_path / "r.cu8")
    found = {}
    for name in ("sigmf-meta", "npy", "npz", "wav", "cs16", "cu8"):
        rate = None if name in ("sigmf-meta", "wav") else RATE
        recording = open_recording(tmp_path / f"r.{name}", rate=rate)
        found[name] = answers(recording, clean.emitters)
    table = {name: right(of) for name, of in found.items()}
    show(f"{NETWORK}, files of {len(found)} types", table)
    for name in ("npy", "npz", "wav"):
        assert found[name] == found["sigmf-meta"]
    for name, least in (("cs16", 0.99), ("cu8", 0.9)):
        same = [
            a == b
            for emitter, of in found[name].items()
            for a, b in zip(of, found["sigmf-meta"][emitter], strict=True)
        ]
        print(f"{name}: {np.mean(same):.4f} of {len(same)} frames answered as of cf32")
        assert np.mean(same) > least


@needs_board_env
def test_an_accelerator_answers_as_its_network(tmp_path: Path) -> None:
    """The RTL of a sparse build on the virtual board, a channel for each signal found."""
    clean = plan()
    write_recording(tmp_path / "r.sigmf-meta", clean, seed=11)
    built = ("build", HARDWARE, "--board", "ZCU104", "--style", "sparse", "--to", "hdl")
    run(*built, "-o", tmp_path / "built")
    found = []
    for words in (("--network", HARDWARE), ("--package", tmp_path / "built" / "package")):
        facts = tmp_path / "f.json"
        run("classify", tmp_path / "r.sigmf-meta", "--channels", 24, *words, "--json", facts)
        rows = json.loads(facts.read_text())["frames"]
        found.append([(row["sample"], row["centre"], row["answer"]) for row in rows])
    software, board = found
    differ = sum(a != b for a, b in zip(software, board, strict=True))
    shares: dict[str, float] = {}
    for emitter in clean.emitters:
        of = [a for _, centre, a in board if abs(centre - emitter.centre) < SPACING / 2]
        shares[emitter.modulation] = float(np.mean([a == emitter.modulation for a in of]))
    show(f"{HARDWARE}, estimated; {differ} of {len(board)} frames differ", {"RTL": shares})
    assert differ == 0 and len(board) > 600


def run(*words: object) -> None:
    """Run a command in this process; raises what it raises."""
    done = CliRunner().invoke(aaronnet.app, [str(word) for word in words])
    if done.exception is not None:
        raise done.exception


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The network, calibrated on synthetic frames (recipe 1) that it was not trained on."""
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder / "data.h5", 80, seed=77, jobs=1)
    loaded = checkpoint.load(NETWORK)
    found = calibrate(loaded, folder / "data.h5")
    print(f"\n{NETWORK}: {found.to_dict()}")
    save_calibrated(folder / "c.pth", loaded, found)
    return checkpoint.load(folder / "c.pth")


def unknown_shares(network: Checkpoint, prepared: Prepared, temperature: float | None) -> str:
    """By threshold alone; and, of a calibrated network, by familiarity alone, and by both."""
    rows = list(classify(network, prepared, CLASSES, temperature=temperature))
    sure = np.array([row.probability for row in rows])
    ways = {str(limit): sure < limit for limit in (THRESHOLD, 0.9, 0.99)}
    if rows[0].familiarity is not None:
        strange = np.array([row.familiarity for row in rows]) < FAMILIAR
        ways |= {"familiar": strange, "both": strange | (sure < THRESHOLD)}
    return ", ".join(f"{way} {share.mean():.2f}" for way, share in ways.items())


def signal(what: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Unit power, 30 dB above its noise, and noise alone; 8 samples a symbol."""
    n = np.arange(count)

    def shifts(number: int) -> np.ndarray:
        return np.cumsum(np.repeat(rng.integers(0, number, count // 8) - (number - 1) / 2, 8))

    noise = rng.standard_normal((count, 2)).view(complex)[:, 0]
    if what == "noise":
        return noise
    if what == "OFDM":  # 48 of 64 carriers with QPSK, a cyclic prefix of 16
        points = rng.choice([-1, 1], (2, count // 80 + 1, 64))
        carriers = points[0] + 1j * points[1]
        carriers[:, 24:40] = 0
        symbols = np.fft.ifft(carriers, axis=1)
        x = np.concatenate([symbols[:, -16:], symbols], axis=1).reshape(-1)[:count]
        return x / np.sqrt((np.abs(x) ** 2).mean()) + 0.03 * noise
    phase = {
        "carrier": lambda: 0.013 * n,
        "chirp": lambda: 1e-7 * n**2 % 1,
        "4FSK": lambda: shifts(4) / 24,
        "2FSK": lambda: shifts(2) / 8,
    }[what]()
    return np.exp(2j * np.pi * phase) + 0.03 * noise


@pytest.mark.parametrize("what", ["noise", "carrier", "chirp", "4FSK", "2FSK", "OFDM"])
def test_what_the_network_does_not_know(what: str, calibrated: Checkpoint) -> None:
    x = signal(what, 1024 * 300, np.random.default_rng(0))
    recording = Recording(InMemory(x.astype(np.complex64), 1.0), what, rate_known=False)
    prepared = Prepared(recording, Preparation(), 1024)
    plain = checkpoint.load(NETWORK)
    taken = Counter(row.answer for row in classify(plain, prepared, CLASSES)).most_common(2)
    print(f"\n{what}: taken for {taken}")
    for name, network in (("plain", plain), ("calibrated", calibrated)):
        print(f"{what}, {name}, unknown: {unknown_shares(network, prepared, None)}")
    rows = classify(calibrated, prepared, CLASSES, threshold=THRESHOLD, familiar=FAMILIAR)
    assert np.mean([row.answer == "unknown" for row in rows]) > 0.7


def test_what_it_knows_stays_known(tmp_path: Path, calibrated: Checkpoint) -> None:
    """Of the recording's frames, which came another way than those that it was calibrated on."""
    clean = plan()
    write_recording(tmp_path / "r.sigmf-meta", clean, seed=11)
    recording = open_recording(tmp_path / "r.sigmf-meta")
    rows = []
    for emitter in clean.emitters:
        how = Preparation(shift=emitter.centre, symbol_rate=emitter.symbol_rate)
        of = classify(calibrated, Prepared(recording, how, 1024), CLASSES)
        rows += [(row, row.answer == emitter.modulation) for row in of]
    told = np.array([true for _, true in rows])
    strange = np.array([row.familiarity for row, _ in rows]) < FAMILIAR
    unsure = np.array([row.probability for row, _ in rows]) < THRESHOLD
    for name, of in (("familiar", strange), ("0.5", unsure), ("both", strange | unsure)):
        print(f"\n{name}: of {told.sum()} right answers {of[told].mean():.3f} unknown, ", end="")
        print(f"of {(~told).sum()} wrong ones {of[~told].mean():.3f}")
    assert strange[told].mean() < 0.15
