"""`aaronnet search`: steps measured, the cheapest loss first, interrupted and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from models import checkpoint as checkpoints
from models.bits import read_bits
from models.checkpoint import Checkpoint
from models.cost import inference_cost
from models.errors import BadInput
from tests.conftest import ROOT
from tests.tiny import TINY, ready
from training import search as searching
from training.data import RadioMLData
from training.prune import pruned
from training.search import MEASURED, Search, _weighted, search
from training.twin import quantized_weight


@pytest.fixture(scope="module")
def start() -> Checkpoint:
    network = ready(TINY.changed(block_bits=6), frames=64).eval()
    made = Checkpoint(network, TINY.changed(block_bits=6), {"data_label": "synthetic"})
    return pruned(made, 0.4)


@pytest.fixture
def source(data):
    made = RadioMLData(data, 64, validation=96)
    made.setup()
    return made


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(searching, "NORM_FRAMES", 64)
    monkeypatch.setattr(searching, "FRAMES", 64)
    # A few layers only: weights, activations and the input.
    moves = Search.moves
    few = {"expand.0", "feats.1.block.2", "classifier.1.0", "input"}
    monkeypatch.setattr(
        Search, "moves", lambda self, state: (m for m in moves(self, state) if m.layer in few)
    )


def contents(folder):
    return {
        name: (folder / name).read_bytes()
        for name in ("trace.csv", "bits.yaml", MEASURED, "frontier.png")
    }


def test_a_search_ends_below_its_target_and_goes_on_where_it_was_stopped(
    start, source, tmp_path, monkeypatch
):
    target = 0.985 * inference_cost(start).score
    rows = search(start, source, tmp_path / "whole", target, frames=96)
    assert rows[-1].score <= target < rows[-2].score
    assert all(a.score > b.score for a, b in zip(rows, rows[1:], strict=False))
    made = checkpoints.load(tmp_path / "whole" / "best.pth")
    # The count by layer is the official one.
    cost = inference_cost(made)
    assert cost.score == pytest.approx(rows[-1].score, rel=1e-9)
    assert cost.nonzero_weights == rows[-1].nonzero_weights
    # Training on, none comes back: what is rounded to zero is zero.
    for _, layer in _weighted(made.network):
        assert torch.equal(layer.weight == 0, quantized_weight(layer)[0] == 0)
    again = read_bits(str(tmp_path / "whole" / "bits.yaml"), start.config).of(start.config)
    assert again.changed(name=made.config.name) == made.config
    trace = json.loads((tmp_path / "whole" / "trace.json").read_text())
    assert [row["score"] for row in trace["steps"]] == [row.score for row in rows]

    # The same, stopped twice, once in the middle of a line.
    count, network = 0, Search.network

    def stopping(self, state):
        nonlocal count
        count += 1
        if count in (3, 9):
            raise KeyboardInterrupt
        return network(self, state)

    monkeypatch.setattr(Search, "network", stopping)
    out = tmp_path / "cut"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            search(start, source, out, target, frames=96)
        with (out / MEASURED).open("a") as file:
            file.write('["torn')
    search(start, source, out, target, frames=96)
    assert contents(out) == contents(tmp_path / "whole")
    one, other = (checkpoints.load(tmp_path / f / "best.pth") for f in ("whole", "cut"))
    for key, value in one.network.state_dict().items():
        assert torch.equal(value, other.network.state_dict()[key]), key
    with pytest.raises(BadInput, match="holds a run with target"):
        search(start, source, out, 0.9 * target, frames=96)


def test_the_step_that_loses_least_a_score_is_taken_first(start, source, tmp_path):
    rows = search(start, source, tmp_path / "out", 0.999 * inference_cost(start).score, frames=96)
    found = Search(start, source, 96, 0, tmp_path / "out" / MEASURED)
    first = found.first()
    here = found.measure(first)
    prices = {}
    for move in found.moves(first):
        after = found.measure(move.of(first))
        if after.score < here.score:
            lost = here.probability - after.probability
            prices[move] = lost / (here.score - after.score)
    best = min(prices, key=lambda move: prices[move])
    assert rows[1].layer == best.layer


@pytest.mark.parametrize("target", [0.0, -1.0, float("nan"), 5.0])
def test_a_target_that_is_none_is_refused(target, start, source, tmp_path):
    with pytest.raises(BadInput, match="a target lies below that"):
        search(start, source, tmp_path / "out", target)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_killed_searches_end_like_an_uninterrupted_one(start, data, tmp_path):
    given = tmp_path / "a.pth"
    checkpoints.save(given, start.network, start.config, start.info)
    target = 0.95 * inference_cost(start).score

    def command(out):
        return [
            *(sys.executable, "aaronnet.py", "search", given, "-o", tmp_path / out),
            *("--target-score", str(target), "--data", data, "--frames", "96"),
        ]

    how = {"cwd": ROOT, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    began = time.monotonic()
    subprocess.run(command("whole"), check=True, **how)
    duration = time.monotonic() - began
    killed = 0
    for part in (0.5, 0.7, 0.9):
        process = subprocess.Popen(command("cut"), start_new_session=True, **how)
        try:
            process.wait(part * duration)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    subprocess.run(command("cut"), check=True, **how)
    assert killed
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
