"""The folding search: optimal, forks and joins included, within FINN's rules."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from build.layout import graph_after
from models.errors import BadInput

pytestmark = pytest.mark.usefixtures("finn")


def board(name="ZCU104"):
    from build.boards import find_board

    return find_board(name)


def cost(resources, device):
    return sum(amount / device.resources[kind] for kind, amount in resources.items())


@st.composite
def chains(draw):
    from build.folding import Option, Unit

    units = []
    for index in range(draw(st.integers(1, 4))):
        options = []
        for number in range(draw(st.integers(1, 4))):
            amounts = {kind: draw(st.integers(0, 400)) for kind in ("LUT", "DSP", "BRAM_18K")}
            options.append(
                Option(
                    {f"n{index}": {"PE": number + 1}},
                    draw(st.integers(1, 50)),
                    amounts,
                    draw(st.sampled_from([1, 2, 3, 4])),
                    draw(st.sampled_from([1, 2, 3, 4])),
                )
            )
        stream = (24, draw(st.integers(1, 16)), True)
        # The stream of the unit before and, at joins, those of earlier ones.
        again = draw(st.sets(st.integers(0, index - 1), max_size=2)) if index else set()
        sources = tuple(sorted(again | ({index - 1} if index else set())))
        units.append(Unit(f"n{index}", tuple(options), stream, sources))
    return units


@settings(max_examples=60, deadline=None)
@given(chain=chains(), cycles=st.integers(10, 50))
def test_search_finds_the_cheapest_of_all(chain, cycles):
    from build.folding import cheapest, converter_luts

    device = board()
    best = np.inf
    for choice in itertools.product(*(unit.options for unit in chain)):
        if max(option.cycles for option in choice) > cycles:
            continue
        total = sum(cost(option.resources, device) for option in choice)
        for unit, after in zip(chain, choice, strict=True):
            for source in unit.sources:
                before = choice[source]
                luts = converter_luts(chain[source].stream, before.outputs, after.inputs)
                total += cost({"LUT": luts}, device)
        best = min(best, total)
    if best == np.inf:
        with pytest.raises(BadInput, match="at its most parallel"):
            cheapest(chain, device, cycles)
        return
    found = cheapest(chain, device, cycles)
    assert found.cycles <= cycles
    assert cost(found.resources, device) == pytest.approx(best)


@pytest.fixture(scope="module")
def network(built):
    return ModelWrapper(str(graph_after(built.folder, "step_specialize_for_rtl")))


def test_less_time_never_costs_less(network):
    from build.folding import cheapest, units

    device = board()
    chain = units(network, device)
    costs = [
        cost(cheapest(chain, device, cycles).resources, device)
        for cycles in (300, 600, 1024, 3000, 20_000, 10**6)
    ]
    assert costs == sorted(costs, reverse=True) and costs[0] > costs[-1]


def test_listing_options_leaves_the_model_alone(network):
    from build.estimates import folding_of
    from build.folding import units

    before = folding_of(network)
    units(network, board())
    assert folding_of(network) == before


def test_windows_and_depthwise_layers_have_one_parallelism(network):
    from build.folding import cheapest, units

    for cycles in (300, 1024, 5000):
        folding = cheapest(units(network, board()), board(), cycles).attributes
        for node in network.graph.node:
            if not node.op_type.startswith(("VVAU", "Pool")):
                continue
            window = network.find_producer(node.input[0])
            assert folding[window.name]["SIMD"] == folding[node.name]["PE"]
            if node.op_type.startswith("VVAU"):
                parallel = folding[node.name]["SIMD"] > 1
                assert folding[window.name]["parallel_window"] == int(parallel)


def test_estimates_are_those_of_the_folded_model(network):
    """What the search adds up is what the model says once the folding is applied."""
    from build.estimates import layer_rows
    from build.folding import cheapest, units
    from build.steps.search_folding import ApplyFolding

    device = board()
    folding = cheapest(units(network, device), device, 700)
    rows = layer_rows(network.transform(ApplyFolding(folding)), device)
    assert max(row.cycles for row in rows) == folding.cycles <= 700
    for kind, amount in folding.resources.items():
        assert sum(getattr(row, kind) for row in rows) == amount


def test_fastest_fitting_is_at_the_limit_of_the_board(network):
    from build.folding import cheapest, fastest_fitting, units

    device = board("Pynq-Z2")
    chain = units(network, device)
    share = 0.3
    found = fastest_fitting(chain, device, share)
    assert found.fits(device, share)
    faster = sorted(
        {option.cycles for unit in chain for option in unit.options if option.cycles < found.cycles}
    )
    slowest_floor = max(unit.fastest for unit in chain)
    tried = [cycles for cycles in faster if cycles >= slowest_floor]
    assert all(not cheapest(chain, device, cycles).fits(device, share) for cycles in tried)
    assert fastest_fitting(chain, device, 0.0001) is None


def test_more_clocks_may_need_more_of_one_resource():
    """At 20 and 30 clocks the cheapest is all DSPs, too many; the fastest fits."""
    from build.folding import Option, Unit, fastest_fitting

    device = board()

    def option(cycles, lut, dsp):
        shares = {"LUT": lut, "DSP": dsp, "BRAM_18K": 0}
        amounts = {kind: int(share * device.resources[kind]) for kind, share in shares.items()}
        return Option({"n": {"PE": 60 // cycles}}, cycles, amounts, 1, 1)

    options = (option(10, 0.6, 0.6), option(20, 0, 0.8), option(30, 0, 0.75))
    found = fastest_fitting([Unit("n", options, (24, 4, True))], device, 0.7)
    assert found is not None and found.cycles == 10


def test_boards_too_small_are_named(network):
    from dataclasses import replace

    from build.folding import units
    from build.steps.search_folding import choose

    device = replace(board("Pynq-Z2"), resources={**board("Pynq-Z2").resources, "LUT": 900})
    chain = units(network, device)
    with pytest.raises(BadInput, match=r"does not fit Pynq-Z2: it needs [\d,]+ of the 900 LUT"):
        choose(chain, device, 100.0, None)
    device = replace(board("Pynq-Z2"), resources={**board("Pynq-Z2").resources, "DSP": 40})
    chain = units(network, device)
    with pytest.raises(BadInput, match=r"need \d+ of the 40 DSP of Pynq-Z2; the best that fits is"):
        choose(chain, device, 100.0, 100e6 / 400)


def test_lanes_of_the_matrix_unit():
    from build.resources import mvau_lanes

    assert mvau_lanes(6, 6, "DSP48E2", narrow=False) == 2  # measured in Yosys
    assert mvau_lanes(4, 4, "DSP48E2", narrow=False) == 4
    assert mvau_lanes(8, 8, "DSP48E2", narrow=False) == 2
    assert mvau_lanes(8, 9, "DSP48E1", narrow=False) == 2
    assert mvau_lanes(12, 16, "DSP48E1", narrow=False) == 1


def test_foldings_divide(network):
    from build.folding import foldings

    for node in network.graph.node:
        operator = getCustomOp(node)
        saved = {}
        for choice in foldings(operator):
            for name, value in choice.items():
                saved.setdefault(name, operator.get_nodeattr(name))
                operator.set_nodeattr(name, value)
            operator.get_folded_input_shape(), operator.get_folded_output_shape()
            assert operator.get_exp_cycles() > 0
        for name, value in saved.items():
            operator.set_nodeattr(name, value)
