"""`aaronnet requantize`: other bits for a trained network."""

import json
from pathlib import Path

import pytest
import torch
from brevitas.nn import QuantReLU
from torch import nn

from models import checkpoint as checkpoints
from models.bits import Bits
from models.calibrate import best_range, weight_range
from models.checkpoint import Checkpoint
from models.cost import inference_cost
from models.networks import quantized_layers
from models.quantizers import weight_levels
from tests.tiny import TINY, ready
from training.data import RadioMLData
from training.module import Recipe, prunable
from training.norms import reestimate_norms
from training.prune import pruned
from training.requantize import with_bits
from training.train import train
from training.twin import quantized_weight, step_of

LEARNED = {"scale": "channel", "steps": "learned"}


@pytest.fixture(scope="module")
def start() -> Checkpoint:
    network = ready(frames=64).eval()
    info = {"data_label": "synthetic", "command": "before", "history": []}
    return pruned(Checkpoint(network, TINY, info), 0.3)


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    return torch.randn(256, 2, 1024, generator=torch.Generator().manual_seed(5))


def test_the_command_says_what_is_left(data, start, cli, tmp_path):
    given, out, facts = tmp_path / "a.pth", tmp_path / "b.pth", tmp_path / "facts.json"
    bits = tmp_path / "bits.yaml"
    bits.write_text("{weights: 4, relus: 5, blocks: 6, scale: channel, steps: learned}")
    checkpoints.save(given, start.network, start.config, start.info)
    done = cli(
        *("requantize", given, "--bits", bits, "-o", out, "--data", data, "--json", facts),
        *("--norm-frames", 512),
    )
    made, told = checkpoints.load(out), json.loads(facts.read_text())
    assert made.config.name == "tiny-w4" and made.config.block_bits == 6
    assert told["score"] == pytest.approx(inference_cost(made).score)
    assert told["score_before"] == pytest.approx(inference_cost(start).score)
    assert f"{told['accuracy']:.2%}" in done.stdout and f"{told['score']:.6f}" in done.stdout
    assert made.info["accuracy"] == told["accuracy"]
    assert made.info["accuracy_before"] == told["accuracy_before"]
    assert made.info["requantized_from"] == checkpoints.load(given).info["sha256"]
    assert made.info["command"].startswith("before; aaronnet.py requantize")


def test_a_fresh_network_learns_its_weight_steps(data, tmp_path):
    config = TINY.changed(
        block_bits=5, weight_scale="channel", weight_steps="learned", layer_bits={"expand.0": 4}
    )
    best = train(
        *(config, RadioMLData(data, 64), tmp_path / "out", Recipe(epochs=1, lr=0.01)),
        batches_per_epoch=3,
        progress=False,
        accelerator="cpu",
    )
    made = checkpoints.load(best)
    assert made.config == config
    for name, layer in quantized_layers(made.network).items():
        if hasattr(layer, "weight_quant"):
            # Fitted to the weights first, and then trained: neither 1, where they begin, nor still.
            value = layer.weight_quant.tensor_quant.scaling_impl.value
            largest = layer.weight.abs().max()
            assert (value != 1).all() and value.abs().max() < 1.5 * largest, name


def test_bits_that_do_not_fit_are_refused_before_any_work(start, refused, data, tmp_path):
    given, bits = tmp_path / "a.pth", tmp_path / "bits.yaml"
    checkpoints.save(given, start.network, start.config, start.info)
    bits.write_text("layers: {feats.7.block.0: 4}")
    told = refused("requantize", given, "--bits", bits, "-o", tmp_path / "b.pth", "--data", data)
    assert "has no layer 'feats.7.block.0'" in told
    assert not (tmp_path / "b.pth").exists()


def test_zeros_stay_and_activations_never_grow(start, frames):
    made = with_bits(start, Bits(weights=3, relus=3, blocks=4, **LEARNED), frames, 64)
    zeros = {name: weight == 0 for name, weight in prunable(start.network)}
    for name, weight in prunable(made.network):
        if name in zeros:
            assert not weight[zeros[name]].any() and weight.any()
    paper, hardware = (quantized_layers(c.network) for c in (start, made))
    for name, layer in hardware.items():
        if isinstance(layer, QuantReLU) and name in paper:
            assert step_of(layer).abs() <= step_of(paper[name]).abs()
    for name, layer in hardware.items():
        if hasattr(layer, "weight_quant"):
            integers = layer.quant_weight().int()
            low, high = weight_levels(layer)
            assert low <= integers.min() and integers.max() <= high <= 3, name


def test_more_bits_come_closer(start, frames):
    wanted = start.network(frames[:64])
    errors = []
    for bits in (2, 4, 8):
        made = with_bits(start, Bits(weights=bits, **LEARNED), frames, 0)
        errors.append((made.network(frames[:64]) - wanted).square().mean())
    assert errors[0] > 4 * errors[1] and errors[0] > 4 * errors[2]


