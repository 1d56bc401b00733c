"""Staircases that are friendly scales: found, computed, and in hardware."""

import copy
from dataclasses import replace

import numpy as np
import pytest

from build.sparse.compose import compose
from build.sparse.fold import fold
from build.sparse.network import Linear, Requantize
from build.sparse.scales import FACTORS, FEWEST, Scaled, scaled_of
from tests.build.sparse.random_network import random_frames, random_network


def stairs_of(scaled, low, high):
    """The staircase of a scale over accumulators from low to high."""
    values = scaled.compute(np.arange(low, high + 1))
    at = np.flatnonzero(np.diff(values)) + 1
    return at + low, values[np.concatenate([[0], at])]


def drawn(rng, low, high, unsigned):
    """A scale that makes 4 bits of these accumulators, clipping some or none of them."""
    factor = int(rng.choice(list(FACTORS)))
    right = max(round(np.log2((high - low + 1) * factor / 16 * rng.uniform(0.5, 2))), 0)
    bottom = 0 if unsigned else -8
    return Scaled(
        int(rng.choice([-1, 1])),
        factor,
        int(rng.integers(-(16 << right), 16 << right)),
        right,
        bottom,
        bottom + 15,
    )


def test_every_factor_is_found_again_and_means_the_same():
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(400):
        scaled = drawn(rng, -3000, 2500, rng.random() < 0.5)
        at, values = stairs_of(scaled, -3000, 2500)
        again = scaled_of(at, values)
        if len(at) < FEWEST:
            assert again is None
            continue
        found += 1
        x = np.arange(-3000, 2501)
        np.testing.assert_array_equal(again.compute(x), scaled.compute(x), str(scaled))
        assert again.factor <= scaled.factor or again.factor in FACTORS
    assert found > 150


def test_other_staircases_are_none():
    scaled = Scaled(1, 3, 100, 6, 0, 15)
    at, values = stairs_of(scaled, -500, 500)
    assert scaled_of(at, values) is not None
    assert scaled_of(at + (np.arange(len(at)) == 4) * 12, values) is None  # one tread too long
    assert scaled_of(at, 2 * values) is None  # jumps
    assert scaled_of(at[:5], values[:6]) is None  # a memory is as small


def friendly_network(seed, **shape):
    """A random network, the quantizers of whose convolutions are friendly scales."""
    network = random_network(seed, **shape)
    rng = np.random.default_rng(seed)
    layers = list(network.layers)
    for index, layer in enumerate(layers):
        before = replace(network, layers=tuple(layers)).tensors[index]
        if isinstance(layer, Requantize) and before.positions > 1:
            first = layers[index - 1]
            assert isinstance(first, Linear)
            unsigned = index % 4 == 1
            stairs = [
                stairs_of(drawn(rng, low, high, unsigned), low, high)
                for low, high in zip(before.low.tolist(), before.high.tolist(), strict=True)
            ]
            thresholds, values = zip(*stairs, strict=True)
            layers[index] = Requantize(layer.name, thresholds, values)
    return replace(network, layers=tuple(layers))


@pytest.mark.usefixtures("finn")
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_hardware_of_scales_is_bit_exact(seed):
    from tests.build.sparse.test_assemble import simulated

    network = fold(compose(fold(friendly_network(seed, filters=(12, 9), density=0.6))))
    frames = random_frames(network, 12)
    made, simulation, wrong = simulated(network, frames)
    texts = "".join(made.accelerator.design.sources.values())
    assert texts.count("reg signed") > 12 and " >>> " in texts
    assert set(wrong.values()) == {0}, wrong
    classes = simulation.outputs["classes"].reshape(-1)
    np.testing.assert_array_equal(classes, network.classes(frames))


@pytest.mark.usefixtures("finn")
def test_the_hardware_of_a_friendly_network_finds_every_scale():
    from build.source import open_source
    from build.sparse.from_graph import network_of
    from models.checkpoint import Checkpoint
    from models.friendly import make_friendly
    from tests.tiny import TINY, ready

    def found(given):
        folded = fold(network_of(open_source(given).model))
        stairs = [
            stair
            for layer, before in zip(folded.layers, folded.tensors, strict=False)
            if isinstance(layer, Requantize) and before.positions > 1
            for stair in zip(layer.thresholds, layer.values, strict=True)
            if len(stair[0]) >= FEWEST
        ]
        return [scaled_of(*stair) is not None for stair in stairs]

    config = TINY.changed(block_bits=8)
    network = ready(config, frames=64).eval()
    before = found(Checkpoint(copy.deepcopy(network), config, {"data_label": "noise"}))
    changed = copy.deepcopy(network)
    make_friendly(changed)
    after = found(Checkpoint(changed, config, {"data_label": "noise"}))
    assert len(after) > 20 and all(after)
    assert sum(before) < len(before) / 4
