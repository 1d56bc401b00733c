"""Each phase of the compiler executed and compared with the one before, at every build."""

import numpy as np

from build.build_report import Verified
from build.source import Source
from build.sparse.adders import adder_graph
from build.sparse.network import Linear, MaxPool, Network, Requantize
from build.sparse.tables import table_of
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


def check_constants(network: Network, integers: np.ndarray) -> Verified:
    """Compare adder graphs and tables with the layers they stand for; as `check_lifted`."""
    x, quantizers = integers, 0
    for layer in network.layers:
        expected = layer.compute(x)
        if isinstance(layer, Linear) and expected.shape[2] > 1:
            padded = np.pad(x, ((0, 0), (0, 0), (layer.padding, layer.padding)))
            view = np.lib.stride_tricks.sliding_window_view(padded, layer.taps, axis=2)
            view = view[:, :, :: layer.stride].transpose(0, 2, 3, 1)
            sums = adder_graph(layer.matrix).compute(view.reshape(*view.shape[:2], -1))
            _same("adders", layer.name, sums.transpose(0, 2, 1), expected)
        elif isinstance(layer, Requantize):
            quantizers += 1
            tables = zip(layer.thresholds, layer.values, strict=True)
            looked_up = [
                table_of(at, values, layer.name).compute(x[:, channel])
                for channel, (at, values) in enumerate(tables)
            ]
            _same("tables", layer.name, np.stack(looked_up, axis=1), expected)
        x = expected
    return _verified("adders and tables", len(integers), quantizers)


def _same(step: str, name: str, found: np.ndarray, expected: np.ndarray) -> None:
    wrong = (found != expected).reshape(len(found), -1).any(axis=1)
    if wrong.any():
        raise CheckFailed(f"{step}: {name} differs in {wrong.sum()} of {len(found)} frames")


def _verified(step: str, frames: int, quantizers: int) -> Verified:
    return Verified(step, frames, mismatches=0, max_deviation=0.0, quantizers=quantizers)