def test_the_same_frames_give_the_same_network(start, frames):
    """The file is written once, at the end: whatever interrupts, again gives the same."""
    bits = Bits(weights=3, relus=3, blocks=4, **LEARNED)
    one, other = (with_bits(start, bits, frames, 64).network.state_dict() for _ in range(2))
    assert all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("by_channel", [True, False])
def test_weight_ranges_have_the_least_squared_error(start, frames, by_channel):
    scale = "channel" if by_channel else "tensor"
    made = with_bits(start, Bits(weights=3, scale=scale, steps="learned"), frames, 0)
    layer = made.network.feats[1].block[3]
    with torch.no_grad():
        layer.weight.normal_().pow_(3)
        layer.weight[0] = 0
    scaling = layer.weight_quant.tensor_quant.scaling_impl

    def error(ranges: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            scaling.value.copy_(ranges)
            off = (quantized_weight(layer)[0] - layer.weight).square()
        return off.flatten(1).sum(1) if by_channel else off.sum()

    best = weight_range(layer, by_channel)
    assert (best > 0).all()
    largest = layer.weight.detach().abs().amax((1, 2), keepdim=True)
    largest = largest.clamp_min(1e-3) if by_channel else largest.max()
    grid = torch.stack([error(largest * part / 200) for part in range(1, 201)]).amin(0)
    assert (error(best) <= 1.1 * grid + 1e-9).all(), "far from an exhaustive search"


def test_best_range_of_clipped_values_never_grows():
    values = torch.rand(2, 5000) * torch.tensor([[1.0], [9.0]])
    found = best_range(values, torch.tensor([2.0, 2.0]), 0, 15)
    assert (found <= 2).all() and found[0] < 1.1


def test_norms_become_those_of_the_frames(start, frames):
    made = with_bits(start, Bits(weights=3, **LEARNED), frames, 0)
    norms = [m for m in made.network.modules() if isinstance(m, nn.BatchNorm1d)]
    seen: list[torch.Tensor] = []
    hook = norms[0].register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    made.network(frames[:64])
    hook.remove()
    norms[0].running_mean += 7
    norms[0].running_var *= 3
    reestimate_norms(made.network, frames[:64].split(16))
    torch.testing.assert_close(norms[0].running_mean, seen[0].mean((0, 2)), rtol=1e-3, atol=1e-4)
    batches = torch.stack([part.transpose(0, 1).flatten(1).var(1) for part in seen[0].split(16)])
    torch.testing.assert_close(norms[0].running_var, batches.mean(0), rtol=1e-3, atol=1e-5)
    assert norms[0].momentum == 0.1 and not made.network.training


@pytest.mark.parametrize(
    ("bits", "score"),
    [pytest.param(b, s, marks=pytest.mark.slow) for b, s in ((6, 0.0133), (5, 0.0103))]
    + [(4, 0.0076)]
    + [pytest.param(3, 0.0052, marks=pytest.mark.slow)],
)
def test_uniform_bits_cost_what_was_measured(bits, score, published, frames):
    """Rounding zeros counted or not differ little; measured with weights by channel."""
    start = checkpoints.load(published("AaronNet32plusplus"))
    same = Bits(input=bits, weights=bits, relus=bits, blocks=bits, **LEARNED)
    made = with_bits(start, same, frames[:64], 0)
    assert inference_cost(made).score == pytest.approx(score, abs=0.00006)


@pytest.mark.slow
def test_two_bits_cost_less_still_for_weights_that_round_to_zero(published, frames):
    """Every weight counted, 2 bits throughout are .0032: some of ours are zero then."""
    start = checkpoints.load(published("AaronNet32plusplus"))
    same = Bits(input=2, weights=2, relus=2, blocks=2, **LEARNED)
    cost = inference_cost(with_bits(start, same, frames[:64], 0))
    left = cost.nonzero_weights / inference_cost(start).nonzero_weights
    assert left < 0.95
    assert cost.score == pytest.approx(0.0032 * left, abs=0.00006)


@pytest.mark.slow
def test_batch_norm_is_worth_points_at_four_bits(published, shared, tmp_path, cli):
    """Published 32++ on fresh frames: 16 % of points lost at 4-ish bits, a third back by norms."""
    data = tmp_path / "data.h5"
    cli("data", "synth", data, "--frames-per-cell", 64, "--seed", 777)
    bits, accuracies = tmp_path / "bits.yaml", {}
    bits.write_text("{input: 4, weights: 4, relus: 5, blocks: 6, scale: channel, steps: learned}")
    for norms in (0, 1 << 14):
        facts = tmp_path / f"{norms}.json"
        cli(
            *("requantize", published("AaronNet32plusplus"), "--bits", bits, "--data", data),
            *("-o", tmp_path / f"{norms}.pth", "--norm-frames", norms, "--json", facts),
        )
        told = json.loads(Path(facts).read_text())
        accuracies[norms] = told["accuracy"]
    assert told["accuracy_before"] > 0.55
    assert accuracies[1 << 14] > accuracies[0] + 0.01
    assert accuracies[1 << 14] > 0.5
    assert told["score"] == pytest.approx(0.0080, abs=0.00006)
