"""Scales of one or two signed digits."""

import copy

import pytest
import torch

from models.friendly import MANTISSAS, friendly, make_friendly
from models.hardware import HardwareAaronNet
from tests.tiny import TINY, ready


def digits_of(scale):
    """Canonical signed digits of a positive float."""
    numerator, _ = float(scale).as_integer_ratio()
    found = 0
    while numerator:
        if numerator & 1:
            found += 1
            numerator -= 2 - (numerator & 3)
        numerator >>= 1
    return found


def test_scales_get_the_nearest_two_digits_and_zeros_stay():
    generator = torch.Generator().manual_seed(0)
    scales = torch.rand(2000, generator=generator, dtype=torch.float64) * 0.2 + 1e-6
    scales[::3] *= -1
    scales[7] = 0
    found = friendly(scales)
    used = scales != 0
    assert found[7] == 0 and torch.equal(found.sign(), scales.sign())
    assert max(digits_of(abs(scale)) for scale in found[used]) == 2
    ratio = (found[used] / scales[used]).log2().abs()
    assert ratio.max() < 0.145  # a tenth
    assert 1 in MANTISSAS and 13 not in MANTISSAS
    assert torch.equal(friendly(found), found)


@pytest.fixture(scope="module")
def network() -> HardwareAaronNet:
    made = ready(TINY.changed(block_bits=8), frames=64).eval()
    assert isinstance(made, HardwareAaronNet)
    return made


def test_a_network_is_changed_once_and_little(network):
    changed = copy.deepcopy(network)
    make_friendly(changed)
    once = copy.deepcopy(changed.state_dict())
    make_friendly(changed)
    for key, value in changed.state_dict().items():
        torch.testing.assert_close(value, once[key], rtol=1e-5, atol=1e-6, msg=key)
    with torch.no_grad():
        x = torch.randn(32, 2, 1024, generator=torch.Generator().manual_seed(3))
        before, after = network(x), changed(x)
    assert not torch.equal(before, after)
    assert torch.corrcoef(torch.stack([before.flatten(), after.flatten()]))[0, 1] > 0.7
    assert changed.training is network.training is False
