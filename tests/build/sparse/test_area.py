"""The estimate of LUTs, and the rate that is chosen by it."""

import dataclasses

import pytest

from build.sparse.fold import fold
from models.errors import BadInput
from tests.build.sparse.random_network import random_network

pytestmark = pytest.mark.usefixtures("finn")


def test_slower_takes_less_and_auto_takes_the_fastest_that_fits():
    from build.boards import find_board
    from build.sparse.area import estimated, fastest
    from build.sparse.room import FREE

    network = fold(random_network(3, filters=(12, 16), density=0.8))
    areas = [estimated(network, times * 65) for times in (1, 2, 4, 8, 16)]
    luts = [area.luts for area in areas]
    assert luts == sorted(luts, reverse=True) and len(set(luts)) > 3
    board = find_board("ZCU104")
    assert fastest(network, board) == (65, areas[0]) and areas[0].brams > 0

    def with_luts(count):
        return dataclasses.replace(board, resources=board.resources | {"LUT": count})

    clocks, chosen = fastest(network, with_luts(int(luts[2] / (1 - FREE)) + 2))
    assert clocks <= 4 * 65 and chosen.luts <= luts[2] + 1
    assert estimated(network, clocks - 65).luts > luts[2] + 1
    with pytest.raises(BadInput, match="even at"):
        fastest(network, with_luts(100))


def test_what_cannot_fit_is_told_without_a_search(monkeypatch):
    from build.boards import find_board
    from build.sparse import area
    from build.sparse.network import Linear

    network = fold(random_network(3, filters=(12, 16), density=0.8))
    wide = [
        dataclasses.replace(layer, weights=layer.weights * 0 + 85)
        if isinstance(layer, Linear)
        else layer
        for layer in network.layers
    ]
    board = find_board("ZCU104")
    small = dataclasses.replace(board, resources=board.resources | {"LUT": 1000})
    monkeypatch.setattr(area, "adder_graph", None)
    with pytest.raises(BadInput, match="takes more than [0-9,]+ of ZCU104's 1,000 LUTs"):
        area.fastest(dataclasses.replace(network, layers=tuple(wide)), small, 256)
