"""`aaronnet classify` and `aaronnet data record`: from a plan to labels, by every way there is."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from deploy.board.radioml import CLASSES
from tests.campaign.harness import Commands
from tests.deploy.packages import graph_weight, make_graph_package, needs_board_env
from tests.training.recordings.wrong_files import wrong_files

PLAN = """
rate: 500000
seconds: 0.3
frequency: 868300000
emitters:
  - {modulation: QPSK, symbol_rate: 25000, centre: 120000, snr: 20, stop: 0.2}
  - {modulation: GMSK, symbol_rate: 10000, centre: -100000, snr: 16}
"""
QPSK = ("--shift", "120000", "--symbol-rate", "25000")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Commands:
    monkeypatch.chdir(tmp_path)
    return Commands(tmp_path, capsys)


@pytest.fixture
def recorded(run: Commands, tmp_path: Path) -> Path:
    (tmp_path / "plan.yaml").write_text(PLAN)
    done = run("data", "record", "r.sigmf-meta", "--plan", "plan.yaml", "--seed", "3")
    assert done.code == 0, done.err
    return tmp_path / "r.sigmf-meta"


def test_what_was_sent_is_found_and_annotated(
    run: Commands, recorded: Path, tmp_path: Path
) -> None:
    out = ("--csv", "rows.csv", "--sigmf", "out.sigmf-meta", "--report", "r.html")
    done = run("classify", "r.sigmf-meta", *QPSK, "--gate", "12", "--json", "f.json", *out)
    assert done.code == 0, done.err
    facts = json.loads((tmp_path / "f.json").read_text())
    frames = facts["frames"]
    during = [row for row in frames if row["time"] < 0.19]
    after = [row for row in frames if row["time"] > 0.2]
    assert np.mean([row["answer"] == "QPSK" for row in during]) > 0.95
    assert {row["answer"] for row in after} == {"rejected"} and len(after) > 10
    assert "synthetic" in facts["trained_on"] and facts["trained_on"] in " ".join(done.out.split())

    with (tmp_path / "rows.csv").open() as file:
        assert [row["answer"] for row in csv.DictReader(file)] == [r["answer"] for r in frames]

    from sigmf import sigmffile

    (tmp_path / "out.sigmf-data").write_bytes((tmp_path / "r.sigmf-data").read_bytes())
    read = sigmffile.fromfile(str(tmp_path / "out.sigmf-meta"))
    read.validate()
    ours = [a for a in read.get_annotations() if a.get("core:generator") == "AaronNet"]
    assert ours[0]["core:label"] == "QPSK" and ours[0]["core:sample_start"] == 0
    assert ours[0]["core:freq_lower_edge"] == 868_300_000 + 120_000 - 100_000
    theirs = [a["core:label"] for a in read.get_annotations() if a not in ours]
    assert theirs == ["QPSK", "GMSK"]  # what the recording said already stays

    page = (tmp_path / "r.html").read_text()
    assert page.count("data:image/png") == 2 and "http" not in page.replace("http-equiv", "")


def test_the_rate_and_the_centre_are_estimated(run: Commands, recorded: Path) -> None:
    done = run("classify", "r.sigmf-meta", "--auto", "--json", "f.json")
    assert done.code == 0, done.err
    assert "estimated: centre +12" in done.out and "by a line of |x|^2" in done.out
    facts = json.loads(Path("f.json").read_text())
    assert abs(facts["channels"][0]["symbol_rate"] - 25_000) < 20
    assert [r["answer"] for r in facts["frames"]][:30].count("QPSK") > 28


def test_each_signal_of_a_wide_recording_is_a_channel(run: Commands, recorded: Path) -> None:
    done = run(
        "classify", "r.sigmf-meta", "--channels", "5", "--json", "f.json", "--report", "r.html"
    )
    assert done.code == 0, done.err
    facts = json.loads(Path("f.json").read_text())
    low, high = facts["channels"]
    assert abs(low["shift"] + 100_000) < 300 and abs(high["shift"] - 120_000) < 10
    assert max(low["shares"], key=low["shares"].get) == "GMSK"
    assert max(high["shares"], key=high["shares"].get) == "QPSK"
    assert {row["centre"] for row in facts["frames"]} == {low["shift"], high["shift"]}


@pytest.mark.parametrize("name", ["r.cs16", "r.npy", "r.wav"])
def test_other_formats_give_the_same_answers(run: Commands, recorded: Path, name: str) -> None:
    from scipy.io import wavfile

    x = np.fromfile("r.sigmf-data", np.complex64)
    pairs = x.view(np.float32).reshape(-1, 2)
    if name == "r.npy":
        np.save(name, x)
    elif name == "r.wav":
        wavfile.write(name, 500_000, pairs)
    else:
        np.round(pairs * 32767).astype("<i2").tofile(name)
    rate = () if name == "r.wav" else ("--rate", "500000")
    answers = []
    for file, more in (("r.sigmf-meta", ()), (name, rate)):
        done = run("classify", file, *more, *QPSK, "--json", "f.json", "--sigmf", "n.sigmf-meta")
        assert done.code == 0, done.err
        frames = json.loads(Path("f.json").read_text())["frames"]
        answers.append([row["answer"] for row in frames][:38])
    assert answers[0] == answers[1] and set(answers[0]) == {"QPSK"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--graph",), "--package"),
        (("--auto", "--shift", "5"), "--auto and --channels"),
        (("--rate", "3"), "leave --rate out"),
        (("--normalize", "max"), "--normalize"),
        (("--decimate", "0"), "whole numbers"),
        (("--shift", "1e9"), "leaves the recording"),
        (("--symbol-rate", "1e-9"), "beyond 512"),
        (("--network", "nosuch"), "nosuch"),
        (("--json", "r.sigmf-meta"), "r.sigmf-meta"),
        (("--package", "r.sigmf-meta"), "r.sigmf-meta"),
    ],
)
def test_what_does_not_fit_is_one_line(
    run: Commands, recorded: Path, words: tuple[str, ...], says: str
) -> None:
    before = recorded.read_bytes()
    done = run("classify", "r.sigmf-meta", *words)
    assert done.code == 2 and len(done.err.strip().splitlines()) == 1, done.err
    assert says in done.err
    assert recorded.read_bytes() == before


def test_wrong_recordings_are_one_line_and_leave_nothing(run: Commands, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    x = rng.uniform(-0.9, 0.9, (3000, 2)).astype(np.float32).view(np.complex64)[:, 0]
    (tmp_path / "given").mkdir()
    made = wrong_files(tmp_path / "given", x)
    (tmp_path / "given" / "fast.cs16").write_bytes(bytes(8192))
    cases = [((str(path),), says) for path, says in made.values()]
    cases.append((("given/fast.cs16", "--rate", "1e300"), "cannot be"))
    out = ("--json", "o.json", "--csv", "o.csv", "--sigmf", "o.sigmf-meta", "--report", "o.html")
    wrong = {}
    for words, says in cases:
        done = run("classify", *words, "--network", "aaronnet32++", *out)
        lines = done.err.strip().splitlines()
        if done.code != 2 or len(lines) != 1 or says not in lines[0]:
            wrong[words[0]] = done.err
    assert wrong == {}
    assert len(cases) >= 40 and [path.name for path in tmp_path.iterdir()] == ["given"]


@needs_board_env
def test_an_accelerator_gives_the_graphs_classes(
    run: Commands, recorded: Path, tmp_path: Path
) -> None:
    from deploy.board.driver import quantize
    from deploy.virtual_board.overlay import write_overlay
    from training.recordings.formats import open_recording
    from training.recordings.prepared import Preparation, Prepared

    package = make_graph_package(tmp_path / "package")
    write_overlay(package)
    done = run(
        *("classify", "r.sigmf-meta", *QPSK, "--package", "package", "--graph", "--json", "f.json")
    )
    assert done.code == 0, done.err
    answers = [row["answer"] for row in json.loads((tmp_path / "f.json").read_text())["frames"]]
    how = Preparation(shift=120_000, symbol_rate=25_000)
    blocks = list(Prepared(open_recording(recorded), how, 1024))
    frames = np.concatenate([block.frames for block in blocks]).swapaxes(1, 2)
    integers = quantize(frames, package.input).reshape(len(frames), -1)
    classes = (integers @ graph_weight()).argmax(1)
    assert answers == [CLASSES[int(c)] for c in classes] and len(set(answers)) > 1
