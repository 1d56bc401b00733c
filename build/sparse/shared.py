"""Quantizers that take turns: in a position's clocks one table serves several channels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from build.sparse.network import Requantize, Tensor
from build.sparse.tables import Table, table_of


@dataclass(frozen=True)
class Unit:
    """One table memory: the channels in the order of their turns, and the table of each.

    The tables have the same `bits` and `fraction`.
    """

    channels: tuple[int, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Shared:
    """The quantizers of a layer as units that have `turns` clocks for a position.

    The channels `handed` leave as they come (`Requantize.hands_on`).
    """

    units: tuple[Unit, ...]
    turns: int
    handed: tuple[int, ...]

    def compute(self, x: np.ndarray) -> np.ndarray:
        """Return the values (N, channels, positions) of accumulators."""
        result = x.copy()
        for unit in self.units:
            for channel, table in zip(unit.channels, unit.tables, strict=True):
                result[:, channel] = table.compute(x[:, channel])
        return result


def same_size(stairs: Sequence[tuple[np.ndarray, np.ndarray]], name: str) -> tuple[Table, ...]:
    """Return tables of the same `bits` and `fraction`: the segments of each as the finest's."""
    bits = max(1, *(table_of(*stair, name).bits for stair in stairs))
    fraction = min(table_of(*stair, name, bits).fraction for stair in stairs)
    return tuple(table_of(*stair, name, bits, fraction) for stair in stairs)


def share(quantizer: Requantize, clocks: int, accumulators: Tensor | None = None) -> Shared:
    """Return a layer's quantizers as units with so many clocks a position: as few as there can be.

    Channels of tables of like size come into one unit.

    Args:
        quantizer: the layer.
        clocks: a position's.
        accumulators: what it takes; without it no channel is handed on.
    """
    handed = []
    if accumulators is not None:
        ends = zip(quantizer.values, accumulators.low, accumulators.high, strict=True)
        handed = [
            channel
            for channel, (values, low, high) in enumerate(ends)
            if quantizer.hands_on(channel) and values[0] <= low and high <= values[-1]
        ]
    stairs = list(zip(quantizer.thresholds, quantizer.values, strict=True))
    tables = [table_of(*stair, quantizer.name) for stair in stairs]
    order = sorted(
        sorted(set(range(len(stairs))) - set(handed)),
        key=lambda i: (tables[i].bits - tables[i].fraction, tables[i].bits),
    )
    turns = -(-len(order) // -(-len(order) // clocks)) if order else 1
    units = []
    for start in range(0, len(order), turns):
        channels = tuple(order[start : start + turns])
        units.append(Unit(channels, same_size([stairs[i] for i in channels], quantizer.name)))
    return Shared(tuple(units), turns, tuple(handed))
