"""The original's command line: every flag, and the three actions on a small file."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import BadInput, CheckFailed
from tests.conftest import ROOT
from tests.tiny import weights_cost
from training.main import DATA_FILE, parser, run
from training.synthesis import write_dataset

# ../shared/facts/reference.md, "main.py flags of the original"
FLAGS = {
    "bsize": 1024,
    "lr": 0.01,
    "eps": 50,
    "t0": 5,
    "ret_ep": 2,
    "st_snr": 3,
    "dset_path": "",
    "checkpoint": "submission_unpruned.pth",
    "w_dec": 0.0,
    "nbits": 8,
    "prn_list": [],
    "prn_per": 30,
    "out_folder": "result",
    "gpu_num": 0,
    "action": 1,
}


def test_flags_and_defaults_are_the_originals():
    found = vars(parser().parse_args([]))
    assert found.pop("model") == "aaronnet32"
    assert found == FLAGS


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / DATA_FILE).parent.mkdir()
    write_dataset(folder / DATA_FILE, 4, 1, jobs=1)
    return folder


def test_train_then_prune_then_test(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # Exporting each iteration to count it takes minutes; test_prune.py does.
    monkeypatch.setattr("training.prune_run.inference_cost", weights_cost)
    common = ["--dset_path", str(folder), "--gpu_num", "-1", "--bsize", "64", "--nbits", "6"]
    run([*common, "--action", "1", "--eps", "2", "--t0", "1"])
    assert (tmp_path / "result" / "submission_unpruned.pth").is_file()
    log = (tmp_path / "result" / "log.txt").read_text()
    assert log.count("epoch ") == 2 and "from -14 dB" in log and "synthetic" in log

    prune = [*common, "--action", "2", "--prn_list", "40", "50", "--ret_ep", "1", "--t0", "1"]
    with pytest.raises(CheckFailed, match="above 0.56"):  # not in two epochs
        run(prune)
    assert sorted(p.name for p in (tmp_path / "result").glob("iteration_*.pth")) == [
        "iteration_00.pth",
        "iteration_01.pth",
    ]
    log = (tmp_path / "result" / "log.txt").read_text()
    weights = [int(count) for count in re.findall(r"nonzero weights (\d+)", log)]
    # 60 %, then half of it
    assert len(weights) == 2 and weights[1] == pytest.approx(weights[0] / 2, abs=1)

    capsys.readouterr()
    run([*common, "--action", "0", "--checkpoint", "iteration_01.pth"])
    shown = capsys.readouterr().out
    assert "over all SNRs (624 frames)" in shown
    assert shown.count(" dB: ") == 26
    counted = int(re.search(r"nonzero weights (\d+)", shown)[1])
    assert 0 < counted <= weights[1]  # what is left may still round to zero


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--st_snr", "26"], "--st_snr is an index from 0 to 25"),
        (["--action", "0"], "submission_unpruned.pth"),
        (["--action", "2", "--prn_list", "x"], "percentages"),
        (["--model", "resnet"], "unknown model"),
    ],
)
def test_bad_flags_are_refused(folder, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=message):
        run(["--dset_path", str(folder), *flags])


def test_as_a_script_bad_input_is_one_line_and_exit_code_2(tmp_path):
    command = [sys.executable, str(ROOT / "training" / "main.py"), "--dset_path", "nowhere"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nowhere" in done.stderr and len(done.stderr.splitlines()) == 1
