"""What a foreign network's graph of integers has beside layers: thresholds, integer scores.

`build.integers` has written the network so; nothing is rounded any more.
"""

from dataclasses import replace

import numpy as np
from onnx import NodeProto

from build.integers.line import attributes_of, told
from build.sparse.network import Layer, Linear, Requantize, Tensor, bits_of

WEIGHT_BITS = 16
"""Of the last layer's weights times the factors of its scores, at most."""


def staircase(
    node: NodeProto, constants: dict[str, np.ndarray], before: Tensor, name: str
) -> Requantize:
    """Return thresholds on integers as a staircase a channel.

    Args:
        node: a MultiThreshold whose values are `out_bias` and one more at each threshold.
        constants: by name.
        before: what it takes.
        name: of the layer.
    """
    lowest = round(attributes_of(node).get("out_bias", 0.0))
    # A threshold that no accumulator reaches may be any number.
    table = np.clip(np.ceil(constants[node.input[1]].astype(np.float64)),
                    before.low[:, None], before.high[:, None] + 1)  # fmt: skip
    thresholds, values = [], []
    for row in table.astype(np.int64):
        at, counts = np.unique(row, return_counts=True)
        thresholds.append(at)
        values.append(lowest + np.concatenate([[0], np.cumsum(counts)]))
    return Requantize(name, tuple(thresholds), tuple(values))


def scored(node: NodeProto, constants: dict[str, np.ndarray], layer: Layer) -> Linear:
    """Return the last layer with a factor (Mul) or a summand (Add) of each class in it.

    Raises:
        BadInput: the factors make the weights too wide.
    """
    if not isinstance(layer, Linear):
        raise told(node, "sparse hardware ends in a layer, whose largest score wins")
    (given,) = (constants[name] for name in node.input if name in constants)
    integers = np.rint(given).astype(np.int64).reshape(-1)
    if node.op_type == "Add":
        return replace(layer, bias=layer.bias + integers)
    weights = layer.weights * integers[:, None, None]
    if bits_of(int(weights.min()), int(weights.max())) > WEIGHT_BITS:
        raise told(node, "the largest score wins in sparse hardware, so the last layer's weights "
                         "need one step for all classes")  # fmt: skip
    return replace(layer, weights=weights, bias=layer.bias * integers)


def merged(layers: list[Layer], nodes: list[NodeProto]) -> tuple[list[Layer], list[NodeProto]]:
    """Return layers and their nodes, a last one that takes each score by itself in the one before.

    The dense way wants a layer in front of the class; it multiplies by one.
    """
    if len(layers) < 2 or not (isinstance(layers[-1], Linear) and isinstance(layers[-2], Linear)):
        return layers, nodes
    before, last = layers[-2:]
    assert isinstance(before, Linear) and isinstance(last, Linear)
    matrix = last.weights[:, :, 0]
    factors = np.diag(matrix)
    if last.taps > 1 or not np.array_equal(matrix, np.diag(factors)):
        return layers, nodes
    both = replace(
        before,
        weights=before.weights * factors[:, None, None],
        bias=before.bias * factors + last.bias,
    )
    return [*layers[:-2], both], nodes[:-1]
