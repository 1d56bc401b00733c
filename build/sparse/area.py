"""An estimate of what a network's sparse hardware takes, without synthesis.

It orders rates and tells what fits with room to spare; `aaronnet synth` counts.
"""

import re
from collections.abc import Iterator
from functools import cache

import numpy as np

from build.boards import Board
from build.sparse.adders import adder_graph, digits
from build.sparse.assemble import compile_network
from build.sparse.emit import window_range
from build.sparse.network import (
    ArgMax,
    Linear,
    MaxPool,
    Network,
    Requantize,
    Tensor,
    bits_of,
)
from build.sparse.room import FREE, Area
from build.sparse.scales import scaled_of
from build.sparse.schedule import DRAIN, SERIAL, SLOWEST, lanes_for, spacings
from build.sparse.serial import serial_graph
from build.sparse.shared import share
from models.errors import BadInput

MEMORY = re.compile(r'^\t(\(\* rom_style = "block".*\*\) )?reg \[(\d+):0\] \w+ \[0:(\d+)\];$', re.M)
"""A memory that nothing writes, as `emit.rom` declares it: bits, words."""

SHAPES = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
"""Words and bits of a block RAM of 18 kbit."""

BLOCK = 8192
"""Bits from which on a memory that asks for nothing becomes a block RAM."""

# LUTs of what a module consists of, fitted to what `aaronnet synth` counts of each module of
# `aaronnet build aaronnet32++-hw8 --style sparse --clocks 257` for ZCU104: layers of 1 to 16
# clocks a position. docs/build.md has both beside each other.
ADDER, POOL, SCORE = 0.84, 0.91, 1.0
"""Of a bit of an adder, of the largest of two values, of a score that waits for its turn."""

SERIAL_ADDER, SERIAL_INPUT, SHIFT = 1.04, 1.17, 1.55
"""Of a digit's bit of a serial adder and of an input's choice; of each input besides."""

LOOKUP, SCALED = 3.6, 26.5
"""Of a parallel quantizer beside its block RAM, and of one that is a scale and needs none."""

TURN, UNIT, LARGEST = 0.51, 12.6, 0.8
"""Of an accumulator's bit that waits for its turn, of a table, of a pooled result's bit."""

PARTIAL, CHOICE, DENSE = 1.0, 0.33, 120
"""Of a bit of a lane's product at each bit of the weight, of a dense input's bit, of the rest."""

SHARED = 0.4
"""Adders for a signed digit of a weight, at least: matrices of ours take 0.46 to 0.76."""

REST = 150
"""The FIFOs at both ends and the windows."""


def _luts(network: Network, clocks: int) -> Iterator[float]:
    """Yield about what every layer takes."""
    rates = spacings(network, clocks)
    yield REST
    for index, (layer, spacing) in enumerate(zip(network.layers, rates, strict=False)):
        before, after = network.tensors[index : index + 2]
        if isinstance(layer, Linear) and after.positions == 1:
            yield _dense(layer, before, clocks)
        elif isinstance(layer, Linear):
            yield _convolution(layer, before, spacing)
        elif isinstance(layer, Requantize) and before.positions > 1:
            pooled = isinstance(network.layers[index + 1], MaxPool)
            yield _quantizers(layer, before, after, spacing, pooled)
        elif isinstance(layer, MaxPool) and spacing < SERIAL:
            yield POOL * after.channels * after.bits
        elif isinstance(layer, ArgMax):
            yield SCORE * before.channels * before.bits


def _dense(layer: Linear, before: Tensor, clocks: int) -> float:
    lanes = len(lanes_for(layer.matrix, clocks).columns)
    weights = bits_of(min(int(layer.weights.min()), -1), int(layer.weights.max()))
    inputs = before.channels * before.positions
    product = PARTIAL * weights * (before.bits + 2)
    return lanes * product + CHOICE * inputs * before.bits + DENSE


def _convolution(layer: Linear, before: Tensor, spacing: int) -> float:
    graph = adder_graph(layer.matrix)
    low, high = window_range(before, layer.taps)
    if spacing < SERIAL:
        ranges = graph.ranges(low, high)[graph.inputs :]
        return ADDER * sum(bits_of(least, most) for least, most in ranges)
    digit = serial_graph(graph, low, high, spacing).digit
    inputs = int(np.count_nonzero(layer.matrix.any(axis=0)))
    return digit * (SERIAL_ADDER * len(graph.adders) + SERIAL_INPUT * inputs) + SHIFT * inputs


