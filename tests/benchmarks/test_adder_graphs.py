"""Our adder graphs beside da4ml's (LGPL-3, not installed with us) on the same matrices.

And the first convolution beside its transposed form, which needs no da4ml.

`pip install da4ml==0.6.0`, then `pytest -m benchmark -s tests/benchmarks/test_adder_graphs.py`.
"""

import numpy as np
import pytest

from build.sparse.adders import adder_graph
from build.sparse.compose import compose
from build.sparse.fold import fold
from build.sparse.network import Linear, bits_of
from models import zoo


def ours(matrix, low, high):
    """Return how many adders there are, the bits of all sums, adders one behind the other."""
    graph = adder_graph(matrix)
    sums = graph.ranges(low, high)[graph.inputs :]
    return len(sums), sum(bits_of(*ends) for ends in sums), max(graph.levels())


def theirs(matrix, low, high):
    """The same of da4ml, with the settings that count an adder as one."""
    from da4ml.cmvm import solve

    intervals = [(float(a), float(b), 1.0) for a, b in zip(low, high, strict=True)]
    kernel = np.ascontiguousarray(matrix.T, np.float32)
    found = solve(kernel, qintervals=intervals, adder_size=1, carry_size=8)
    # The bits do not matter to the products here: they must be the matrix's.
    np.testing.assert_array_equal(np.asarray(found.kernel), kernel)
    count = width = 0
    depth = 0
    for stage in found.solutions:
        levels: list[int] = []
        for op in stage.ops:
            adds = op.opcode in (0, 1)
            levels.append(max(levels[op.id0], levels[op.id1]) + 1 if adds else 0)
            if adds:
                ends = (int(op.qint.min / op.qint.step), int(op.qint.max / op.qint.step))
                count, width = count + 1, width + bits_of(*ends)
        depth += max(levels, default=0)
    return count, width, depth


def transposed(layer, tensor):
    """Return (adders, bits of all sums) of a convolution whose sums go from word to word.

    A word is a stride's samples: the adders make its part of every window that it lies in at once,
    and each filter adds these up, one a word.
    """
    low, high = int(tensor.low.min()), int(tensor.high.max())
    filters, inputs, taps = layer.weights.shape
    words = layer.weights.reshape(filters, inputs, taps // layer.stride, layer.stride)
    rows = words.transpose(0, 2, 3, 1).reshape(filters * words.shape[2], -1)
    ends = np.full(rows.shape[1], low), np.full(rows.shape[1], high)
    count, width, _ = ours(rows, *ends)
    for row in words.transpose(0, 2, 1, 3).reshape(filters, words.shape[2], -1):
        used = row[row.any(axis=1)]
        for first in range(1, len(used)):
            so_far = used[: first + 1]
            sums = np.minimum(so_far * low, so_far * high), np.maximum(so_far * low, so_far * high)
            count, width = count + 1, width + bits_of(*(int(end.sum()) for end in sums))
    return count, width


def network_named(name, folder):
    from build.environment import setup

    setup(folder)
    from build.source import open_source
    from build.sparse.from_graph import network_of

    return fold(compose(fold(network_of(open_source(str(zoo.find(name))).model))))


@pytest.mark.benchmark
def test_the_first_convolution_beside_its_transposed_form(tmp_path):
    network = network_named("aaronnet32++-hw8", tmp_path)
    first, tensor = network.layers[0], network.tensors[0]
    low, high = np.tile(tensor.low, first.taps), np.tile(tensor.high, first.taps)
    direct, other = ours(first.matrix, low, high)[:2], transposed(first, tensor)
    print(f"\nadders, bits of all sums: {direct}; transposed {other}")
    assert other[1] < direct[1]


@pytest.mark.benchmark
@pytest.mark.parametrize("name", ["aaronnet32++-hw8"])
def test_adder_graphs_beside_da4mls(name, tmp_path):
    pytest.importorskip("da4ml")
    network = network_named(name, tmp_path)
    total = np.zeros((2, 2), np.int64)
    print(f"\n{'adders, bits of all sums, levels':32}{'ours':>18}{'da4ml 0.6.0':>18}")
    for layer, tensor in zip(network.layers, network.tensors, strict=False):
        if isinstance(layer, Linear) and tensor.positions > 1:
            low, high = np.tile(tensor.low, layer.taps), np.tile(tensor.high, layer.taps)
            if layer.padding:
                low, high = np.minimum(low, 0), np.maximum(high, 0)
            found = [solve(layer.matrix, low, high) for solve in (ours, theirs)]
            columns = "".join(f"{a:8}{b:7}{c:3}" for a, b, c in found)
            print(f"{layer.name:32}{columns}")
            total += [facts[:2] for facts in found]
    print(f"{'in all':32}{''.join(f'{a:8}{b:7}   ' for a, b in total.tolist())}")
    assert total[0, 0] < 1.1 * total[1, 0]
