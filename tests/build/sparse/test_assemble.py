"""The RTL against the integer network: every tensor, several frames back to back, with stalls."""

import dataclasses

import numpy as np
import pytest

from build.sparse.compose import compose
from build.sparse.fold import fold
from models.errors import BadInput
from tests.build.sparse.random_network import random_frames, random_network

pytestmark = pytest.mark.usefixtures("finn")

# Uneven numbers of positions, one or several blocks, dense and sparse, other widths and lengths.
SHAPES = {
    "blocks": {"seed": 19, "density": 0.6},
    "short": {"seed": 4, "filters": (6,), "length": 200, "density": 0.8, "input_bits": 6},
    "composed": {"seed": 5, "filters": (6, 5), "density": 0.7, "tap_density": 0.35},
    "constant": {"seed": 0, "filters": (4, 3), "density": 0.12, "classes": 2},
}


def simulated(network, frames, clocks=None, depth=2, **settings):
    from build.simulation.simulate import simulate
    from build.sparse.assemble import compile_network, mismatches

    made = compile_network(network, clocks, depth)
    simulation = simulate(
        made.accelerator, frames.transpose(0, 2, 1), record=True, processes=1, **settings
    )
    found = mismatches(made.accelerator, network, simulation, frames)
    return made, simulation, {layer: each.wrong if each else 0 for layer, each in found.items()}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_tensor_is_bit_exact_at_the_line_rate(shape):
    network = fold(compose(fold(random_network(**SHAPES[shape]))))
    frames = random_frames(network, 12)
    depth = 1 if shape == "short" else 2  # adders between two registers
    made, simulation, wrong = simulated(network, frames, depth=depth)
    assert len(wrong) > 8 and set(wrong.values()) == {0}
    classes = simulation.outputs["classes"].reshape(-1)
    np.testing.assert_array_equal(classes, network.classes(frames))
    # Four samples a clock and one clock between two frames.
    assert simulation.cycles_per_frame == made.clocks == network.length // 4 + 1
    assert simulation.latency_cycles == made.latency


@pytest.mark.parametrize("clocks", [66, 130, 201, 600])
def test_slower_rates_are_bit_exact(clocks):
    """The first layers digit by digit too; steps of several clocks, and uneven ones."""
    network = fold(random_network(**SHAPES["blocks"]))
    frames = random_frames(network, 12)
    made, simulation, wrong = simulated(network, frames, clocks=clocks)
    assert set(wrong.values()) == {0}
    assert simulation.cycles_per_frame == pytest.approx(made.clocks, abs=0.2) and (
        made.clocks == clocks
    )
    assert abs(simulation.latency_cycles - made.latency) <= clocks // 65 + 1
    frames = random_frames(network, 24, 1)
    _, _, wrong = simulated(network, frames, clocks=clocks, stall=0.1, burst=200, seed=3)
    assert set(wrong.values()) == {0}


@pytest.mark.parametrize("seed", range(4))
def test_stalls_on_both_sides_change_nothing(seed):
    network = fold(compose(fold(random_network(**SHAPES["blocks"]))))
    frames = random_frames(network, 24, seed)
    burst = (3, 40, 300, 2000)[seed]  # the longest fill every FIFO
    _, _, wrong = simulated(network, frames, stall=0.2, burst=burst, seed=seed + 1)
    assert set(wrong.values()) == {0}


def test_layers_that_no_hardware_computes_are_refused():
    from build.sparse.assemble import compile_network

    network = random_network(0)
    first = network.layers[0]
    for change in ({"stride": 3}, {"padding": 8}):
        layers = (dataclasses.replace(first, **change), *network.layers[1:])
        with pytest.raises(BadInput, match="layer0"):
            compile_network(dataclasses.replace(network, layers=layers))
    with pytest.raises(BadInput, match="starts with a convolution"):
        compile_network(dataclasses.replace(network, layers=network.layers[1:]))
    layers = (*network.layers[:2], dataclasses.replace(network.layers[2], stride=2))
    with pytest.raises(BadInput, match="layer2"):
        compile_network(dataclasses.replace(network, layers=layers))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["aaronnet32++-hw8", "aaronnet32++-hw6"])
def test_the_zoos_networks_are_bit_exact_with_and_without_stalls(name):
    from build.source import open_source
    from build.sparse.from_graph import network_of
    from build.stimuli import synthetic_frames
    from models import zoo

    network = fold(compose(fold(network_of(open_source(str(zoo.find(name))).model))))
    frames = network.quantize(synthetic_frames())
    made, simulation, wrong = simulated(network, frames)
    assert set(wrong.values()) == {0} and simulation.cycles_per_frame == 257
    assert simulation.latency_cycles == made.latency
    _, _, wrong = simulated(network, frames, stall=0.1, burst=700)
    assert set(wrong.values()) == {0}
