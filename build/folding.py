"""Find the folding that reaches a frame rate with the least resources.

Every layer's parallelism (PE, SIMD) must divide its channels; a layer takes fewer clocks a frame
the more parallel it is, and the slowest layer sets the pace. Layers are independent but for three
things: a window generator in front of a depthwise layer has its parallelism; streams of different
widths need a converter; and the board's resources are shared. The cheapest choice under these rules
is found exactly by dynamic programming along the data: of all ways to fold what came before, those
matter that are the cheapest for the widths of the streams which are still to be taken. On a chain
of layers that is one stream (Viterbi), between a fork and its join a few.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from finn.custom_op.fpgadataflow.concat import StreamingConcat
from finn.custom_op.fpgadataflow.convolutioninputgenerator import ConvolutionInputGenerator
from finn.custom_op.fpgadataflow.fmpadding import FMPadding
from finn.custom_op.fpgadataflow.hwcustomop import HWCustomOp
from finn.custom_op.fpgadataflow.labelselect import LabelSelect
from finn.custom_op.fpgadataflow.matrixvectoractivation import MVAU
from finn.custom_op.fpgadataflow.pool import Pool
from finn.custom_op.fpgadataflow.vectorvectoractivation import VVAU
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from build.boards import Board
from build.resources import node_resources
from build.rtl.kernels import WidthConverter
from build.rtl.window_ops import PaddedWindow_rtl
from models.errors import BadInput

COUNTED = ("LUT", "DSP", "BRAM_18K")
"""What is weighed: the sum of the shares of the board's LUTs, DSPs and block RAMs."""

COMFORTABLE = 0.7
"""Share of a resource up to which a design still routes (finn.util.platforms, Xilinx's advice)."""

PARALLEL_POSITIONS = 4
"""Positions from which on FINN's generator of whole windows has a counter to build."""

Attributes = dict[str, int]


@dataclass(frozen=True)
class Option:
    """One way to fold a unit (a layer, or a depthwise layer with its window generator).

    Attributes:
        attributes: node name -> attributes to set.
        cycles: clocks a frame of the unit's slowest node.
        resources: LUT, DSP, BRAM_18K.
        inputs: elements a word of the stream in.
        outputs: elements a word of the stream out.
    """

    attributes: dict[str, Attributes]
    cycles: int
    resources: dict[str, int]
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Unit:
    """Nodes that are folded together, with all their options.

    Attributes:
        name: of the node that computes.
        options: every folding that FINN's divisibility rules allow.
        stream: elements a frame, bits and sign of what comes out.
        sources: places in the list of units, the units whose streams it takes.
    """

    name: str
    options: tuple[Option, ...]
    stream: tuple[int, int, bool]
    sources: tuple[int, ...] = ()

    @property
    def fastest(self) -> int:
        """Clocks a frame at the highest parallelism."""
        return min(option.cycles for option in self.options)


@dataclass(frozen=True)
class Folding:
    """A choice of one option a unit.

    Attributes:
        attributes: node name -> PE, SIMD, ...: FINN's folding JSON without its Defaults.
        cycles: clocks a frame of the slowest unit.
        bottleneck: its name.
        resources: LUT, DSP, BRAM_18K of all units and the converters between them.
    """

    attributes: dict[str, Attributes]
    cycles: int
    bottleneck: str
    resources: dict[str, int]

    def fits(self, board: Board, share: float = 1.0) -> bool:
        """Whether no resource takes more than a share of what the board has."""
        return all(self.resources[kind] <= share * board.resources[kind] for kind in COUNTED)


def divisors(number: int) -> list[int]:
    """Return the divisors of a positive number in order."""
    return [value for value in range(1, number + 1) if number % value == 0]


def foldings(node: HWCustomOp) -> Iterator[Attributes]:
    """Yield every folding of a node on its own that FINN accepts."""
    if isinstance(node, MVAU):
        for simd in divisors(node.get_nodeattr("MW")):
            for pe in divisors(node.get_nodeattr("MH")):
                yield {"PE": pe, "SIMD": simd}
    elif isinstance(node, VVAU):
        channels = node.get_nodeattr("Channels")
        yield from ({"PE": pe, "SIMD": 1} for pe in divisors(channels))
        # The whole window at once, for which all channels must be side by side.
        if math.prod(node.get_nodeattr("Dim")) >= PARALLEL_POSITIONS:
            yield {"PE": channels, "SIMD": math.prod(node.get_nodeattr("Kernel"))}
    elif isinstance(node, Pool):
        yield from ({"PE": pe} for pe in divisors(node.get_nodeattr("Channels")))
    elif isinstance(node, PaddedWindow_rtl):
        yield {}
    elif isinstance(node, ConvolutionInputGenerator):
        channels = node.get_nodeattr("IFMChannels")
        yield from ({"SIMD": simd, "parallel_window": 0} for simd in divisors(channels))
        if math.prod(node.get_nodeattr("OFMDim")) >= PARALLEL_POSITIONS:
            yield {"SIMD": channels, "parallel_window": 1}
    elif isinstance(node, FMPadding):
        yield from ({"SIMD": simd} for simd in divisors(node.get_nodeattr("NumChannels")))
    elif isinstance(node, LabelSelect):
        yield from ({"PE": pe} for pe in divisors(node.get_nodeattr("Labels")))
    elif isinstance(node, StreamingConcat):
        common = math.gcd(*node.get_nodeattr("ChannelsPerStream"))
        yield from ({"SIMD": simd} for simd in divisors(common))
    elif "PE" in node.get_nodeattr_types():
        yield from ({"PE": pe} for pe in divisors(node.get_normal_output_shape()[-1]))
    else:
        yield {}


