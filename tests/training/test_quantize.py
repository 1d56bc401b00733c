"""`aaronnet quantize`: the hardware form of a checkpoint, calibrated and fine-tuned."""

import json
from pathlib import Path

import pytest
import torch

from models import checkpoint as checkpoints
from models.cost import inference_cost
from tests.tiny import TINY, ready
from training.prune import pruned


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("start") / "start.pth"
    network = ready(frames=64).eval()
    made = checkpoints.Checkpoint(network, TINY, {"data_label": "synthetic", "command": "before"})
    checkpoints.save(path, pruned(made, 0.3).network, TINY, made.info)
    return path


@pytest.mark.parametrize("source", ["file", pytest.param("fresh frames", marks=pytest.mark.slow)])
def test_fine_tuning_keeps_zeros_and_says_how(source, data, start, cli, tmp_path):
    out, facts = tmp_path / "hw.pth", tmp_path / "facts.json"
    where = ["--data", data] if source == "file" else []
    cli(
        *("quantize", start, "-o", out, "--bits", 6, "--finetune", 2, "--epoch-frames", 512),
        *("--batch-size", 64, "--frames", 624, "--json", facts, *where),
    )
    made, before = checkpoints.load(out), checkpoints.load(start)
    assert made.config.block_bits == 6
    if source == "file":
        assert made.info["epochs"] == 2
        assert made.info["frames"] == 1024
    else:
        # What rounding makes of fresh frames decides which epoch is the best, and so the last told.
        assert made.info["epochs"] == len(made.info["history"]) in (1, 2)
        assert made.info["frames"] == 512 * made.info["epochs"]
    assert made.info["command"].startswith("before; ")
    assert "quantize" in made.info["command"]
    assert not (tmp_path / "hw.pth.finetune").exists()
    # Zeros stay zero, those that fusing put there included; the rest has moved.
    taps = made.network.state_dict()["expand.0.weight"]
    assert (taps[4:, :, :7] == 0).all()
    key = "feats.2.block.3.weight"
    weight, old = made.network.state_dict()[key], before.network.state_dict()[key]
    assert ((weight == 0) == (old == 0)).all()
    assert not torch.equal(weight, old)
    written = json.loads(facts.read_text())
    names = ("original", "6 bits", "6 bits, fine-tuned")
    original, calibrated, tuned = (written["networks"][name]["score"] for name in names)
    assert calibrated < original  # its depthwise inputs count 6 bits, not 32
    assert tuned == pytest.approx(inference_cost(made)["score"])


def test_calibration_alone_says_how_too(data, start, cli, tmp_path):
    out = tmp_path / "hw.pth"
    cli("quantize", start, "-o", out, "--frames", 624, "--data", data)
    made = checkpoints.load(out)
    assert made.config.name == "tiny-hw8"
    assert made.info["command"].startswith("before; aaronnet")
    assert "data_label" in made.info
