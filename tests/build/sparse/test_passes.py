"""Each phase of the compiler executed before and after, on random networks."""

import numpy as np
import pytest

from build.sparse.adders import adder_graph, digits
from build.sparse.fold import fold
from build.sparse.network import Linear, MaxPool, Requantize
from build.sparse.schedule import lanes_for
from build.sparse.tables import table_of
from models.errors import BadInput
from tests.build.sparse.random_network import random_frames, random_network, staircase


def assert_same(before, after, frames):
    """Classes, and every channel that is left, are those of before."""
    wanted = {layer.name: tensor for layer, tensor in before.trace(frames)}
    kept = ()
    for layer, tensor in after.trace(frames):
        if isinstance(layer, Linear):
            kept = layer.kept
        elif isinstance(layer, Requantize | MaxPool):
            np.testing.assert_array_equal(tensor, wanted[layer.name][:, kept], layer.name)
    np.testing.assert_array_equal(after.classes(frames), before.classes(frames))


@pytest.mark.parametrize("seed", range(12))
def test_folding_changes_no_value(seed):
    network = random_network(seed, density=(0.1, 0.3, 0.8)[seed % 3])
    folded = fold(network)
    assert_same(network, folded, random_frames(network, 9))
    if seed % 3 == 0:
        channels = [sum(t.channels for t in n.tensors) for n in (network, folded)]
        assert channels[1] < channels[0]


def test_values_stay_within_the_analysed_ranges():
    network = random_network(1)
    for (_, tensor), known in zip(
        network.trace(random_frames(network, 20)), network.tensors[1:], strict=True
    ):
        assert tensor.shape[1:] == (known.channels, known.positions)
        assert (tensor.min(axis=(0, 2)) >= known.low).all()
        assert (tensor.max(axis=(0, 2)) <= known.high).all()


@pytest.mark.parametrize("value", [0, 1, -1, 3, 7, -11, 23, 31, -32, 1365])
def test_signed_digits_are_canonical(value):
    found = digits(value)
    assert sum(sign << shift for shift, sign in found) == value
    shifts = [shift for shift, _ in found]
    assert all(b - a > 1 for a, b in zip(shifts, shifts[1:], strict=False))


@pytest.mark.parametrize("seed", range(8))
def test_adder_graphs_compute_their_matrix(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 24, 2))
    matrix = rng.integers(-31, 32, shape) * (rng.random(shape) < rng.uniform(0.1, 1))
    matrix[rng.integers(shape[0])] = 0
    graph = adder_graph(matrix)
    x = rng.integers(-128, 128, (50, shape[1]))
    np.testing.assert_array_equal(graph.compute(x), x @ matrix.T)
    ends = graph.ranges(np.full(shape[1], -128), np.full(shape[1], 127))
    assert all(low <= high for low, high in ends)


def test_rows_share_their_sums():
    row = np.array([5, 0, -3, 7])
    alone = len(adder_graph(row[None]).adders)
    assert len(adder_graph(np.stack([row, -row, 4 * row])).adders) == alone


@pytest.mark.parametrize("seed", range(30))
def test_tables_are_exact_for_every_accumulator(seed):
    rng = np.random.default_rng(seed)
    low, high = int(rng.integers(-3000, 10)), int(rng.integers(11, 5000))
    at, values = staircase(rng, low, high, int(rng.integers(1, 9)), bool(rng.integers(2)))
    accumulators = np.arange(low - 5, high + 5)
    expected = values[np.searchsorted(at, accumulators, side="right")]
    table = table_of(at, values, "quantizer")
    np.testing.assert_array_equal(table.compute(accumulators), expected)
    wider = table_of(at, values, "quantizer", table.bits + 2, max(table.fraction - 1, 0))
    np.testing.assert_array_equal(wider.compute(accumulators), expected)


def test_a_staircase_both_ways_is_refused():
    with pytest.raises(BadInput, match="rises and falls"):
        table_of(np.array([3, 9]), np.array([0, 2, 1]), "quantizer")


def test_lanes_take_every_row_once_and_end_in_time():
    rng = np.random.default_rng(0)
    weights = rng.integers(-3, 4, (40, 30)) * (rng.random((40, 30)) < 0.5)
    weights[7] = 0
    lanes = lanes_for(weights, 257)
    assert sorted(row for rows in lanes.rows for row in rows) == list(range(40))
    costs = np.maximum(np.count_nonzero(weights, axis=1), 1)
    assert lanes.clocks == max(costs[list(rows)].sum() for rows in lanes.rows) < 257
    with pytest.raises(BadInput, match="prune"):
        lanes_for(np.ones((2, 300), int), 257)
