"""Shifting, resampling, frames, estimates."""

from pathlib import Path

import numpy as np
import pytest

from models.errors import BadInput
from training.recordings.emitters import Emitter, Plan, read_plan, render
from training.recordings.estimate import estimate
from training.recordings.formats import open_recording
from training.recordings.prepared import Preparation, Prepared
from training.recordings.recording import InMemory, Recording, Resampled, Shifted, resampled
from training.recordings.rows import make_rows


def tone(frequency: float, count: int = 40_000) -> np.ndarray:
    return np.exp(2j * np.pi * frequency * np.arange(count)).astype(np.complex64)


def recording(x: np.ndarray, rate: float = 1.0, row: int | None = None) -> Recording:
    return Recording(InMemory(x, rate), "test", row=row)


@pytest.mark.parametrize(("up", "down"), [(1, 4), (3, 2), (2, 3), (7, 5), (80, 81), (1, 1)])
def test_a_tone_stays_a_tone_without_delay(up: int, down: int) -> None:
    frequency = 0.3 / max(up, down) * min(up, down) * 0.5
    source = Resampled(InMemory(tone(frequency), 1.0), up, down)
    y = source.read(500, 2000)
    wanted = np.exp(2j * np.pi * frequency * down / up * np.arange(500, 2500))
    assert np.abs(y - wanted).max() < 2e-3


def test_what_lies_beyond_the_new_band_is_gone() -> None:
    source = Resampled(InMemory(tone(0.2), 1.0), 1, 4)
    assert np.abs(source.read(200, 1000)).max() < 3e-4


def test_pieces_are_those_of_the_whole() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((9000, 2)).astype(np.float32).view(np.complex64)[:, 0]
    source = Resampled(Shifted(InMemory(x, 1.0), 0.1), 7, 12)
    whole = source.read(0, source.samples)
    for start, count in ((0, 1), (1, 700), (1234, 777), (source.samples - 5, 5)):
        assert np.array_equal(source.read(start, count), whole[start : start + count])


def test_a_rate_out_of_reach_is_refused() -> None:
    with pytest.raises(BadInput, match="beyond 512"):
        resampled(InMemory(tone(0.1), 1e6), 10.0)


def test_frames_have_unit_power_and_their_places() -> None:
    rng = np.random.default_rng(2)
    x = 0.01 * rng.standard_normal((5000, 2)).astype(np.float32).view(np.complex64)[:, 0] + 0.2
    x[2000:3100] = 0
    prepared = Prepared(recording(x), Preparation(step=500), 1024)
    (block,) = list(prepared)
    assert block.starts.tolist() == list(range(0, 3977, 500)) and len(prepared) == 8
    assert block.kept.tolist() == [s != 2000 for s in block.starts]
    pairs = block.frames[0].astype(float)
    assert np.isclose(pairs[0].var() + pairs[1].var(), 1, atol=1e-3)
    assert pairs[0].mean() > 5  # the mean stays, as in RadioML's frames


def test_rows_of_real_samples_are_where_the_file_has_them(tmp_path: Path) -> None:
    np.cos(0.9 * np.arange(8192)).astype(np.float32).tofile(tmp_path / "x.bin")
    opened = open_recording(tmp_path / "x.bin", "rf32", 1000.0)
    assert (opened.samples, opened.rate, opened.source.samples) == (8192, 1000.0, 4096)
    prepared = Prepared(opened, Preparation(), 1024)
    (block,) = list(prepared)
    rows = list(make_rows(prepared, block.starts, block.power, "abcd", *2 * [[None] * 4]))
    assert [(row.sample, row.count, row.time) for row in rows] == [
        (2048 * i, 2048, 2.048 * i) for i in range(4)
    ]


def test_gate_and_level_look_at_the_whole_file() -> None:
    x = np.concatenate([tone(0.1, 1024), 0.01 * tone(0.1, 1024)])
    (block,) = list(Prepared(recording(x), Preparation(gate=20, normalize="file"), 1024))
    assert block.kept.tolist() == [True, False]
    power = (block.frames.astype(float) ** 2).sum(axis=1).mean(axis=1)
    assert np.isclose(power.mean(), 1, atol=0.01) and np.isclose(power[0], 2, atol=0.02)
    (block,) = list(Prepared(recording(x), Preparation(normalize="none"), 1024))
    assert np.allclose(block.frames[0, 0], x[:1024].real)