def _set(node: HWCustomOp, attributes: Attributes) -> None:
    for name, value in attributes.items():
        node.set_nodeattr(name, value)


def units(model: ModelWrapper, board: Board) -> list[Unit]:
    """Return the network's units with their options; leaves the model's folding as it was."""
    found: list[Unit] = []
    places: dict[str, int] = {}  # of the units that give a tensor
    for node in model.graph.node:
        operator = getCustomOp(node)
        if isinstance(operator, ConvolutionInputGenerator) and operator.get_nodeattr("depthwise"):
            continue
        members = [operator]
        before = model.find_producer(node.input[0])
        if isinstance(operator, VVAU | Pool) and before is not None:
            generator = getCustomOp(before)
            if isinstance(generator, ConvolutionInputGenerator):
                members = [generator, operator]
        options = tuple(_options(members, board))
        datatype = operator.get_output_datatype()
        stream = (
            math.prod(operator.get_normal_output_shape()),
            datatype.bitwidth(),
            bool(datatype.signed()),
        )
        taken = members[0].onnx_node.input
        sources = tuple(places[name] for name in taken if name in places)
        places |= dict.fromkeys(node.output, len(found))
        found.append(Unit(node.name, options, stream, sources))
    return found


def _options(members: Sequence[HWCustomOp], board: Board) -> Iterator[Option]:
    """Yield the options of a node, or of a window generator and its depthwise layer."""
    last = members[-1]
    names = {name for member in members for choice in foldings(member) for name in choice}
    saved = [
        {name: member.get_nodeattr(name) for name in names & member.get_nodeattr_types().keys()}
        for member in members
    ]
    for choice in foldings(last):
        settings = [choice]
        if len(members) == 2:
            window = int(choice.get("SIMD", 1) > 1)
            if not isinstance(members[0], PaddedWindow_rtl):
                settings.insert(0, {"SIMD": choice["PE"], "parallel_window": window})
            elif window:
                settings.insert(0, {})
            else:
                continue
        for member, setting in zip(members, settings, strict=True):
            _set(member, setting)
        amounts = [node_resources(member, board) for member in members]
        first = members[0]
        yield Option(
            attributes={
                member.onnx_node.name: setting
                for member, setting in zip(members, settings, strict=True)
                if setting
            },
            cycles=max(int(member.get_exp_cycles()) for member in members),
            resources={kind: sum(amount[kind] for amount in amounts) for kind in COUNTED},
            inputs=first.get_instream_width() // first.get_input_datatype().bitwidth(),
            outputs=last.get_outstream_width() // last.get_output_datatype().bitwidth(),
        )
    for member, values in zip(members, saved, strict=True):
        _set(member, values)


def converter_luts(stream: tuple[int, int, bool], lanes_in: int, lanes_out: int) -> int:
    """Return the LUTs of the converter between two stream widths (in elements); 0 if equal."""
    if lanes_in == lanes_out:
        return 0
    elements, bits, signed = stream
    return WidthConverter(elements, bits, signed, lanes_in, lanes_out).resources().lut


