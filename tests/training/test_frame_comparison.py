"""`aaronnet data compare`: what it measures is what was put in."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.errors import BadInput
from tests.campaign.harness import Commands
from tests.training.recordings.wrong_files import wrong_files
from training.cli_compare import compare
from training.frame_comparison import compare_frames, drawn_frames, look_at_both, read_frames
from training.frame_statistics import fitted_roll_off, look_at
from training.synthesis import block, synthesise

OFFSET = "drift: cycles a sample"


def drawn(names: tuple[str, ...], version: int = 1, count: int = 96, length: int = 256):
    return drawn_frames(version, names, 30, count, length, seed=1)


def test_measured_is_what_was_put_in() -> None:
    clean = drawn(("BPSK",)).samples
    turned = clean * np.exp(2j * np.pi * 7e-5 * np.arange(clean.shape[1]))
    looks = look_at(turned)
    assert looks.on_a_line.all()
    assert np.median(looks.values[OFFSET]) == pytest.approx(7e-5, rel=0.02)
    later = look_at(np.roll(clean, 3, axis=1)).values["timing: delay, samples"]
    moved = (later - look_at(clean).values["timing: delay, samples"]) % 8
    assert np.median(moved) == pytest.approx(3, abs=0.2)


def test_cumulants_are_those_of_theory() -> None:
    """Swami and Sadler's table: QPSK C42 -1, C63 4; BPSK -2, 16; noise 0, 0."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((40, 4096, 2)).view(complex)[..., 0]
    for symbols, fourth, sixth in (
        (np.exp(0.5j * np.pi * rng.integers(0, 4, (40, 4096))), -1, 4),
        (rng.choice([-1, 1], (40, 4096)).astype(complex), -2, 16),
        (noise, 0, 0),
    ):
        values = look_at(symbols).values
        assert np.median(values["cumulant C42"]) == pytest.approx(fourth, abs=0.1)
        assert np.median(values["cumulant C63"]) == pytest.approx(sixth, abs=0.5)


def test_roll_off_is_found() -> None:
    found = {v: fitted_roll_off(look_at(drawn(("QPSK",), v, 300).samples).spectra) for v in (1, 2)}
    assert found[1] == pytest.approx(0.48, abs=0.02)
    assert found[2] == pytest.approx(0.41, abs=0.02)


def test_two_draws_of_a_recipe_agree_and_two_recipes_do_not() -> None:
    names = ("BPSK",)
    first, again = drawn(names), drawn_frames(1, names, 30, 96, 256, seed=2)
    same = compare_frames(first, again, look_at_both(first, again))
    assert np.mean([row["differs"] for row in same["rows"]]) < 0.25  # 5 % by chance, correlated
    other = drawn(names, 2)
    rows = {r["name"]: r for r in compare_frames(first, other, look_at_both(first, other))["rows"]}
    spread = rows[f"{OFFSET}, spread"]
    assert spread["differs"]
    assert spread["synthetic"]["low"] < 3.3e-5 < spread["synthetic"]["high"]


def test_recipe_2_meets_the_real_excerpts(shared: Path) -> None:
    """What recipe 1 lacks, recipe 2 has: the drift and the pulse of the real frames."""
    real = read_frames(shared / "real/bpsk-qpsk-128.npy", ("BPSK", "QPSK"), 30, 256)
    ratios, off = {}, {}
    for version in (1, 2):
        other = drawn_frames(version, ("BPSK", "QPSK"), 30, 256, 128, seed=0)
        rows = {
            r["name"]: r for r in compare_frames(real, other, look_at_both(real, other))["rows"]
        }
        drift, pulse = rows[f"{OFFSET}, spread"], rows["pulse: roll-off by least squares"]
        ratios[version] = drift["synthetic"]["value"] / drift["real"]["value"]
        off[version] = pulse["difference"]["value"]
    assert ratios[1] < 0.05 and 0.75 < ratios[2] < 1.35
    assert off[1] > 0.04 and abs(off[2]) < 0.03


@pytest.mark.parametrize(
    ("version", "digest"),
    [(1, "db1a62b0cc41eb15e668e82229677af9"), (2, "1bc6772c4d6a92f5e39beaa1eaf572b5")],
)
def test_recipes_are_byte_for_byte_as_they_were(version: int, digest: str) -> None:
    import hashlib

    whole = b"".join(block(3, modulation, 10, 1, version).tobytes() for modulation in range(24))
    assert hashlib.sha256(whole).hexdigest().startswith(digest)


