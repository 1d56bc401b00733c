"""Each phase of the compiler executed before and after, on random networks."""

import re
from dataclasses import replace

import numpy as np
import pytest

from build.sparse.adders import adder_graph, digits
from build.sparse.compose import compose
from build.sparse.emit import rom
from build.sparse.fold import fold
from build.sparse.lookups import lookup_of
from build.sparse.network import Linear, MaxPool, Requantize
from build.sparse.phases import check_composed
from build.sparse.schedule import lanes_for, spacings, words_ahead
from build.sparse.serial import serial_graph
from build.sparse.shared import share
from build.sparse.tables import table_of
from models.errors import BadInput, CheckFailed
from tests.build.sparse.random_network import (
    random_frames,
    random_network,
    staircase,
    stairs_at,
)


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


@pytest.mark.parametrize("seed", range(12))
def test_composing_changes_no_class_and_no_other_channel(seed):
    before = fold(random_network(seed, density=0.6, tap_density=0.35))
    after = fold(compose(before))
    frames = random_frames(before, 9)
    check_composed(before, after, frames)
    handed = [
        sum(layer.hands_on(i) for layer in n.layers if isinstance(layer, Requantize)
            for i in range(len(layer.values)))
        for n in (before, after)
    ]  # fmt: skip
    assert handed[1] > handed[0]


def test_a_wrong_composition_is_found():
    before = fold(random_network(3, density=0.6, tap_density=0.35))
    after = fold(compose(before))
    index = max(i for i, layer in enumerate(after.layers[:-6]) if isinstance(layer, Linear))
    turned = replace(after.layers[index], weights=-after.layers[index].weights)
    layers = (*after.layers[:index], turned, *after.layers[index + 1 :])
    with pytest.raises(CheckFailed, match="composition"):
        check_composed(before, replace(after, layers=layers), random_frames(before, 9))


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


def test_memories_are_filled_in_loops_that_slang_unrolls():
    loops = re.findall(r"i < (\d+);", "\n".join(rom("memory", [1] * 9000, 7)))
    assert sum(map(int, loops)) == 9000 and max(map(int, loops)) < 4000


def test_rows_share_their_sums():
    row = np.array([5, 0, -3, 7])
    alone = len(adder_graph(row[None]).adders)
    assert len(adder_graph(np.stack([row, -row, 4 * row])).adders) == alone


@pytest.mark.parametrize("seed", range(8))
def test_digit_by_digit_the_sums_are_the_same(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 24, 2))
    matrix = rng.integers(-31, 32, shape) * (rng.random(shape) < rng.uniform(0.1, 1))
    graph = adder_graph(matrix)
    low = -rng.integers(0, 128, shape[1])
    high = low + rng.integers(0, 256, shape[1])
    x = rng.integers(low, high + 1, (50, shape[1]))
    for clocks in (1, 3, 4, 7, 8, 16, 40):
        serial = serial_graph(graph, low, high, clocks)
        assert serial.clocks <= clocks
        np.testing.assert_array_equal(serial.compute(x), x @ matrix.T)


def test_quantizers_that_take_turns_give_the_same():
    network = random_network(19, filters=(9, 13))
    x = random_frames(network, 8)
    for layer in network.layers:
        expected = layer.compute(x)
        if isinstance(layer, Requantize):
            for clocks in (1, 4, 5, 16):
                shared = share(layer, clocks)
                assert len(shared.units) == -(-x.shape[1] // clocks) and shared.turns <= clocks
                assert sorted(c for unit in shared.units for c in unit.channels) == list(
                    range(x.shape[1])
                )
                np.testing.assert_array_equal(shared.compute(x), expected)
        x = expected


@pytest.mark.parametrize("clocks", [65, 100, 130, 259, 260])
def test_positions_are_never_closer_than_scheduled(clocks):
    network = random_network(0, filters=(4, 4, 4), length=256)
    times = -(-np.arange(65) * clocks // 65)
    least = spacings(network, clocks)
    for layer, tensor, spacing in zip(network.layers, network.tensors, least, strict=False):
        if tensor.positions > 1:
            frames = np.concatenate([times, times + clocks])
            assert np.diff(frames).min() >= spacing
        if isinstance(layer, MaxPool):
            times = times[: tensor.positions][layer.size - 1 :: layer.size]


def test_words_ahead_are_those_of_the_first_windows():
    network = random_network(0, filters=(4, 4, 4), length=256)
    # Behind two poolings the third depthwise layer's position 0 needs 0 ... 3 of the second's.
    words = words_ahead(network)
    changed = random_frames(network, 3)
    before = network.tensors[:-1]
    deepest = max(i for i, tensor in enumerate(before) if tensor.positions > 1) - 1
    first = [x for _, x in network.trace(changed)][deepest][:, :, 0]
    changed[:, :, words * 4 :] = 0
    again = [x for _, x in network.trace(changed)][deepest][:, :, 0]
    np.testing.assert_array_equal(first, again)
    assert words < 64


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


@pytest.mark.parametrize("seed", range(60))
def test_lookups_are_exact_for_every_accumulator(seed):
    rng = np.random.default_rng(seed)
    low, high = int(rng.integers(-3000, 10)), int(rng.integers(11, 5000))
    bits = int(rng.integers(1, 9))
    places = np.arange(low, high) + 1
    if seed % 2:  # within a part of the range, some distance between two thresholds
        places = places[len(places) // 3 : len(places) // 2 : int(rng.integers(1, 8))]
    at, values = stairs_at(rng, places, bits, bool(rng.integers(2)))
    if not len(at):
        return
    accumulators = np.arange(low, high + 1)
    expected = values[np.searchsorted(at, accumulators, side="right")]
    found = lookup_of(at, values, low, high, "quantizer")
    np.testing.assert_array_equal(found.compute(accumulators), expected)
    assert len(found.base) == 2**found.bits and 0 <= found.threshold.max() < 2**found.fraction


def test_a_lookup_compares_nothing_where_the_range_ends_first():
    at = np.arange(4, 300, 7)
    values = np.arange(len(at) + 1)
    found = lookup_of(at, values, 0, 400, "quantizer")
    assert found.low == 0 and found.high > 400
    found = lookup_of(at, values, -5000, 5000, "quantizer")
    assert found.low % 128 == 0 and found.high % 128 == 0


def test_a_staircase_both_ways_is_refused():
    both = np.array([3, 9]), np.array([0, 2, 1])
    with pytest.raises(BadInput, match="rises and falls"):
        table_of(*both, "quantizer")
    with pytest.raises(BadInput, match="rises and falls"):
        lookup_of(*both, 0, 20, "quantizer")


def test_lanes_take_every_input_once_and_end_in_time():
    rng = np.random.default_rng(0)
    weights = rng.integers(-3, 4, (40, 30)) * (rng.random((40, 30)) < 0.5)
    weights[7] = 0
    lanes = lanes_for(weights, 257)
    assert sorted(column for lane in lanes.columns for column in lane) == list(range(30))
    work = [np.count_nonzero(weights[:, lane], axis=1) for lane in lanes.columns]
    assert lanes.clocks == np.maximum(np.max(work, axis=0), 1).sum() < 257
    assert lanes_for(np.ones((2, 300), int), 257).clocks < 257
    with pytest.raises(BadInput, match="prune"):
        lanes_for(np.ones((300, 2), int), 257)


def test_no_loop_that_fills_a_memory_is_longer_than_slang_unrolls():
    text = "\n".join(rom("t", [3] * 9000, 2))
    ends = [int(end) for end in re.findall(r"i < (\d+);", text)]
    assert sum(ends) == 9000 and max(ends) < 4000
