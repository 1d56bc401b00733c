"""Depthwise channels of one nonzero tap, composed with the quantizers around them.

Such a channel computes `behind(weight * front(accumulator))`, with a maximum over positions between
perhaps: one staircase of the accumulator. `front` takes it over, the weight becomes 1 and `behind`
hands on what comes (`Requantize.hands_on`), so that neither needs hardware.

The staircase is shifted to 0 where the input is 0, for that is what lies outside the frame, and
turned around where it falls, for a maximum's sake; the matrix that follows and the thresholds
behind it take account of both.
"""

from dataclasses import replace

import numpy as np

from build.sparse.network import Layer, Linear, MaxPool, Network, Requantize


def compose(network: Network) -> Network:
    """Return the network with composed channels; classes and all other channels are the same."""
    layers = list(network.layers)
    for index, layer in enumerate(layers):
        front = index - 1
        while front > 0 and isinstance(layers[front], MaxPool):
            front -= 1
        if isinstance(layer, Linear) and front > 0:
            around = [
                layers[i] for i in (front, index + 1, index + 2, index + 3) if i < len(layers)
            ]
            kinds = [type(item) for item in around]
            if kinds == [Requantize, Requantize, Linear, Requantize] and _depthwise(layer):
                _compose(layers, front, index)
    return replace(network, layers=tuple(layers))


def _merged(layer: Requantize) -> Requantize:
    """Return a quantizer without thresholds between equal values."""
    steps = [np.diff(values) != 0 for values in layer.values]
    return replace(
        layer,
        thresholds=tuple(at[step] for at, step in zip(layer.thresholds, steps, strict=True)),
        values=tuple(
            values[np.append(True, step)] for values, step in zip(layer.values, steps, strict=True)
        ),
    )


def _depthwise(layer: Linear) -> bool:
    """Whether each output has its own input, and windows lie side by side."""
    outputs, inputs, _ = layer.weights.shape
    return outputs == inputs and not layer.weights[~np.eye(outputs, dtype=bool)].any()


def _compose(layers: list[Layer], front: int, index: int) -> None:
    """Change the layers around the depthwise one at `index`; `front`: its input's quantizer."""
    before, layer, behind, after, last = (
        layers[i] for i in (front, index, index + 1, index + 2, index + 3)
    )
    assert isinstance(before, Requantize) and isinstance(behind, Requantize)
    assert isinstance(layer, Linear) and isinstance(after, Linear) and isinstance(last, Requantize)
    if after.padding or layer.bias.any():
        return
    weights, matrix = layer.weights.copy(), after.weights.copy()
    values, thresholds, steps = list(before.values), list(behind.thresholds), list(behind.values)
    offset = np.zeros(len(matrix), np.int64)
    for channel in range(len(weights)):
        taps = np.flatnonzero(weights[channel, channel])
        if len(taps) != 1:
            continue
        weight = int(weights[channel, channel, taps[0]])

        def composed(x: np.ndarray, weight: int = weight, channel: int = channel) -> np.ndarray:
            reached = np.searchsorted(behind.thresholds[channel], weight * x, side="right")
            return behind.values[channel][reached]

        stairs = composed(before.values[channel])
        level = int(composed(np.zeros(1, np.int64))[0])
        order = np.argsort(before.values[channel])
        rising, falling = (sign * np.diff(stairs[order]) >= 0 for sign in (1, -1))
        if not (rising.all() or falling.all()):
            continue
        sign = 1 if rising.all() else -1
        if layer.padding == 0 or taps[0] == layer.padding == layer.taps // 2:
            level = int(stairs.min() if sign > 0 else stairs.max())  # nothing lies outside
        values[channel] = sign * (stairs - level)
        weights[channel, channel, taps[0]] = 1
        low, high = sorted((int(values[channel].min()), int(values[channel].max())))
        if layer.padding:
            low, high = min(low, 0), max(high, 0)
        thresholds[channel], steps[channel] = np.arange(low + 1, high + 1), np.arange(low, high + 1)
        offset += matrix[:, channel].sum(axis=1) * level
        matrix[:, channel] *= sign
    layers[front] = _merged(replace(before, values=tuple(values)))
    layers[index] = replace(layer, weights=weights)
    layers[index + 1] = replace(behind, thresholds=tuple(thresholds), values=tuple(steps))
    layers[index + 2] = replace(after, weights=matrix)
    moved = tuple(at - by for at, by in zip(last.thresholds, offset, strict=True))
    layers[index + 3] = replace(last, thresholds=moved)