def cheapest(chain: Sequence[Unit], board: Board, cycles: int) -> Folding:
    """Return the folding of least resources with at most `cycles` clocks a frame.

    Args:
        chain: the units in the order of the data.
        board: weighs the resources: each counts by its share of the board.
        cycles: clocks a frame that no unit may exceed.

    Raises:
        BadInput: a unit cannot be that fast; names it and its best.
    """
    slowest = max(chain, key=lambda unit: unit.fastest)
    if slowest.fastest > cycles:
        raise BadInput(
            f"{slowest.name} takes {slowest.fastest} clocks a frame at its most parallel, "
            f"{cycles} are allowed"
        )

    def cost(resources: dict[str, int]) -> float:
        return sum(amount / board.resources[kind] for kind, amount in resources.items())

    untaken = Counter(source for unit in chain for source in unit.sources)
    open_streams: tuple[int, ...] = ()
    # The cheapest way here for the words' widths of the open streams: its cost, and its choices.
    ways: dict[tuple[int, ...], tuple[float, tuple[Option, ...]]] = {(): (0.0, ())}
    for index, unit in enumerate(chain):
        untaken.subtract(unit.sources)
        still = tuple(place for place in (*open_streams, index) if untaken[place] > 0)
        options = [option for option in unit.options if option.cycles <= cycles]
        following: dict[tuple[int, ...], tuple[float, tuple[Option, ...]]] = {}
        for widths, (so_far, way) in ways.items():
            lanes = dict(zip(open_streams, widths, strict=True))
            converters = {
                width: sum(
                    converter_luts(chain[source].stream, lanes[source], width)
                    for source in unit.sources
                )
                for width in {option.inputs for option in options}
            }
            for option in options:
                total = so_far + cost(option.resources) + cost({"LUT": converters[option.inputs]})
                after = lanes | {index: option.outputs}
                key = tuple(after[place] for place in still)
                if key not in following or total < following[key][0]:
                    following[key] = total, (*way, option)
        ways, open_streams = following, still
    chosen = min(ways.values(), key=lambda way: way[0])[1]
    return _folding(chain, chosen)


def _folding(chain: Sequence[Unit], chosen: Sequence[Option]) -> Folding:
    resources = {kind: sum(option.resources[kind] for option in chosen) for kind in COUNTED}
    for unit, option in zip(chain, chosen, strict=True):
        for source in unit.sources:
            resources["LUT"] += converter_luts(
                chain[source].stream, chosen[source].outputs, option.inputs
            )
    slowest = max(zip(chain, chosen, strict=True), key=lambda pair: pair[1].cycles)
    return Folding(
        attributes={key: value for option in chosen for key, value in option.attributes.items()},
        cycles=slowest[1].cycles,
        bottleneck=slowest[0].name,
        resources=resources,
    )


def fastest_fitting(
    chain: Sequence[Unit], board: Board, share: float = COMFORTABLE, at_least: int = 1
) -> Folding | None:
    """Return the folding of fewest clocks a frame that fits a share of the board; None if none.

    Args:
        chain: the units in the order of the data.
        board: what must hold it.
        share: of LUTs, DSPs and block RAMs each.
        at_least: clocks a frame below which faster is of no use.
    """
    limit = max(at_least, *(unit.fastest for unit in chain))
    paces = sorted({option.cycles for unit in chain for option in unit.options})
    paces = [limit, *(pace for pace in paces if pace > limit)]

    def might_fit(cycles: int) -> bool:
        """Whether each resource fits on its own: cheap to tell, and no folding fits without."""
        return all(
            sum(
                min(o.resources[kind] for o in unit.options if o.cycles <= cycles) for unit in chain
            )
            <= share * board.resources[kind]
            for kind in COUNTED
        )

    # Not to be bisected: with more clocks the cheapest has a smaller sum of shares, and may still
    # take more of one resource.
    candidates = (cheapest(chain, board, pace) for pace in paces if might_fit(pace))
    return next((folding for folding in candidates if folding.fits(board, share)), None)


def check_folding(model: ModelWrapper, attributes: dict[str, Attributes], source: str) -> None:
    """Check a folding file's content against the network.

    Args:
        model: the graph of hardware layers.
        attributes: the file's content: node name -> attributes; "Defaults" is ignored.
        source: what to call the file in messages.

    Raises:
        BadInput: it names other nodes, or values that do not divide the layer's channels.
    """
    nodes = {node.name: getCustomOp(node) for node in model.graph.node}
    named = attributes.keys() - {"Defaults"}
    foldable = {name for name, node in nodes.items() if any(choice for choice in foldings(node))}
    if unknown := sorted(named - nodes.keys()):
        raise BadInput(f"{source} is for another network: this one has no {unknown[0]}")
    if missing := sorted(foldable - named):
        raise BadInput(f"{source} is for another network: it says nothing of {missing[0]}")
    for name in sorted(named & foldable):
        keys = {"PE", "SIMD", "parallel_window"}
        given = {key: value for key, value in attributes[name].items() if key in keys}
        choices = list(foldings(nodes[name]))
        if isinstance(nodes[name], ConvolutionInputGenerator):
            given.setdefault("parallel_window", 0)
            channels = nodes[name].get_nodeattr("IFMChannels")
            choices += [{"SIMD": simd, "parallel_window": 1} for simd in divisors(channels)]
        if isinstance(nodes[name], VVAU):
            given.setdefault("SIMD", 1)
        if given not in choices:
            text = ", ".join(f"{key}={value}" for key, value in given.items()) or "nothing"
            raise BadInput(f"{source} does not fit this network: {name} cannot be folded as {text}")
