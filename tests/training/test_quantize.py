"""`aaronnet quantize`: the hardware form of a checkpoint, calibrated and fine-tuned."""

import json
from pathlib import Path

import pytest
import torch

from models import checkpoint as checkpoints
from models.config import NetConfig
from models.cost import inference_cost
from models.errors import BadInput
from models.files import sha256
from tests.tiny import TINY, ready
from training.data import SyntheticData
from training.evaluate import Evaluation
from training.module import Recipe
from training.prune import pruned
from training.quantize import quantize


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
        *("quantize", start, "-o", out, "--bits", 6, "--finetune", 2, "--epoch-frames", 2048),
        *("--batch-size", 64, "--lr", 0.01, "--frames", 624, "--json", facts, *where),
    )
    written = json.loads(facts.read_text())
    made, before = checkpoints.load(out), checkpoints.load(start)
    assert made.config.block_bits == 6
    assert written["kept"] == "6 bits, fine-tuned"  # the start has learnt nothing
    if source == "file":
        assert written["chosen_on"] == "561 training frames kept for validation"
    assert made.info["chosen_on"] == written["chosen_on"]
    # Whichever epoch was the best is the last one told.
    assert made.info["epochs"] == len(made.info["history"]) in (1, 2)
    assert made.info["frames"] == 2048 * made.info["epochs"]
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
    names = ("original", "6 bits", "6 bits, fine-tuned")
    original, calibrated, tuned = (written["networks"][name]["score"] for name in names)
    assert calibrated < original  # its depthwise inputs count 6 bits, not 32
    assert tuned == pytest.approx(inference_cost(made).score)


VGG = NetConfig("tiny-vgg", "vgg10", (4,) * 7, 8, 8, 8, 8)


@pytest.mark.parametrize("better", ["calibrated", "fine-tuned"])
def test_the_better_one_is_kept(better, start, tmp_path, monkeypatch):
    def judged(network, source, split="test", **_):
        tuned = "recipe" in network.info
        good = tuned == (better == "fine-tuned")
        # The test split is of the other opinion.
        right = 0.4 if good == (split == "validation") else 0.3
        right, label = 0.5 if network.config == TINY else right, network.data_label
        return Evaluation(right, 1, split, "", label, "synthetic", [10], [right], [], [], [], [])

    monkeypatch.setattr("training.quantize.evaluate", judged)
    source = SyntheticData(32, frames_per_epoch=64, test_frames=32, workers=0)
    out = tmp_path / "hw.pth"
    result = quantize(
        *(checkpoints.load(start), source, out, 8),
        frames=624,
        finetuning=Recipe(1, lr=0.001),
    )
    made = checkpoints.load(out)
    assert (result.kept.chosen_by, result.kept.evaluation.accuracy) == (0.4, 0.3)
    assert ("fine-tuned" in result.kept.name) == (better == "fine-tuned")
    assert ("recipe" in made.info) == (better == "fine-tuned")
    assert made.info["accuracy"] == 0.4
    assert made.info["chosen_on"] == "32 frames drawn for validation"
    assert made.info["quantized_from"] == sha256(start)
    assert [path.name for path in tmp_path.iterdir()] == ["hw.pth"]


def test_what_is_in_hardware_form_already_is_copied(cli, refused, data, tmp_path):
    start, out = tmp_path / "vgg.pth", tmp_path / "out.pth"
    checkpoints.save(start, ready(VGG, frames=64).eval(), VGG, {"data_label": "synthetic"})
    cli("quantize", start, "-o", out, "--data", data, "--json", tmp_path / "facts.json")
    made, before = checkpoints.load(out), checkpoints.load(start)
    for key, value in before.network.state_dict().items():
        assert torch.equal(value, made.network.state_dict()[key])
    assert "calibrated_on" not in made.info  # nothing was
    assert made.info["quantized_from"] == sha256(start)
    assert list(json.loads((tmp_path / "facts.json").read_text())["networks"]) == [
        "original",
        "unchanged",
    ]
    written = out.read_bytes()
    told = refused("quantize", start, "-o", out, "--data", data, "--finetune", 1)
    assert "hardware form already" in told
    assert out.read_bytes() == written


def test_a_foreign_folder_beside_the_result_stays(start, tmp_path):
    theirs = tmp_path / "hw.pth.finetune"
    theirs.mkdir()
    (theirs / "best.pth").write_text("not ours")
    source = SyntheticData(32, frames_per_epoch=64, test_frames=32, workers=0)
    with pytest.raises(BadInput, match="was not made by a run"):
        quantize(
            *(checkpoints.load(start), source, tmp_path / "hw.pth", 8),
            frames=624,
            finetuning=Recipe(1, lr=0.001),
        )
    quantize(checkpoints.load(start), source, tmp_path / "hw.pth", 8, frames=624)
    assert (theirs / "best.pth").read_text() == "not ours"


def test_friendly_scales_outlive_fine_tuning(start, tmp_path, cli, data, refused):
    from models.friendly import make_friendly

    out = tmp_path / "hw.pth"
    done = cli(
        *("quantize", start, "-o", out, "--friendly-scales", "--finetune", 1, "--lr", 0.01),
        *("--epoch-frames", 512, "--batch-size", 64, "--frames", 624, "--data", data),
    )
    assert "without training" not in done.stderr
    made = checkpoints.load(out)
    assert made.info["friendly_scales"] is True
    kept = {key: value.clone() for key, value in made.network.state_dict().items()}
    make_friendly(made.network)
    for key, value in made.network.state_dict().items():  # they were friendly already
        torch.testing.assert_close(value, kept[key], rtol=1e-5, atol=1e-6, msg=key)
    vgg = tmp_path / "vgg.pth"
    checkpoints.save(vgg, ready(VGG, frames=64).eval(), VGG, {"data_label": "synthetic"})
    told = refused("quantize", vgg, "-o", out, "--friendly-scales", "--data", data)
    assert "no AaronNet" in told


def test_calibration_alone_says_how_too(data, start, cli, tmp_path):
    out = tmp_path / "hw.pth"
    cli("quantize", start, "-o", out, "--frames", 624, "--data", data)
    made = checkpoints.load(out)
    assert made.config.name == "tiny-hw8"
    assert made.info["command"].startswith("before; aaronnet")
    assert "data_label" in made.info
