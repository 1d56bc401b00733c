"""The compiled layers compute what torch's compute."""

import copy
import statistics

import pytest
import torch
import torch.nn.functional as F

from models.config import CONFIGS, NetConfig
from tests.tiny import ready
from training import kernels
from training.twin import Twin, fits_kernels

# Widths on both sides of a vector's 16, and uneven ones.
UNEVEN = NetConfig("uneven", "aaronnet", (27, 17, 16, 5, 33, 40), 8, 6, 6, 6)
# The hardware form, with bits by layer and a learned step a channel.
MIXED = UNEVEN.changed(
    name="mixed",
    block_bits=6,
    weight_scale="channel",
    weight_steps="learned",
    layer_bits={"expand.0": 4, "expand.2": 5, "feats.1.block.5": 4, "classifier.1.6": 3},
)

needs_compiler = pytest.mark.skipif(kernels.library() is None, reason="no g++ here")


@needs_compiler
@pytest.mark.parametrize("config", [CONFIGS["aaronnet32"], UNEVEN, MIXED], ids=lambda c: c.name)
# Both at once is the next test's.
@pytest.mark.parametrize(("training", "quantized"), [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("threads", [1, 2])
def test_outputs_and_gradients_equal_torchs(config, training, quantized, threads, monkeypatch):
    network = ready(config).train(training).double().float()
    assert fits_kernels(network)
    x, y = torch.randn(5, 2, 1024), torch.randint(0, 24, (5,))

    def run(network, with_kernels):
        with monkeypatch.context() as patch:
            if not with_kernels:
                patch.setattr("training.twin.fits_kernels", lambda network: False)
            twin = Twin(network)
            twin.quantized = quantized
            scores = twin(x)
        F.cross_entropy(scores, y).backward()
        return scores.detach()

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        plain = copy.deepcopy(network)
        found, expected = run(network, True), run(plain, False)
    finally:
        torch.set_num_threads(before)
    for (name, buffer), other in zip(network.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(buffer, other, rtol=1e-3, atol=1e-3, msg=lambda m, n=name: n + m)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    if quantized and config is MIXED:
        # Of values that are equal once quantized, the kernels' pooling takes the one that was the
        # largest before, torch's the first. Layer by layer the gradients are exact (below).
        return
    compared = 0
    for (name, parameter), other in zip(
        network.named_parameters(), plain.parameters(), strict=True
    ):
        # In floating point the ranges get no gradient; what batch norm removes gets only noise.
        if other.grad is None or other.grad.norm() < 1e-3:
            continue
        compared += 1
        error = (parameter.grad - other.grad).norm() / other.grad.norm()
        assert error < (0.02 if quantized else 2e-3), f"{name}: {error}"
    assert compared > 20


@needs_compiler
@pytest.mark.parametrize("config", [CONFIGS["aaronnet32"], UNEVEN], ids=lambda c: c.name)
def test_quantized_training_has_the_gradients_of_brevitas(config):
    """The step that is in use, against autograd of the Brevitas network in float64.

    Batch statistics differ in the last bits, and what lies on a rounding threshold then falls on
    its other side, which batch norm and more roundings amplify; so frames are looked for at which
    nothing does before the scores. What remains is which of two equal values a pooling takes: most
    gradients agree closely, and none points elsewhere. Layer by layer they are exact (below).
    """
    for seed in range(20):
        network = ready(config).train()
        plain = copy.deepcopy(network).double()
        torch.manual_seed(seed)
        x, y = torch.randn(5, 2, 1024), torch.randint(0, 24, (5,))
        scores, expected = Twin(network)(x), plain(x.double())
        if (scores - expected).abs().max() < 1e-5:
            break
    else:
        pytest.fail("no frames give the scores of Brevitas")
    F.cross_entropy(scores, y).backward()
    F.cross_entropy(expected, y).backward()
    errors = {
        name: float((parameter.grad - other.grad).norm() / other.grad.norm())
        for (name, parameter), other in zip(
            network.named_parameters(), plain.parameters(), strict=True
        )
        if other.grad is not None and other.grad.norm() > 1e-3
    }
    assert len(errors) > 40
    assert statistics.median(errors.values()) < 0.1
    assert max(errors.values()) < 0.9, max(errors, key=errors.get)


WIDTHS = [(27, 17), (16, 48), (5, 33)]  # on both sides of a vector's 16


def random(*shape: int, positive: bool = False) -> torch.Tensor:
    return torch.rand(*shape) + 0.5 if positive else torch.randn(*shape)


def agree(kernel, reference, tensors: dict[str, torch.Tensor], threads: int) -> None:
    """Compare outputs, statistics and the gradients of all three with float64 autograd."""
    outputs, gradients, pulls = [], [], None
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for function, kind in ((kernel, torch.float32), (reference, torch.float64)):
            inputs = [t.detach().to(kind).requires_grad_() for t in tensors.values()]
            result = function(*inputs)
            pulls = pulls or [torch.randn(part.shape) for part in result]
            sum(
                (part * pull.to(kind)).sum() for part, pull in zip(result, pulls, strict=True)
            ).backward()
            outputs.append(result)
            gradients.append([tensor.grad for tensor in inputs])
    finally:
        torch.set_num_threads(before)
    for found, expected in zip(*outputs, strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    for name, found, expected in zip(tensors, *gradients, strict=True):
        if found is None:
            assert name == "x"  # frames need none
            continue
        error = (found.double() - expected).norm() / expected.norm()
        assert error < 1e-4, f"{name}: {error}"


def with_statistics(out: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    flat = out.flatten(0, 1)
    return out, flat.mean(0), flat.var(0, correction=0)


@needs_compiler
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("inputs", "outputs"), WIDTHS)
@pytest.mark.parametrize("quantized", [True, False])
def test_pointwise_layers_have_the_straight_through_gradients(inputs, outputs, quantized, threads):
    torch.manual_seed(inputs)
    top = 63
    tensors = {
        "raw": random(3, 129, inputs),
        "gain": random(inputs, positive=True),
        "shift": random(inputs),
        "weight": random(outputs, inputs),
        "bias": random(outputs),
    }
    if quantized:
        tensors["step"] = step = random(inputs, positive=True) / 25
        # No value near a threshold, some below zero and some above the last level.
        level = torch.randint(-20, 90, (3, 129, inputs)) + 0.8 * (torch.rand(3, 129, inputs) - 0.5)
        tensors["raw"] = (level * step - tensors["shift"]) / tensors["gain"]

    def kernel(raw, gain, shift, weight, bias, step=None):
        return kernels.Pointwise.apply(raw, gain, shift, step, top, weight, bias)

    def reference(raw, gain, shift, weight, bias, step=None):
        x = F.relu(raw * gain + shift)
        if step is not None:
            ratio = x / step
            straight_through = ratio + (ratio.round() - ratio).detach()
            x = straight_through.clamp(0, top) * step
        return with_statistics(F.linear(x, weight, bias))

    agree(kernel, reference, tensors, threads)


@needs_compiler
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("channels", [5, 16, 33])
@pytest.mark.parametrize("by", [1, 2])
@pytest.mark.parametrize("bits", [None, 4])
def test_depthwise_layers_have_autograds_gradients(channels, by, bits, threads):
    torch.manual_seed(channels)
    tensors = {
        "raw": random(3, 129, channels),
        "gain": random(channels, positive=True),
        "shift": random(channels),
        "weight": random(3, channels),
        "bias": random(channels),
    }
    if bits:
        tensors["step"] = step = random(channels, positive=True)
        # No value near a threshold, some beyond the first and the last level.
        level = torch.randint(-12, 12, (3, 129, channels))
        level = level + 0.8 * (torch.rand(3, 129, channels) - 0.5)
        tensors["raw"] = (level * step - tensors["shift"]) / tensors["gain"]

    def kernel(raw, gain, shift, weight, bias, step=None):
        return kernels.Depthwise.apply(raw, gain, shift, step, bits or 1, by, weight, bias)

    def reference(raw, gain, shift, weight, bias, step=None):
        x = F.max_pool1d((raw * gain + shift).transpose(1, 2), by)
        if step is not None:
            ratio = x / step[:, None]
            straight_through = ratio + (ratio.round() - ratio).detach()
            x = straight_through.clamp(-8, 7) * step[:, None]
        out = F.conv1d(x, weight.t().unsqueeze(1), bias, padding=1, groups=channels)
        return with_statistics(out.transpose(1, 2))

    agree(kernel, reference, tensors, threads)


@needs_compiler
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("filters", [5, 27, 33])
def test_the_stem_has_autograds_gradients(filters, threads):
    torch.manual_seed(filters)
    tensors = {
        "x": random(3, 2, 1024),
        "weight": random(filters, 2, 32),
        "bias": random(filters),
    }

    def reference(x, weight, bias):
        return with_statistics(F.conv1d(x, weight, bias, stride=4, padding=16).transpose(1, 2))

    agree(kernels.Stem.apply, reference, tensors, threads)


@needs_compiler
def test_a_step_in_double_precision_agrees():
    """Against float64 the kernels err no more than torch's own float32 layers do."""
    network = ready(UNEVEN).train()
    x, y = torch.randn(4, 2, 1024), torch.randint(0, 24, (4,))
    gradients = {}
    for kind in ("kernels", "double"):
        other = copy.deepcopy(network)
        twin = Twin(other.double() if kind == "double" else other)
        twin.quantized = False
        loss = F.cross_entropy(twin(x.double() if kind == "double" else x), y)
        loss.backward()
        gradients[kind] = {n: p.grad for n, p in other.named_parameters() if p.grad is not None}
    for name, expected in gradients["double"].items():
        if expected.norm() > 1e-3:
            error = (gradients["kernels"][name] - expected).norm() / expected.norm()
            assert error < 1e-3, f"{name}: {error}"


def test_without_a_compiler_torch_does_it(monkeypatch, recwarn):
    kernels.library.cache_clear()
    try:
        monkeypatch.setattr("shutil.which", lambda name: None)
        assert kernels.library() is None
        assert any("g++" in str(warning.message) for warning in recwarn)
        network = ready(UNEVEN).eval()
        assert not fits_kernels(network)
        x = torch.randn(2, 2, 1024)
        assert torch.equal(Twin(network)(x), network(x))
    finally:
        kernels.library.cache_clear()


def test_a_compiler_that_fails_is_reported(monkeypatch, recwarn, tmp_path):
    kernels.library.cache_clear()
    try:
        broken = tmp_path / "g++"
        broken.write_text("#!/bin/sh\necho no such flag >&2\nexit 1\n")
        broken.chmod(0o755)
        monkeypatch.setattr("shutil.which", lambda name: str(broken))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert kernels.library() is None
        assert any("no such flag" in str(warning.message) for warning in recwarn)
        assert not list(tmp_path.rglob("*.so"))
    finally:
        kernels.library.cache_clear()