def test_rows_are_never_crossed() -> None:
    x = np.arange(3 * 2500).astype(np.complex64)
    prepared = Prepared(recording(x, row=2500), Preparation(normalize="none"), 1024)
    (block,) = list(prepared)
    assert block.starts.tolist() == [0, 1024, 2500, 3524, 5000, 6024]
    assert np.array_equal(block.frames[:, 0, 0], block.starts)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"normalize": "max"}, "--normalize"),
        ({"step": 0}, "--step"),
        ({"symbol_rate": 1.0, "decimate": 2}, "leave --decimate out"),
        ({"symbol_rate": float("nan")}, "symbol rate"),
        ({"gate": -1.0}, "--gate"),
        ({"shift": 0.7}, "leaves the recording"),
    ],
)
def test_what_cannot_be_prepared_is_refused(how: dict, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Prepared(recording(tone(0.1)), Preparation(**how), 1024)


def test_too_short_and_without_rate() -> None:
    with pytest.raises(BadInput, match="has 1000 samples, the network wants 1024"):
        Prepared(recording(tone(0.1, 1000)), Preparation(), 1024)
    unknown = Recording(InMemory(tone(0.1), 1.0), "test", rate_known=False)
    with pytest.raises(BadInput, match="give --rate"):
        Prepared(unknown, Preparation(shift=0.1), 1024)


@pytest.mark.parametrize("modulation", ["BPSK", "QPSK", "8PSK", "16QAM", "256QAM", "OOK", "64APSK"])
def test_estimates_of_linear_modulations(modulation: str) -> None:
    plan = Plan(1e6, 0.3, (Emitter(modulation, 30_000, 123_456, 14, 0, 0.3),))
    (found,) = estimate(InMemory(render(plan, 1), 1e6))
    assert found.by_line
    assert abs(found.centre - 123_456) < 100
    assert abs(found.symbol_rate - 30_000) < 3


@pytest.mark.parametrize("modulation", ["OOK", "4ASK"])
def test_a_carrier_in_the_band_does_not_hide_its_width(modulation: str) -> None:
    # Few bins wide: the carrier is a third of them.
    plan = Plan(1e6, 0.4, (Emitter(modulation, 4_000, 123_456, 12, 0, 0.4),))
    (found,) = estimate(InMemory(render(plan, 1), 1e6))
    assert found.by_line and abs(found.symbol_rate - 4_000) < 1 and abs(found.centre - 123_456) < 1


@pytest.mark.parametrize(
    ("modulation", "kind"),
    [("AM-DSB-WC", "two lines"), ("AM-DSB-SC", "two lines"), ("FM", "constant envelope")],
)
def test_analogue_signals_are_brought_to_where_radioml_has_their_carrier(
    modulation: str, kind: str
) -> None:
    plan = Plan(5e5, 0.2, (Emitter(modulation, 23_000, 60_000, 12, 0, 0.2),))
    (found,) = estimate(InMemory(render(plan, 3), 5e5), most=4)
    assert kind in str(found)
    assert abs(found.symbol_rate - 23_000) < 1_500
    # What counts is the carrier, a quarter of the symbol rate from the middle.
    carrier = found.centre + found.symbol_rate / 4
    assert abs(carrier - 60_000 - 23_000 / 4) < 100


def test_two_carriers_of_two_emitters_stay_two() -> None:
    emitters = tuple(Emitter("AM-SSB-SC", 23_000, hertz, 12, 0, 0.2) for hertz in (-6e4, 6e4))
    found = estimate(InMemory(render(Plan(5e5, 0.2, emitters), 4), 5e5), most=4)
    assert [round(each.centre / 1e3) for each in found] == [-60, 60]
    assert not any(each.kind for each in found)


def test_a_carrier_that_is_not_modulated_is_no_signal_beside_others() -> None:
    plan = Plan(5e5, 0.2, (Emitter("QPSK", 20_000, 60_000, 12, 0, 0.2),), dc=0.05)
    x = render(plan, 5)  # its DC lies on a bin, the spur does not
    x += 0.05 * np.exp(2j * np.pi * -90_033 / 5e5 * np.arange(len(x))).astype(np.complex64)
    (found,) = estimate(InMemory(x, 5e5), most=4)
    assert abs(found.centre - 60_000) < 50 and found.by_line
    spur = x - render(plan, 5) + 1e-4 * np.random.default_rng(0).standard_normal(len(x))
    (found,) = estimate(InMemory(spur.astype(np.complex64), 5e5), most=4)
    assert abs(found.centre + 90_033) < 50


def test_noise_alone_has_no_signal() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1 << 17, 2)).astype(np.float32).view(np.complex64)[:, 0]
    with pytest.raises(BadInput, match="no signal stands out"):
        estimate(InMemory(x, 1e6))


GOOD = {"rate": 1e6, "seconds": 0.1, "emitters": [{"modulation": "QPSK", "symbol_rate": 1e4}]}
GOOD["emitters"][0] |= {"centre": 0, "snr": 10}  # type: ignore[index]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("rate: -1", "above 0"),
        ("seconds: 1.e+9", "at most"),
        ("rate: fast", "not a number"),
        ("rate: .nan", "not a number"),
        ("emitters: []", "at least one"),
        ("emitters: [QPSK]", "no mapping"),
        ("emitters: [{modulation: 5PSK, symbol_rate: 1, centre: 0, snr: 1}]", "5PSK"),
        ("emitters: [{modulation: QPSK, centre: 0, snr: 1}]", "has no symbol_rate"),
        ("emitters: [{modulation: QPSK, symbol_rate: 1.e+4, centre: 6.e+5, snr: 1}]", "leaves"),
        (
            "emitters: [{modulation: QPSK, symbol_rate: 9, centre: 0, snr: 1, start: 1}]",
            "start and stop",
        ),
        ("colour: blue", "unknown key 'colour'"),
        ("[", "no YAML"),
    ],
)
def test_wrong_plans_are_refused(tmp_path: Path, change: str, says: str) -> None:
    import yaml

    path = tmp_path / "plan.yaml"
    text = yaml.safe_dump(GOOD)
    path.write_text(text)
    assert read_plan(path).emitters[0].modulation == "QPSK"
    key = change.split(":")[0]
    kept = yaml.safe_dump({k: v for k, v in GOOD.items() if k != key})
    path.write_text(f"{kept}{change}\n")
    with pytest.raises(BadInput) as refused:
        read_plan(path)
    assert says in str(refused.value) and "\n" not in str(refused.value)