def _quantizers(
    layer: Requantize, before: Tensor, after: Tensor, spacing: int, pooled: bool
) -> float:
    if spacing < SERIAL:
        left = [c for c in range(before.channels) if not layer.hands_on(c)]
        scaled = sum(scaled_of(layer.thresholds[c], layer.values[c]) is not None for c in left)
        return SCALED * scaled + LOOKUP * (len(left) - scaled)
    units = share(layer, spacing, None if pooled else before).units
    largest = LARGEST * after.channels * after.bits if pooled else 0
    return TURN * before.channels * before.bits + UNIT * len(units) + largest


def estimated(network: Network, clocks: int) -> Area:
    """Return about what a folded network takes at so many clocks a frame."""
    made = compile_network(network, clocks).accelerator
    source = made.links[0]
    frames = 2 ** (2 * source.shape[0] - 1).bit_length()  # words of the FIFO in front
    brams = _blocks(frames, source.stream.used_bits)
    brams += sum(map(_brams, made.design.sources.values()))
    return Area(round(sum(_luts(network, clocks))), brams)


def _brams(text: str) -> int:
    """Return the block RAMs of 18 kbit of a generated module's memories."""
    return sum(
        _blocks(int(last) + 1, int(top) + 1)
        for style, top, last in MEMORY.findall(text)
        if style or (int(top) + 1) * (int(last) + 1) >= BLOCK
    )


@cache
def _blocks(words: int, bits: int) -> int:
    """Return how many hold so many words of so many bits; columns may have different shapes."""
    if bits <= 0:
        return 0
    return min(-(-words // depth) + _blocks(words, bits - width) for depth, width in SHAPES)


def least_clocks(network: Network) -> int:
    """Return the clocks of a frame that a dense build takes at its best: a sample a clock.

    Where the first layer has a window every sample, the zeros around the frame take theirs.
    """
    first = network.layers[0]
    assert isinstance(first, Linear)
    return network.length + (2 * first.padding if first.stride == 1 else 0)


def fastest(network: Network, board: Board, most: int | None = None) -> tuple[int, Area]:
    """Return the fewest clocks a frame at which a board keeps FREE, and what they take.

    Args:
        network: the folded one.
        board: what there is.
        most: clocks of a frame; default: the slowest that there is.

    Raises:
        BadInput: not even the slowest rate fits.
    """
    first = network.layers[0]
    assert isinstance(first, Linear)
    slots = network.length // first.stride + 1
    slowest = SLOWEST if most is None else most // slots
    least, room = round(sum(_least_luts(network, slowest * slots))), board.resources["LUT"]
    if least > (1 - FREE) * room:
        raise BadInput(
            f"even at {slowest * slots:,} clocks a frame the network takes more than {least:,} of "
            f"{board.name}'s {room:,} LUTs, of which {FREE:.0%} shall stay free"
        )
    area = None
    for times in range(1, slowest + 1):
        if times * slots - DRAIN < _most_outputs(network):
            continue
        area = estimated(network, times * slots)
        if area.fits(board):
            return times * slots, area
    if area is None:
        raise BadInput(f"the network has too many dense outputs for {slowest * slots:,} clocks")
    raise BadInput(
        f"even at {slowest * slots:,} clocks a frame the network takes {area.of(board)}, of which "
        f"{FREE:.0%} shall stay free"
    )


def _least_luts(network: Network, clocks: int) -> Iterator[float]:
    """Yield less than every convolution takes, without a search for what its rows share."""
    for index, spacing in enumerate(spacings(network, clocks)[:-1]):
        layer, (before, after) = network.layers[index], network.tensors[index : index + 2]
        if isinstance(layer, Linear) and after.positions > 1:
            weights, counts = np.unique(layer.weights, return_counts=True)
            terms = sum(len(digits(w)) * n for w, n in zip(weights.tolist(), counts, strict=True))
            yield SHARED * terms * (1 if spacing >= SERIAL else ADDER * before.bits)


def _most_outputs(network: Network) -> int:
    """Return the outputs of the largest dense layer: each has a clock."""
    return max((tensor.channels for tensor in network.tensors if tensor.positions == 1), default=0)
