import copy
from pathlib import Path

import pytest
import torch
from brevitas.nn import QuantConv1d, QuantLinear

from models import checkpoint
from models.calibrate import best_ranges, calibrate, weight_range
from models.checkpoint import Checkpoint
from models.config import named_config
from models.errors import BadInput
from models.fuse import fuse, to_hardware
from models.hardware import MaskedQuantConv1d, branch_mask, scaled_norm, taps_mask
from models.networks import build_network

PUBLISHED = Path("../shared/checkpoints")


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    return torch.randn(48, 2, 1024, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def paper(frames) -> Checkpoint:
    """A network whose branches' steps and batch norms all differ, some weights pruned."""
    return random_paper(frames)


def random_paper(frames: torch.Tensor, **changes) -> Checkpoint:
    """Return such a network; `changes` are the configuration's."""
    torch.manual_seed(1)
    config = named_config("aaronnet32").changed(filters=(12, 8, 10, 8, 8, 10), dense=12, **changes)
    network = build_network(config)
    with torch.no_grad():
        for index, branch in enumerate(network.expand.children()):
            branch[0].weight *= 1 + index
            branch[3].weight *= 3 - index
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.weight.uniform_(0.3, 3).mul_(torch.randn_like(module.weight).sign())
                module.bias.normal_()
            if isinstance(module, QuantConv1d):
                module.weight *= torch.rand_like(module.weight) > 0.3
                if changes:
                    module.weight[0] = 0  # a channel without a weight
            if isinstance(module, QuantConv1d | QuantLinear) and "weight_steps" in changes:
                scaling = module.weight_quant.tensor_quant.scaling_impl
                scaling.value.copy_(weight_range(module, scaling.value.ndim > 0))
        for batch in frames.split(16):
            network.train()(batch)
    return Checkpoint(network.eval(), config, {"data_label": "random"})


def integers(layer: QuantConv1d) -> torch.Tensor:
    return layer.quant_weight().int()


def check_exact(published: Checkpoint, frames: torch.Tensor) -> None:
    """In float64, since float32 rounds an activation at a threshold now up, now down."""
    wanted = copy.deepcopy(published.network).double()(frames.double())
    fused = fuse(published, block_bits=8).network.double()
    block_quantizers = [stage[5].act_quant for stage in fused.stages]
    for quantizer in block_quantizers:
        quantizer.disable_quant = True
    ours = fused(frames.double())
    for quantizer in block_quantizers:
        quantizer.disable_quant = False
    assert (ours - wanted).abs().max() <= 1e-9 * wanted.abs().max()
    assert (fused(frames.double()) - ours).abs().max() > 1e-3, "the block quantizers do nothing"


@torch.no_grad()
def test_fused_network_computes_the_same(paper, frames):
    check_exact(paper, frames)


@torch.no_grad()
@pytest.mark.parametrize(
    "changes",
    [
        {"weight_scale": "channel"},
        {"weight_steps": "learned", "weight_bits": 4},
        {"weight_steps": "learned", "weight_scale": "channel", "weight_bits": 3, "narrow": False},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_other_weight_steps_fuse_exactly_too(changes, frames):
    made = random_paper(frames, **changes)
    check_exact(made, frames)
    check_integers(made)


def test_branches_of_other_bits_are_refused(frames):
    made = random_paper(frames, layer_bits={"expand.branch2.2": 4})
    with pytest.raises(BadInput, match="give them the same bits"):
        fuse(made, 8)


def test_fused_weights_are_the_branches_integers(paper):
    check_integers(paper)


def check_integers(paper: Checkpoint) -> None:
    expand = fuse(paper, block_bits=8).network.expand
    parts = integers(expand[0]).chunk(3)
    blocks = integers(expand[3]).squeeze(-1)
    for index, branch in enumerate(paper.network.expand.children()):
        margin = (32 - branch[0].kernel_size[0]) // 2
        inner = parts[index][..., margin : 32 - margin]
        assert torch.equal(inner, integers(branch[0]))
        assert parts[index].count_nonzero() == inner.count_nonzero()
        rows = slice(4 * index, 4 * index + 4)
        assert torch.equal(blocks[rows, rows], integers(branch[3]).squeeze(-1))
    assert blocks.count_nonzero() == sum(
        integers(branch[3]).count_nonzero() for branch in paper.network.expand.children()
    )


def test_structural_zeros_survive_training(paper, frames):
    network = fuse(paper, block_bits=6).network.train()
    before = [network.expand[layer].weight.detach().clone() for layer in (0, 3)]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        network(frames[:8]).square().mean().backward()
        optimizer.step()
    for layer, mask, old in zip((0, 3), (taps_mask(12), branch_mask(12)), before, strict=True):
        weight = network.expand[layer].weight.detach()
        assert isinstance(network.expand[layer], MaskedQuantConv1d)
        assert not weight[mask == 0].any()
        assert (weight != old)[mask == 1].float().mean() > 0.9


def test_masks_have_the_papers_weights():
    assert taps_mask(33).sum() == 11 * 2 * (32 + 26 + 18)
    assert branch_mask(33).sum() == 3 * 11 * 11


def test_scaled_norm_undoes_the_scaling_of_its_inputs(frames):
    torch.manual_seed(2)
    norm = torch.nn.BatchNorm1d(2)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
        norm.running_mean.normal_()
        norm.running_var.uniform_(1e-7, 1)
    other = torch.nn.BatchNorm1d(2)
    factor = torch.tensor([0.01, 30.0])
    other.load_state_dict(scaled_norm(norm, inputs=factor, outputs=2.0))
    norm.eval(), other.eval()
    with torch.no_grad():
        scaled = other(frames * factor[:, None])
        assert torch.allclose(scaled, 2 * norm(frames), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("bits", "part"), [(4, 0.6), (6, 0.8), (8, 1.0)])
def test_best_ranges_beat_max_abs_on_long_tails(bits, part):
    values = torch.randn(3, 20_000, generator=torch.Generator().manual_seed(3)) ** 3
    values[2] = 0

    def error(ranges: torch.Tensor) -> torch.Tensor:
        levels = 2 ** (bits - 1)
        step = ranges[:, None] / levels
        rounded = (values / step).round().clamp(-levels, levels - 1) * step
        return (rounded - values).square().mean(dim=1)

    found = best_ranges(values, bits)
    largest = values.abs().amax(dim=1)
    assert (found[:2] < largest[:2]).all() and found[2] == 1
    assert (error(found)[:2] < part * error(largest)[:2]).all()
    grid = torch.stack([error(largest * step / 300 + 1e-9) for step in range(1, 301)]).amin(dim=0)
    assert (error(found)[:2] <= 1.1 * grid[:2]).all(), "far from an exhaustive search"


@torch.no_grad()
def test_calibration_uses_the_whole_range_of_every_channel(paper, frames):
    network = to_hardware(paper, 8, frames).network
    outputs = network.expand(network.quantize(frames))
    steps = (outputs * 128).round()
    assert torch.equal(steps / 128, outputs), "values are multiples of 2^-7"
    assert (steps.abs().amax(dim=(0, 2)) > 64).all(), "a channel wastes a bit of its range"


@torch.no_grad()
def test_more_bits_come_closer(paper, frames):
    wanted = paper.network(frames)
    errors = []
    for bits in (4, 8, 12):
        fused = to_hardware(paper, bits, frames)
        assert fused.config.block_bits == bits and fused.config.hardware_form
        errors.append((fused.network(frames) - wanted).square().mean().sqrt() / wanted.std())
    assert errors[0] > 2 * errors[1] and errors[2] < errors[1] < 0.1


@torch.no_grad()
def test_calibration_beats_an_uncalibrated_quantizer(paper, frames):
    wanted = paper.network(frames)
    plain, calibrated = fuse(paper, 6), fuse(paper, 6)
    calibrate(calibrated.network, frames)

    def error(network: torch.nn.Module) -> float:
        return (network(frames) - wanted).square().mean().item()

    assert error(calibrated.network) < 0.5 * error(plain.network)


@torch.no_grad()
def test_hardware_form_saves_and_loads(paper, frames, tmp_path):
    made = to_hardware(paper, 6, frames)
    checkpoint.save(tmp_path / "hw.pth", made.network, made.config, made.info)
    loaded = checkpoint.load(tmp_path / "hw.pth")
    assert loaded.config == made.config and loaded.data_label == "random"
    assert torch.equal(loaded.network(frames), made.network(frames))


def test_vgg10_is_hardware_form_already(frames):
    config = named_config("vgg10")
    given = Checkpoint(build_network(config).eval(), config)
    assert to_hardware(given, 8, frames) is given


def test_other_bits_need_the_paper_form(paper, frames):
    made = to_hardware(paper, 6, frames)
    assert to_hardware(made, 6, frames) is made
    with pytest.raises(BadInput, match="6 bits already"):
        to_hardware(made, 8, frames)


@torch.no_grad()
@pytest.mark.parametrize("name", ["AaronNet32", "AaronNet32plusplus"])
def test_published_checkpoints_fuse_exactly(name, frames):
    path = PUBLISHED / f"{name}.pth"
    if not path.exists():
        pytest.skip("published checkpoints are not here")
    check_exact(checkpoint.load(path), frames)
