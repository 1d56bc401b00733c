"""Training in several processes, and killed ones: whole runs in processes of their own."""

import csv
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from models import checkpoint as checkpoints
from models.networks import build_network
from tests.conftest import ROOT
from tests.tiny import TINY
from training.twin import initialise_ranges

pytestmark = pytest.mark.slow


TRAIN = """
import json, sys
import torch
torch.set_num_threads(1)
from models import checkpoint
from models.config import NetConfig
from training.data import RadioMLData
from training.module import Recipe
from training.plans import FixedSteps
from training.prune_run import Retraining, prune
from training.train import train
from tests.tiny import TINY

kind, data, out, start, batch, devices, precision = sys.argv[1:]
source = RadioMLData(data, int(batch), min_snr=0, seed=1)
if kind == "train":
    recipe = Recipe(epochs=6, float_epochs=2, t0=2, lr=0.0005)
    train(TINY, source, out, recipe, devices=int(devices), precision=precision, progress=False,
          accelerator="cpu")
else:
    prune(checkpoint.load(start), source, out, FixedSteps((0.3, 0.3, 0.3)),
          Retraining(rounds=2, t0=1), progress=False, accelerator="cpu")
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("start") / "start.pth"
    network = build_network(TINY)
    initialise_ranges(network)
    checkpoints.save(path, network, TINY, {"data_label": "synthetic", "accuracy": 0.04})
    return path


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **more}


def arguments(
    kind: str, data: Path, out: Path, start: Path, batch: int, devices: int = 1,
    precision: str = "32-true",
) -> list[str]:  # fmt: skip
    return [kind, *map(str, (data, out, start, batch, devices, precision))]


def command(*given, **more) -> list[str]:
    return [sys.executable, "-W", "ignore", "-c", TRAIN, *arguments(*given, **more)]


def history(out: Path) -> list[dict[str, str]]:
    """The run's rows; a checkpoint in 64 bits is none that commands take."""
    with (out / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def losses(out: Path) -> list[float]:
    return [float(row[key]) for key in ("train_loss", "val_loss") for row in history(out)]


# In the quantized phase of 32 bits activations fall on other sides of rounding thresholds by the
# last bit, which hands the gradient to others, and an untrained network amplifies that.
@pytest.mark.parametrize(
    ("precision", "float_noise", "noise"), [("64-true", 1e-9, 1e-4), ("32-true", 1e-4, 2e-2)]
)
def test_two_processes_equal_one_with_the_double_batch(
    precision, float_noise, noise, data, start, tmp_path
):
    one = command("train", data, tmp_path / "one", start, 128, precision=precision)
    subprocess.run(one, env=environment(), check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = tmp_path / "script.py"
    script.write_text(TRAIN)
    two = arguments("train", data, tmp_path / "two", start, 64, 2, precision)
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *("--master-addr", "127.0.0.1", "--master-port", str(port), str(script), *two),
        ],
        env=environment(),
        check=True,
    )
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    # Two of six epochs run in floating point.
    assert [*two[:2], *two[6:8]] == pytest.approx([*one[:2], *one[6:8]], rel=float_noise)
    assert two == pytest.approx(one, rel=noise)
    frames = [[row["frames"] for row in history(tmp_path / name)] for name in ("one", "two")]
    assert frames[0] == frames[1]


@pytest.mark.parametrize("kind", ["train", "prune"])
def test_killed_ten_times_ends_like_an_uninterrupted_run(kind, data, start, tmp_path):
    began = time.monotonic()
    whole = command(kind, data, tmp_path / "whole", start, 64)
    subprocess.run(whole, env=environment(), check=True)
    duration = time.monotonic() - began
    killed, random_moments = 0, random.Random(1)
    cut = command(kind, data, tmp_path / "cut", start, 64)
    for _ in range(10):
        process = subprocess.Popen(cut, env=environment(), start_new_session=True)
        try:
            process.wait(random_moments.uniform(0.2, 1.0) * duration)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    subprocess.run(cut, env=environment(), check=True)
    assert killed > 0
    names = (
        ["last.pth", "best.pth"] if kind == "train" else [f"iteration_0{i}.pth" for i in range(3)]
    )
    for name in names:
        one, other = (checkpoints.load(tmp_path / f / name) for f in ("whole", "cut"))
        assert one.info["accuracy"] == other.info["accuracy"]
        for key, value in one.network.state_dict().items():
            assert torch.equal(value, other.network.state_dict()[key]), key
    if kind == "prune":
        tables = [json.loads((tmp_path / f / "prune.json").read_text()) for f in ("whole", "cut")]
        assert tables[0] == tables[1]
