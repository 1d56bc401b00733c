"""Training: exact against Brevitas, exact after an interruption, honest about its input."""

import ast
import copy
import csv
import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
import torch.nn.functional as F

import aaronnet
from models import checkpoint as checkpoints
from models.checkpoint import Checkpoint
from models.config import CONFIGS, NetConfig
from models.errors import BadInput
from tests.conftest import ROOT
from tests.tiny import TINY, ready
from training.data import SyntheticData
from training.distill import Distillation
from training.module import Recipe, prunable, quarter_turns
from training.norms import BATCH, estimation_batches, mixed, reestimate_norms
from training.train import commands_after, train
from training.twin import Twin

TINY_HARDWARE = TINY.changed(block_bits=8)
TINY_VGG = NetConfig("tiny-vgg", "vgg10", (4,) * 7, 8, 8, 8, 8)
TINY_BACALHAU = NetConfig("tiny-bacalhau", "bacalhaunet", (4, 4, 6, 6, 6), 0, 6, 6, 6)
FAMILIES = [TINY, TINY_HARDWARE, TINY_VGG, TINY_BACALHAU]


pytestmark = pytest.mark.usefixtures("one_thread")


def tiny_data(batch_size: int = 32, **options) -> SyntheticData:
    return SyntheticData(
        batch_size, frames_per_epoch=128, test_frames=64, workers=0, seed=3, **options
    )


@pytest.mark.parametrize("config", FAMILIES, ids=lambda c: c.name)
def test_twin_gives_brevitas_numbers_and_gradients(config, monkeypatch):
    # tests/training/test_kernels.py compares those with torch's layers.
    monkeypatch.setattr("training.twin.fits_kernels", lambda network: False)
    # In float32 its sums round differently; the next test compares in float64.
    monkeypatch.setattr("training.twin.runs_channels_last", lambda network: False)
    network = ready(config)
    x, y = torch.randn(16, 2, 1024), torch.randint(0, 24, (16,))
    network.eval()
    assert torch.equal(network(x), Twin(network)(x))
    network.train()
    other = copy.deepcopy(network)
    F.cross_entropy(network(x), y).backward()
    F.cross_entropy(Twin(other)(x), y).backward()
    compared = 0
    for (name, expected), found in zip(network.named_parameters(), other.parameters(), strict=True):
        # What batch norm removes has a zero gradient but for rounding.
        if expected.grad.abs().max() > 1e-5:
            compared += 1
            torch.testing.assert_close(
                found.grad, expected.grad, rtol=5e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
            )
    assert compared > 10


