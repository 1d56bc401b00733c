"""Random networks through the whole compiler: shapes, bits, densities, rates and stalls."""

import numpy as np
import pytest

from build.sparse.compose import compose
from build.sparse.fold import fold
from build.sparse.schedule import spacings
from tests.build.sparse.random_network import random_frames, random_network
from tests.build.sparse.test_assemble import simulated

pytestmark = pytest.mark.usefixtures("finn")


def drawn(seed):
    """A network and its rate: from one sample word a clock to forty clocks a word."""
    rng = np.random.default_rng(1000 + seed)
    filters = tuple(int(n) for n in rng.integers(1, 12, rng.integers(1, 5)))
    network = random_network(
        seed,
        filters=filters,
        length=4 * int(rng.integers(2 ** len(filters) * 2, 70)),
        density=float(rng.uniform(0.1, 1)),
        input_bits=int(rng.integers(2, 9)),
        classes=int(rng.integers(2, 12)),
    )
    words = network.length // 4 + 1
    clocks = words if rng.random() < 0.4 else int(words * rng.uniform(1, 4 * rng.integers(1, 11)))
    return fold(compose(fold(network))), max(clocks, 40), int(rng.integers(1, 400))


def assert_exact(seed):
    network, clocks, burst = drawn(seed)
    frames = random_frames(network, 8, seed)
    made, simulation, wrong = simulated(network, frames, clocks=clocks)
    told = f"seed {seed}, {clocks} clocks, spacings {spacings(network, clocks)}"
    assert set(wrong.values()) == {0}, f"{told}: {wrong}"
    np.testing.assert_array_equal(
        simulation.outputs["classes"].reshape(-1), network.classes(frames), told
    )
    assert abs(simulation.cycles_per_frame - clocks) < 1, told
    _, _, wrong = simulated(network, frames, clocks=clocks, stall=0.1, burst=burst, seed=seed + 1)
    assert set(wrong.values()) == {0}, f"{told}, stalls up to {burst}: {wrong}"


@pytest.mark.parametrize("seed", range(2))
def test_random_networks_are_bit_exact(seed):
    assert_exact(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 62))
def test_more_random_networks_are_bit_exact(seed):
    assert_exact(seed)
