"""Quantizers that take turns: in a position's clocks one table serves several channels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from build.sparse.network import Requantize
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
    """The quantizers of a layer as units that have `turns` clocks for a position."""

    units: tuple[Unit, ...]
    turns: int

    def compute(self, x: np.ndarray) -> np.ndarray:
        """Return the values (N, channels, positions) of accumulators."""
        result = np.empty_like(x)
        for unit in self.units:
            for channel, table in zip(unit.channels, unit.tables, strict=True):
                result[:, channel] = table.compute(x[:, channel])
        return result


def same_size(stairs: Sequence[tuple[np.ndarray, np.ndarray]], name: str) -> tuple[Table, ...]:
    """Return tables of the same `bits` and `fraction`: the segments of each as the finest's."""
    bits = max(1, *(table_of(*stair, name).bits for stair in stairs))
    fraction = min(table_of(*stair, name, bits).fraction for stair in stairs)
    return tuple(table_of(*stair, name, bits, fraction) for stair in stairs)


def share(quantizer: Requantize, clocks: int) -> Shared:
    """Return a layer's quantizers as units with so many clocks a position: as few as there can be.

    Channels of tables of like size come into one unit.
    """
    stairs = list(zip(quantizer.thresholds, quantizer.values, strict=True))
    tables = [table_of(*stair, quantizer.name) for stair in stairs]
    order = sorted(
        range(len(stairs)), key=lambda i: (tables[i].bits - tables[i].fraction, tables[i].bits)
    )
    turns = -(-len(order) // -(-len(order) // clocks))
    units = []
    for start in range(0, len(order), turns):
        channels = tuple(order[start : start + turns])
        units.append(Unit(channels, same_size([stairs[i] for i in channels], quantizer.name)))
    return Shared(tuple(units), turns)
