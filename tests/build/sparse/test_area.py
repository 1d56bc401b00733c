"""The estimate of LUTs, and the rate that is chosen by it."""

import dataclasses

import pytest

from build.sparse.fold import fold
from models.errors import BadInput
from tests.build.sparse.random_network import random_network

pytestmark = pytest.mark.usefixtures("finn")


def test_slower_takes_less_and_auto_takes_the_fastest_that_fits():
    from build.boards import find_board
    from build.sparse.area import FREE, estimated_luts, fastest

    network = fold(random_network(3, filters=(12, 16), density=0.8))
    luts = [estimated_luts(network, times * 65) for times in (1, 2, 4, 8, 16)]
    assert luts == sorted(luts, reverse=True) and len(set(luts)) > 3
    board = find_board("ZCU104")
    assert fastest(network, board) == (65, luts[0])

    def with_luts(count):
        return dataclasses.replace(board, resources=board.resources | {"LUT": count})

    clocks, chosen = fastest(network, with_luts(int(luts[2] / (1 - FREE)) + 2))
    assert clocks <= 4 * 65 and chosen <= luts[2] + 1
    assert estimated_luts(network, clocks - 65) > luts[2] + 1
    with pytest.raises(BadInput, match="even at"):
        fastest(network, with_luts(100))