def test_recipe_3_clips_as_often_as_the_real_file() -> None:
    """Published at 30 dB: 0.0853 of all classes' samples, 0.0170 without the AM-SSB ones."""
    published = (24 * 0.0853 - 22 * 0.0170) / 2
    off = {}
    for version in (2, 3):
        frames = synthesise("AM-SSB-WC", 30, 4000, np.random.default_rng(0), version)
        each = (np.abs(frames) > 2).mean(axis=(1, 2))
        off[version] = float(each.mean()) - published
        interval = 1.96 * each.std() / len(each) ** 0.5
        print(f"recipe {version}: {each.mean():.3f} +-{interval:.3f}, published {published:.3f}")
    assert off[2] > 0.05 and abs(off[3]) < 0.015


def test_recipe_2_turns_frames_slowly() -> None:
    frames = synthesise("AM-SSB-WC", 30, 400, np.random.default_rng(0), 2).view(np.complex64)
    turned = np.angle(frames[:, -1, 0] * frames[:, 0, 0].conj()) / 2 / np.pi / 1023
    assert turned.std() == pytest.approx(3.3e-5, rel=0.1)
    with pytest.raises(BadInput, match="no recipe 4; known: 1, 2, 3"):
        synthesise("QPSK", 0, 1, np.random.default_rng(0), 4)


def test_command_writes_table_json_and_page(tmp_path: Path, data: Path, capsys) -> None:
    facts, page = tmp_path / "facts.json", tmp_path / "page.html"
    np.save(tmp_path / "r.npy", drawn(("BPSK", "QPSK"), 2, 16).samples)
    compare(tmp_path / "r.npy", str(data), report=page, json=facts)
    assert "roll-off" in capsys.readouterr().out
    told = json.loads(facts.read_text())
    assert told["frames"] == [32, 20] and told["length"] == 256
    assert "recipe 1" in told["labels"][1]
    assert len(told["clipped"][1]) == 26
    assert page.read_text().count("data:image/png") == 3


@pytest.mark.parametrize(
    ("write", "options", "said"),
    [
        (lambda p: p.write_bytes(b"no array"), (), "no .npy file"),
        (lambda p: np.save(p, np.zeros(999, np.complex64)), (), "one stream, not frames"),
        (lambda p: np.save(p, np.zeros((3, 2, 64), np.float32)), (), "too short"),
        (lambda p: np.save(p, np.full((3, 2, 128), np.nan, np.float32)), (), "not finite"),
        (lambda p: np.save(p, np.zeros((3, 2, 128), np.float32)), ("BPKS",), "no modulation"),
        (lambda p: None, (), "does not exist"),
    ],
)
def test_wrong_files_are_one_line(tmp_path: Path, write, options, said) -> None:
    path = tmp_path / "r.npy"
    write(path)
    names = options or ("BPSK",)
    with pytest.raises(BadInput, match=said) as error:
        real = read_frames(path, names, 30, 4)
        look_at_both(real, drawn_frames(1, names, 30, 4, 1024, 0))
    assert "\n" not in str(error.value)


def test_whatever_it_is_given_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Truncated, of another type, NaN, empty, lying, dangerous; on either side of `--with`."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.uniform(-0.9, 0.9, (3000, 2)).astype(np.float32).view(np.complex64)[:, 0]
    np.save("real.npy", x[:2560].reshape(20, 128))
    (tmp_path / "given").mkdir()
    given = [path for path, _ in wrong_files(tmp_path / "given", x).values()]
    run, wrong, count = Commands(tmp_path, capsys), {}, 0
    given += [Path("0"), Path("99999999999999999999"), Path("-1"), tmp_path]
    for path in given:
        if path.suffix not in (".npy", ".h5"):
            says = "frames are read from" if path.suffix else ""
        else:
            says = ""
        for words in ((str(path), "--with", "1"), ("real.npy", "--with", str(path))):
            if not path.is_absolute() and words[0] == str(path):
                continue
            done = run("data", "compare", *words, "--json", "o.json", "--report", "o.html")
            count += 1
            lines = done.err.strip().splitlines()
            if done.code != 2 or len(lines) != 1 or says not in lines[0]:
                wrong[words] = done.err
    assert wrong == {}
    assert count >= 80 and sorted(p.name for p in tmp_path.iterdir()) == ["given", "real.npy"]
