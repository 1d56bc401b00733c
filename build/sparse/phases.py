"""Each phase of the compiler executed and compared with the one before, at every build."""

import numpy as np

from build.build_report import Verified
from build.source import Source
from build.sparse.adders import AdderGraph, adder_graph
from build.sparse.emit import window_range
from build.sparse.lookups import Lookup, lookup_of
from build.sparse.network import Linear, MaxPool, Network, Requantize, Tensor
from build.sparse.scales import Scaled, scaled_of
from build.sparse.schedule import SERIAL, spacings
from build.sparse.serial import SerialGraph, serial_graph
from build.sparse.shared import share
from build.sparse.tables import Table, table_of
from build.verify import classes_of, network_logits, observe
from models.errors import CheckFailed


def check_lifted(network: Network, source: Source, frames: np.ndarray) -> Verified:
    """Compare the integer network with the source: every quantizer, and the classes.

    Args:
        network: from `from_graph.network_of`.
        source: what it was made from.
        frames: float (N, 2, 1024).

    Raises:
        CheckFailed: a layer differs; it is named.
    """
    observed = observe(source.model, frames)
    integers = network.quantize(frames)
    quantizers = []
    classes = np.empty(0)
    for layer, tensor in network.trace(integers):
        if isinstance(layer, Requantize):
            quantizers.append((layer, tensor))
        classes = tensor[:, 0, 0]
    if len(quantizers) != len(observed.levels):
        raise CheckFailed(f"{len(quantizers)} quantizers were made of {len(observed.levels)}")
    for (layer, tensor), levels in zip(quantizers, observed.levels, strict=True):
        lowest = tensor.min() - levels.min()  # levels count from the lowest value
        _same("integer network", layer.name, tensor, levels + lowest)
    logits = observed.logits if source.network is None else network_logits(source.network, frames)
    _same("integer network", "the class", classes, classes_of(logits))
    return _verified("integer network", len(frames), len(quantizers))


def check_folded(before: Network, after: Network, integers: np.ndarray) -> Verified:
    """Compare every channel that is left with the one of before; otherwise as `check_lifted`."""
    wanted = {layer.name: tensor for layer, tensor in before.trace(integers)}
    kept: tuple[int, ...] = ()
    quantizers = 0
    for layer, tensor in after.trace(integers):
        expected = wanted[layer.name]
        if isinstance(layer, Linear):
            kept = layer.kept
        elif isinstance(layer, Requantize | MaxPool):
            quantizers += isinstance(layer, Requantize)
            _same("folding", layer.name, tensor, expected[:, kept])
        else:
            _same("folding", layer.name, tensor, expected)
    return _verified("folding", len(integers), quantizers)


def check_composed(before: Network, after: Network, integers: np.ndarray) -> Verified:
    """Compare every channel that was not composed with the one of before; as `check_lifted`."""
    wanted, stairs = {}, {}
    kept: tuple[int, ...] = ()
    for layer, tensor in before.trace(integers):
        if isinstance(layer, Linear):
            kept = layer.kept
        elif isinstance(layer, Requantize):
            stairs[layer.name] = dict(zip(kept, layer.values, strict=True))
        wanted[layer.name] = dict(zip(kept, tensor.transpose(1, 0, 2), strict=False))
    quantizers = 0
    for layer, tensor in after.trace(integers):
        if isinstance(layer, Linear):
            kept = layer.kept
        elif isinstance(layer, Requantize):
            quantizers += 1
            for place, channel in enumerate(kept):
                same = np.array_equal(layer.values[place], stairs[layer.name][channel])
                if same and not layer.hands_on(place):
                    expected = wanted[layer.name][channel]
                    _same("composition", layer.name, tensor[:, place], expected)
    _same("composition", "the class", after.classes(integers), before.classes(integers))
    return _verified("composition", len(integers), quantizers)


def check_constants(network: Network, integers: np.ndarray, clocks: int) -> Verified:
    """Compare adder graphs and memories with the layers they stand for; as `check_lifted`.

    Layers with enough of the frame's clocks are computed digit by digit, as their hardware does.
    """
    x, quantizers = integers, 0
    for layer, before, spacing in zip(
        network.layers, network.tensors, spacings(network, clocks), strict=False
    ):
        expected = layer.compute(x)
        if isinstance(layer, Linear) and expected.shape[2] > 1:
            graph = adder_graph(layer.matrix)
            made: AdderGraph | SerialGraph = graph
            if spacing >= SERIAL:
                made = serial_graph(graph, *window_range(before, layer.taps), spacing)
            sums = made.compute(layer.columns(x)).transpose(0, 2, 1)
            _same("adders", layer.name, sums, expected)
        elif isinstance(layer, Requantize):
            quantizers += 1
            if before.positions > 1 and spacing >= SERIAL:
                found = share(layer, spacing, before).compute(x)
            else:
                looked_up = [
                    _constants(layer, channel, before).compute(x[:, channel])
                    for channel in range(before.channels)
                ]
                found = np.stack(looked_up, axis=1)
            _same("tables", layer.name, found, expected)
        x = expected
    return _verified("adders and tables", len(integers), quantizers)


def _constants(layer: Requantize, channel: int, tensor: Tensor) -> Lookup | Scaled | Table:
    """Return what computes a staircase of a convolution, or of a dense layer."""
    at, values = layer.thresholds[channel], layer.values[channel]
    if tensor.positions == 1 or not len(at):
        return table_of(at, values, layer.name)
    if (scaled := scaled_of(at, values)) is not None:
        return scaled
    low, high = int(tensor.low[channel]), int(tensor.high[channel])
    return lookup_of(at, values, low, high, layer.name)


def _same(step: str, name: str, found: np.ndarray, expected: np.ndarray) -> None:
    wrong = (found != expected).reshape(len(found), -1).any(axis=1)
    if wrong.any():
        raise CheckFailed(f"{step}: {name} differs in {wrong.sum()} of {len(found)} frames")


def _verified(step: str, frames: int, quantizers: int) -> Verified:
    return Verified(step, frames, mismatches=0, max_deviation=0.0, quantizers=quantizers)
