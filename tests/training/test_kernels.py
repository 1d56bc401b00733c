"""The compiled layers compute what torch's compute."""

import copy

import pytest
import torch
import torch.nn.functional as F

from models.config import CONFIGS, NetConfig
from tests.tiny import ready
from training import kernels
from training.twin import Twin, fits_kernels

# Widths on both sides of a vector's 16, and uneven ones.
UNEVEN = NetConfig("uneven", "aaronnet", (27, 17, 16, 5, 33, 40), 8, 6, 6, 6)

needs_compiler = pytest.mark.skipif(kernels.library() is None, reason="no g++ here")


@needs_compiler
@pytest.mark.parametrize("config", [CONFIGS["aaronnet32"], UNEVEN], ids=lambda c: c.name)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("quantized", [True, False])
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
    if training and quantized:
        # Batch statistics differ in the last bit, and what lies on a threshold then falls on its
        # other side; the rest is covered by the three other cases.
        assert (found - expected).abs().mean() < 0.1 * expected.abs().mean()
        return
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
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
