"""Faults in the constants of sparse hardware: a simulation of all nodes names where they are."""

from collections import Counter

import numpy as np
import pytest

from build.sparse.compose import compose
from build.sparse.fold import fold
from tests.build.sparse.faults import candidates, chosen, numbered, with_faults
from tests.build.sparse.random_network import random_frames, random_network
from tests.build.sparse.test_assemble import SHAPES

KINDS = {
    *("sign", "shift", "serial sign", "serial shift"),
    *("table", "last value", "shared table", "shared offset", "shared sign", "ROM"),
}

pytestmark = pytest.mark.usefixtures("finn")


def assert_found(network, frames, count, seed):
    """Each of `count` faults is noticed, and the first node that differs is the one that has it."""
    from build.simulation.simulate import simulate
    from build.sparse.assemble import compile_network, mismatches

    made = compile_network(network)
    picked = chosen(candidates(made, network, frames), count, np.random.default_rng(seed))
    faulty = with_faults(made.accelerator, picked)
    named = Counter()
    missed = []
    for number in range(count + 1):
        accelerator = numbered(faulty, number)
        simulation = simulate(accelerator, frames.transpose(0, 2, 1), record=True, processes=1)
        wrong = mismatches(accelerator, network, simulation, frames)
        first = next((facts.node for facts in wrong.values() if facts), None)
        if number == 0:
            assert first is None
        elif first == picked[number - 1].unit:
            named[picked[number - 1].kind] += 1
        else:
            missed.append((first, picked[number - 1]))
    print(f"{dict(named)} in {len({fault.unit for fault in picked})} modules; missed: {missed}")
    assert not missed
    return named


def test_faults_of_every_kind_are_found_and_their_node_named():
    network = fold(compose(fold(random_network(**SHAPES["blocks"]))))
    named = assert_found(network, random_frames(network, 8), 36, 0)
    assert set(named) == KINDS


@pytest.mark.slow
def test_faults_all_over_the_zoos_network_are_found():
    from build.source import open_source
    from build.sparse.from_graph import network_of
    from build.stimuli import synthetic_frames
    from models import zoo

    source = open_source(str(zoo.find("aaronnet32++-hw8")))
    network = fold(compose(fold(network_of(source.model))))
    frames = network.quantize(synthetic_frames()[::4])
    named = assert_found(network, frames, 120, 1)
    assert named.total() == 120 and set(named) == KINDS
