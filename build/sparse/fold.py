"""Passes over the integer network that leave its classes as they are.

A channel that the next layer ignores is dropped. So is one whose quantizer always gives the same
value: what it adds to the next layer's accumulators moves into the thresholds behind them (zeros
around the frame are an exception: a constant other than zero ends there). Thresholds that no
accumulator reaches go too. `Linear.kept` says which channels are left.
"""

from dataclasses import replace

import numpy as np

from build.sparse.network import Layer, Linear, Network, Requantize


def fold(network: Network) -> Network:
    """Return the network without unused and constant channels and unreachable thresholds."""
    before = -1
    while before != (before := sum(tensor.channels for tensor in network.tensors)):
        network = _fold_constants(_drop_unused(network))
    return _trim(network)


def _linears(layers: list[Layer]) -> list[int]:
    return [index for index, layer in enumerate(layers) if isinstance(layer, Linear)]


def _without(network: Network, keep: np.ndarray, index: int) -> Network:
    """Return the network with only the outputs `keep` (bool) of the Linear at `index`."""
    layers = list(network.layers)
    layer, quantizer = layers[index], layers[index + 1]
    assert isinstance(layer, Linear) and isinstance(quantizer, Requantize)
    chosen = np.flatnonzero(keep)
    layers[index] = replace(
        layer,
        weights=layer.weights[chosen],
        bias=layer.bias[chosen],
        kept=tuple(layer.kept[i] for i in chosen),
    )
    layers[index + 1] = replace(
        quantizer,
        thresholds=tuple(quantizer.thresholds[i] for i in chosen),
        values=tuple(quantizer.values[i] for i in chosen),
    )
    following = next(i for i in _linears(layers) if i > index)
    after = layers[following]
    assert isinstance(after, Linear)
    layers[following] = replace(after, weights=after.weights[:, chosen])
    return replace(network, layers=tuple(layers))


def _drop_unused(network: Network) -> Network:
    """Drop the outputs that the next layer ignores; one stays where it ignores all."""
    indices = _linears(list(network.layers))
    for index, following in zip(indices[-2::-1], indices[:0:-1], strict=True):
        after = network.layers[following]
        assert isinstance(after, Linear)
        used: np.ndarray = (after.weights != 0).any(axis=(0, 2))
        if not used.all():
            used[0] |= not used.any()
            network = _without(network, used, index)
    return network


def _fold_constants(network: Network) -> Network:
    """Drop the outputs that always have the same value; one stays where all do."""
    indices = _linears(list(network.layers))
    for index, following in zip(indices, indices[1:], strict=False):
        layers = list(network.layers)
        tensor, after = network.tensors[following], layers[following]
        assert isinstance(after, Linear)
        constant = (tensor.low == tensor.high) & ((tensor.low == 0) | (after.padding == 0))
        constant[0] &= not constant.all()
        if not constant.any():
            continue
        offset = after.weights.sum(axis=2) @ np.where(constant, tensor.low, 0)
        behind = layers[following + 1]
        if isinstance(behind, Requantize):
            moved = zip(behind.thresholds, offset, strict=True)
            layers[following + 1] = replace(behind, thresholds=tuple(at - by for at, by in moved))
        else:
            layers[following] = replace(after, bias=after.bias + offset)
        network = _without(replace(network, layers=tuple(layers)), ~constant, index)
    return network


def _trim(network: Network) -> Network:
    """Drop thresholds outside the range of their accumulators."""
    layers = list(network.layers)
    for index, layer in enumerate(layers):
        if isinstance(layer, Requantize):
            before = network.tensors[index]
            thresholds, values = [], []
            for at, steps, low, high in zip(
                layer.thresholds, layer.values, before.low, before.high, strict=True
            ):
                first, last = np.searchsorted(at, [low, high], side="right")
                thresholds.append(at[first:last])
                values.append(steps[first : last + 1])
            layers[index] = replace(layer, thresholds=tuple(thresholds), values=tuple(values))
    return replace(network, layers=tuple(layers))
