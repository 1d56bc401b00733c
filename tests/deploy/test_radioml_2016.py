"""RadioML 2016.10a from its frames to the RTL of either style, and a recording through it.

Run with: python -m pytest -s -m slow tests/deploy/test_radioml_2016.py
"""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import aaronnet
from deploy.board.package import read_package
from deploy.board.radioml import open_file
from models import checkpoint as checkpoints
from tests.deploy.packages import needs_board_env
from training.synthesis.radioml_2016 import CLASSES

pytestmark = pytest.mark.slow


def run(*words: object) -> str:
    """Run a command in this process; returns what it prints, raises what it raises."""
    done = CliRunner().invoke(aaronnet.app, [str(word) for word in words])
    if done.exception is not None:
        raise done.exception
    return " ".join(done.output.split())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data.h5 and hw.pth, a pruned network in hardware form."""
    folder = tmp_path_factory.mktemp("r16")
    data, out = folder / "data.h5", folder / "a"
    run("data", "synth", data, "--recipe", "2016.10a", "--frames-per-cell", 60)
    run(
        *("train", "aaronnet32", "-o", out, "--data", data, "--epochs", 6, "--float-epochs", 4),
        *("--batch-size", 128, "--filters", "18,16,16,16,16,20", "--dense", 24),
    )
    run(
        *("prune", out / "best.pth", "-o", folder / "p", "--data", data, "--steps", 50),
        *("--rounds", 1, "--t0", 1, "--threshold", 0.1, "--batch-size", 128),
    )
    run("quantize", folder / "p" / "best.pth", "--bits", 8, "-o", folder / "hw.pth", "--data", data)
    return folder


def test_it_learns_and_says_what_the_score_is_of(made: Path) -> None:
    run("test", made / "hw.pth", "--data", made / "data.h5", "--json", made / "t.json")
    facts = json.loads((made / "t.json").read_text())
    high = [a for snr, a in zip(facts["snrs"], facts["accuracy_per_snr"], strict=True) if snr > 5]
    accuracy = float(np.mean([a for a in high if a is not None]))
    print(f"\naccuracy {facts['accuracy']:.3f}, from 6 dB on {accuracy:.3f} ({facts['data']})")
    assert accuracy > 3 / len(CLASSES)
    shown = run("report", made / "hw.pth", "--data", made / "data.h5", "-o", made / "r.html")
    assert "the score is defined on RadioML 2018.01A" in shown
    assert "the score is defined on RadioML 2018.01A" in (made / "r.html").read_text()


@pytest.mark.parametrize("style", ["dense", "sparse"])
def test_both_styles_reach_rtl(made: Path, style: str) -> None:
    out = made / style
    # 33 clocks for a frame of 128 samples would be too few for 24 outputs of a dense layer.
    rate = ["--clocks", 66] if style == "sparse" else []
    how = ["--board", "ZCU104", "--to", "hdl", "--style", style, *rate]
    run("build", made / "hw.pth", *how, "-o", out)
    run("simulate", out, "--frames", 24, "--data", made / "data.h5", "--json", made / "s.json")
    assert json.loads((made / "s.json").read_text())["mismatches"] == 0
    package = read_package(out / "package")
    assert package.classes == CLASSES and package.input.frame == (128, 2)
    assert package.network.label == checkpoints.load(made / "hw.pth").data_label


@needs_board_env
@pytest.mark.parametrize("style", ["dense", "sparse"])
def test_a_recording_is_classified_alike_in_software_and_by_the_rtl(made: Path, style: str) -> None:
    package = made / style / "package"
    if not package.exists():
        pytest.skip("the build failed")
    with open_file(made / "data.h5", len(CLASSES), (128, 2)) as file:
        frames = file["X"][::331]
    samples = np.ascontiguousarray(frames.reshape(-1, 2)).view(np.complex64)[:, 0]
    recording = made / "recording.npy"
    np.save(recording, samples.reshape(len(frames), 128))
    answers = []
    for words in (("--network", made / "hw.pth"), ("--package", package, "--fast")):
        run("classify", recording, *words, "--json", made / "c.json")
        rows = json.loads((made / "c.json").read_text())["frames"]
        answers.append([row["answer"] for row in rows])
    assert answers[0] == answers[1] and len(answers[0]) == len(frames) and len(set(answers[0])) > 3