@pytest.mark.parametrize("quantized", [False, True])
def test_channels_last_gives_the_same_gradients_and_statistics(quantized, monkeypatch):
    network = ready(TINY_VGG).double().train()
    other = copy.deepcopy(network)
    x, y = torch.randn(16, 2, 1024, dtype=torch.float64), torch.randint(0, 24, (16,))
    for kind, net in (("last", network), ("first", other)):
        if kind == "first":
            monkeypatch.setattr("training.twin.runs_channels_last", lambda network: False)
        twin = Twin(net)
        twin.quantized = quantized
        F.cross_entropy(twin(x), y).backward()
    for (name, p), q in zip(network.named_parameters(), other.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-9, atol=1e-12)
    for (name, p), q in zip(network.named_buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(p, q, msg=lambda m, n=name: f"{n}: {m}")


def test_twin_in_floating_point_is_not_quantized():
    network = ready(TINY).eval()
    twin, x = Twin(network), torch.randn(4, 2, 1024)
    quantized = twin(x)
    twin.quantized = False
    plain = twin(x)
    # A millionth of the largest weight moves a floating-point result but changes no level.
    with torch.no_grad():
        weight = network.classifier[6].weight
        weight[weight != weight.abs().max()] += 1e-6 * weight.abs().max()
    assert not torch.equal(twin(x), plain)
    twin.quantized = True
    assert torch.equal(twin(x), quantized)


def test_train_learns_and_writes_a_usable_checkpoint(tmp_path):
    recipe = Recipe(epochs=4, float_epochs=2, lr=0.02, t0=0)
    data = SyntheticData(64, frames_per_epoch=1024, test_frames=256, workers=0, min_snr=10, seed=3)
    best = train(TINY, data, tmp_path, recipe, progress=False)
    assert best.name == "best.pth"
    loaded = checkpoints.load(best.with_name("last.pth"))
    assert loaded.config == TINY
    assert loaded.data_label.startswith("synthetic")
    assert loaded.info["epochs"] == 4 and loaded.info["frames"] == 4 * 1024
    losses = [row["train_loss"] for row in loaded.info["history"]]
    assert losses[-1] < losses[0] - 0.3 < np.log(24)
    assert [row["phase"] for row in loaded.info["history"]] == ["float"] * 2 + ["quantized"] * 2
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 5
    assert list((tmp_path / "tensorboard").iterdir())


def test_the_best_epoch_is_one_of_this_run(cli, data, tmp_path):
    start, facts = tmp_path / "start.pth", tmp_path / "facts.json"
    before = {"epoch": 7, "phase": "quantized", "val_accuracy": 0.99, "frames": 128}
    info = {"data_label": "synthetic", "history": [before], "epochs": 1, "frames": 128}
    checkpoints.save(start, ready(frames=64).eval(), TINY, info)
    cli(
        *("train", start, "-o", tmp_path / "more", "--data", data, "--epochs", 2),
        *("--batch-size", 64, "--epoch-frames", 128, "--lr", 0.001, "--json", facts),
    )
    told = json.loads(facts.read_text())
    with (tmp_path / "more" / "metrics.csv").open() as file:
        best = max(csv.DictReader(file), key=lambda row: float(row["val_accuracy"]))
    assert told["best_epoch"] == int(best["epoch"])
    assert told["accuracy"] == float(best["val_accuracy"]) < 0.99


class StopAfter(lightning.Callback):
    """Ends training in the middle of an epoch, as a power cut would."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            raise RuntimeError("power cut")


def state_of(path: Path) -> dict[str, torch.Tensor]:
    return checkpoints.load(path).network.state_dict()


@pytest.mark.parametrize("ema", [None, 0.8])
def test_resumed_run_equals_an_uninterrupted_one(tmp_path, ema):
    recipe = Recipe(epochs=4, float_epochs=1, t0=2, ema=ema, weight_decay=0.01, clip=1.0)
    whole = train(TINY, tiny_data(), tmp_path / "whole", recipe, progress=False)
    for step in (2, 7, 13):  # each in another epoch of 4 steps, both phases
        with pytest.raises(RuntimeError, match="power cut"):
            train(
                TINY,
                tiny_data(),
                tmp_path / "cut",
                recipe,
                progress=False,
                callbacks=[StopAfter(step)],
            )
    parts = train(TINY, tiny_data(), tmp_path / "cut", recipe, progress=False)
    for name in ("last.pth", "best.pth"):
        expected = state_of(whole.with_name(name))
        found = state_of(parts.with_name(name))
        assert expected.keys() == found.keys()
        for key in expected:
            assert torch.equal(expected[key], found[key]), key
    again = train(TINY, tiny_data(), tmp_path / "cut", recipe, progress=False)
    assert torch.equal(next(iter(state_of(again).values())), next(iter(expected.values())))


def test_a_residual_network_trains_and_comes_back(tmp_path):
    recipe = Recipe(epochs=2, float_epochs=1)
    best = train(TINY_BACALHAU, tiny_data(), tmp_path, recipe, progress=False)
    loaded = checkpoints.load(best)
    assert loaded.config == TINY_BACALHAU
    assert loaded.network(torch.randn(3, 2, 1024)).shape == (3, 24)


def test_zeros_stay_zero(tmp_path):
    network = ready(TINY)
    with torch.no_grad():
        for _, weight in prunable(network):
            weight[torch.rand_like(weight) < 0.4] = 0
    zeros = {name: weight == 0 for name, weight in prunable(network)}
    start = Checkpoint(network, TINY, {"frames": 10, "epochs": 1})
    best = train(start, tiny_data(), tmp_path, Recipe(epochs=2, weight_decay=0.1), progress=False)
    loaded = checkpoints.load(best)
    for name, weight in prunable(loaded.network):
        assert torch.equal(weight == 0, zeros[name]), name
        assert not torch.equal(weight, dict(prunable(network))[name]) or zeros[name].all()
    assert loaded.info["epochs"] in (2, 3) and loaded.info["frames"] in (138, 266)


def test_another_runs_folder_is_refused(tmp_path):
    train(TINY, tiny_data(), tmp_path, Recipe(epochs=1), progress=False)
    with pytest.raises(BadInput, match="epochs 1 instead of 2; --no-resume"):
        train(TINY, tiny_data(), tmp_path, Recipe(epochs=2), progress=False)
    with pytest.raises(BadInput, match="seed 0 instead of 1"):
        train(TINY, tiny_data(), tmp_path, Recipe(epochs=1), seed=1, progress=False)
    train(TINY, tiny_data(), tmp_path, Recipe(epochs=2), progress=False, resume=False)
    (tmp_path / "state.ckpt").write_bytes(b"torn")
    with pytest.raises(BadInput, match="damaged"):
        train(TINY, tiny_data(), tmp_path, Recipe(epochs=2), progress=False)


def test_stops_early(tmp_path):
    best = train(TINY, tiny_data(), tmp_path, Recipe(epochs=9, stop_above=0.001), progress=False)
    assert checkpoints.load(best).info["epochs"] == 1


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"epochs": 2, "float_epochs": 3}, {"lr": 0.0}, {"ema": 1.5}, {"t0": -1}],
)
def test_recipes_out_of_range_are_refused(wrong):
    with pytest.raises(BadInput):
        Recipe(**wrong)


def test_schedule_is_cosine_with_warm_restarts():
    torch_optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(torch_optimizer, T_0=5)
    recipe = Recipe(epochs=20, lr=1.0, t0=5)
    for epoch in np.arange(0, 20, 0.25):
        theirs.step(epoch)
        assert recipe.rate(epoch) == pytest.approx(torch_optimizer.param_groups[0]["lr"])
    two = Recipe(epochs=20, lr=1.0, t0=0, float_epochs=12, quantized_lr=0.1)
    assert two.rate(0) == 1 and two.rate(6) == pytest.approx(0.5)
    assert two.rate(12) == pytest.approx(0.1) and two.rate(16) == pytest.approx(0.05)


def test_published_networks_have_a_twin():
    for config in CONFIGS.values():
        network = ready(config).eval()
        x = torch.randn(2, 2, 1024)
        with torch.inference_mode():
            assert torch.equal(network(x), Twin(network)(x))


def test_the_documented_configuration_is_one():
    page = (ROOT / "docs" / "training.md").read_text()
    (shown,) = re.findall(r'"config": (\{[^}]*\})', page)
    config = NetConfig.from_dict(ast.literal_eval(shown))
    assert config == CONFIGS["aaronnet32"]


@pytest.mark.parametrize(
    "wrong",
    [
        *({name: math.nan} for name in ("lr", "quantized_lr", "weight_decay", "clip", "ema")),
        *({name: math.inf} for name in ("lr", "quantized_lr", "weight_decay", "clip")),
        *({name: 0} for name in ("quantized_lr", "clip", "ema", "patience")),
        {"stop_above": math.nan},
        {"stop_above": 56},
        {"label_smoothing": math.nan},
    ],
)
def test_what_is_no_number_in_range_is_refused(wrong):
    with pytest.raises(BadInput):
        Recipe(**wrong)


@pytest.mark.parametrize("wrong", [{"share": 1.5}, {"share": math.nan}, {"temperature": math.inf}])
def test_distillation_out_of_range_is_refused(wrong):
    with pytest.raises(BadInput):
        Distillation(torch.nn.Identity(), **wrong)


def test_quarter_turns_are_those_of_complex_numbers():
    x = torch.randn(64, 2, 16)
    turned = quarter_turns(x, np.random.default_rng(0))
    before, after = (torch.view_as_complex(t.transpose(1, 2).contiguous()) for t in (x, turned))
    factors = after[:, :1] / before[:, :1]
    torch.testing.assert_close(after, before * factors)
    found = {complex(round(f.real), round(f.imag)) for f in factors.flatten().tolist()}
    assert found == {1, 1j, -1, -1j}
    assert torch.equal(turned, quarter_turns(x, np.random.default_rng(0)))


def test_turned_frames_are_trained_on(tmp_path):
    plain, turned = (
        checkpoints.load(
            train(
                *(TINY, tiny_data(), tmp_path / str(turns), Recipe(epochs=1, turns=turns)),
                progress=False,
            )
        )
        for turns in (None, True)
    )
    assert turned.info["recipe"]["turns"] is True
    first = [next(c.network.parameters()) for c in (plain, turned)]
    assert not torch.equal(*first)


def test_training_that_diverges_says_so(tmp_path):
    with pytest.raises(BadInput, match="diverged.*learning rate"):
        train(TINY, tiny_data(), tmp_path, Recipe(epochs=3, lr=1e30), progress=False)


def test_bad_options_of_commands_touch_nothing(data, tmp_path):
    checkpoints.save(start := tmp_path / "s.pth", ready(), TINY, {"data_label": "synthetic"})
    before = sorted(tmp_path.iterdir())
    out = tmp_path / "out"
    for command in (
        ["train", start, "--data", data, "-o", out, "--precision", "7"],
        ["train", start, "--data", data, "-o", out, "--json", start / "facts.json"],
        ["train", start, "--data", data, "-o", out, "--nodes", "2"],
        ["train", start, "--data", data, "-o", out, "--lr", "nan"],
        ["prune", start, "--data", data, "-o", out, "--target-score", "0"],
        ["prune", start, "--data", data, "-o", out, "--threshold", "56"],
        ["prune", start, "--data", data, "-o", out, "--feedback", "--percent", "0.1"],
        ["quantize", start, "--data", data, "-o", tmp_path],
        ["report", start, "--data", data, "-o", tmp_path],
    ):
        with pytest.raises(BadInput):
            aaronnet.app([str(word) for word in command], standalone_mode=False)
    assert sorted(tmp_path.iterdir()) == before


def test_a_command_is_told_once(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/bin/aaronnet", "prune", "a.pth"])
    assert commands_after({}) == "aaronnet prune a.pth"
    trained = {"command": "aaronnet train vgg10"}
    assert commands_after(trained) == "aaronnet train vgg10; aaronnet prune a.pth"
    assert commands_after({"command": commands_after(trained)}) == commands_after(trained)


def test_the_average_gets_batch_norms_of_its_own(tmp_path):
    """Those of the last batches are another network's."""
    recipe = Recipe(epochs=2, ema=0.9, lr=0.02)
    data = tiny_data()
    plain = checkpoints.load(train(TINY, data, tmp_path / "plain", recipe, progress=False))
    changed = replace(recipe, norm_frames=624)
    train(TINY, tiny_data(), tmp_path / "own", changed, progress=False)
    own = checkpoints.load(tmp_path / "own" / "last.pth")
    assert own.info["recipe"]["norm_frames"] == 624
    expected = copy.deepcopy(own.network).eval()
    reestimate_norms(expected, estimation_batches(data, 624))
    for (name, buffer), other in zip(own.network.named_buffers(), expected.buffers(), strict=True):
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(buffer, other, msg=name)
    kept = dict(plain.network.named_buffers())
    assert any(
        not torch.allclose(buffer, kept[name], rtol=0.01)
        for name, buffer in own.network.named_buffers()
        if name.endswith("running_var")
    )


def test_norms_are_estimated_on_batches_of_everything():
    """Frames of a file come class by class: a batch of one class has too small a variance."""
    frames = torch.arange(2048.0).view(-1, 1, 1).expand(-1, 2, 8)
    batches = mixed(frames).split(BATCH)
    assert torch.equal(torch.cat(batches)[:, 0, 0].sort().values, frames[:, 0, 0])
    for batch in batches:
        assert abs(batch.mean() - 1023.5) < 150
        assert batch.var() > 0.8 * frames.var()
