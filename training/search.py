"""Which bits, and which weights, to give up for a cheaper network: measured, one step at a time.

A step takes a bit from the weights or the activations of a layer, or prunes a tenth of a layer's
weights. What it costs is measured: steps by least squares, batch norms estimated anew, then the
mean probability of the right class over frames that are not trained on. It is smoother than the
accuracy, which is told beside it. The step that loses least of it per score saved is taken, as
pruning and bits are one budget. What was measured in a former state is only measured again where
it comes first (lazy greedy search): losses grow as a network gets smaller.

out/run.json       what the search is (`training.runs`)
out/measured.jsonl one line a measurement; after an interruption the same search reads them again
out/trace.csv, trace.json, frontier.png   the steps taken
out/bits.yaml, best.pth   the network that the search ends with
"""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from brevitas.nn import QuantConv1d, QuantLinear
from torch import nn

from models import checkpoint as checkpoints
from models.checkpoint import Checkpoint, digest_of
from models.config import NetConfig
from models.console import Progress
from models.cost import BASELINE_BIT_OPS, BASELINE_WEIGHT_BITS, inference_cost
from models.errors import BadInput
from models.files import atomic, write_json, write_text
from models.fuse import to_hardware
from models.networks import build_network, quantized_layers
from models.quantizers import bits_of
from training.data import RadioMLData, calibration_frames
from training.norms import BATCH, mixed, reestimate_norms
from training.pictures import search_trace
from training.quantize import one_thread
from training.requantize import FRAMES, descent, rebuilt, received
from training.runs import Identity, open_run
from training.twin import Twin, quantized_weight

MEASURED, TRACE, TABLE, PICTURE = "measured.jsonl", "trace.json", "trace.csv", "frontier.png"
BITS, BEST = "bits.yaml", "best.pth"
MADE = (MEASURED, TRACE, TABLE, PICTURE, BITS, BEST)

FEWEST = 2  # bits
CUT = 0.1  # share of a layer's weights that a pruning step takes
INPUT = "input"
NORM_FRAMES = 2048
SAMPLES = 1 << 16  # values looked at a range
BLOCK_BITS = 8  # that a network in paper form starts with


@dataclass(frozen=True)
class State:
    """What a network is made of: bits of each layer and of the input, and weights pruned.

    Attributes:
        bits: by layer, and of `INPUT`.
        pruned: weights of a layer that are set to zero beyond the start's zeros.
    """

    bits: dict[str, int]
    pruned: dict[str, int]

    def key(self) -> str:
        """Return the same text for the same state."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Move:
    """A step: one bit less of `layer`, or `pruned` more of its weights."""

    layer: str
    pruned: int = 0

    def of(self, state: State) -> State:
        """Return the state after it."""
        if self.pruned:
            count = state.pruned.get(self.layer, 0) + self.pruned
            return replace(state, pruned={**state.pruned, self.layer: count})
        return replace(state, bits={**state.bits, self.layer: state.bits[self.layer] - 1})


@dataclass(frozen=True)
class Measured:
    """What a state costs and gives.

    Attributes:
        score: official.
        nonzero_weights: as they are counted.
        accuracy: on the frames for validation, without training.
        probability: mean of the right class, there.
    """

    score: float
    nonzero_weights: int
    accuracy: float
    probability: float


@dataclass(frozen=True)
class Row(Measured):
    """A state on the way.

    Attributes:
        step: its number; 0 is the start.
        layer: what the step changed.
        what: how.
    """

    step: int
    layer: str
    what: str


class Search:
    """Measures states of one network; see `search` for the arguments."""

    def __init__(self, start: Checkpoint, data: RadioMLData, frames: int, seed: int, memo: Path):
        drawn = mixed(calibration_frames(data, max(FRAMES, NORM_FRAMES), seed), seed)
        if not start.config.hardware_form:
            start = to_hardware(start, BLOCK_BITS, drawn[:FRAMES])
        config = start.ours("search").changed(weight_scale="channel", weight_steps="learned")
        some = received(start, drawn[:FRAMES])
        self.values = {name: values[:: len(values) // SAMPLES + 1] for name, values in some.items()}
        network = rebuilt(start, config, self.values)
        self.start, self._config = Checkpoint(network.eval(), config, start.info), config
        self._scratch = build_network(config).eval()
        self.norms = drawn[:NORM_FRAMES].split(BATCH)
        rows = data.validated
        rows = rows[torch.linspace(0, len(rows) - 1, min(frames, len(rows))).long().numpy()]
        self.x, self.y, _ = data.frames[rows]
        self.memo = memo
        self._known = dict(_read(memo))
        cost = {layer.name.rpartition(".")[0]: layer for layer in inference_cost(self.start).layers}
        self._macs = {
            name: layer.macs / layer.nonzero_weights if layer.nonzero_weights else 0
            for name, layer in cost.items()
        }

    def first(self) -> State:
        """Return the start's state."""
        layers = quantized_layers(self.start.network)
        bits = {name: bits_of(layer) for name, layer in layers.items()}
        return State({INPUT: self._config.input_bits, **bits}, {})

    def moves(self, state: State) -> Iterator[Move]:
        """Yield the steps from a state."""
        for layer, bits in state.bits.items():
            if bits > FEWEST:
                yield Move(layer)
        for name, layer in _weighted(self._network(state)):
            left = int((layer.weight != 0).sum())
            if left > 1:
                yield Move(name, max(1, round(CUT * left)))

    def measure(self, state: State) -> "Measured":
        """Return what a state costs and gives, measured once."""
        key = state.key()
        if key not in self._known:
            network = self.network(state)
            twin, right, sure = Twin(network), 0, 0.0
            with torch.inference_mode():
                for x, y in zip(self.x.split(BATCH), self.y.split(BATCH), strict=True):
                    scores = twin(x)
                    right += int((scores.argmax(1) == y).sum())
                    sure += float(scores.double().softmax(1).gather(1, y[:, None]).sum())
            count = len(self.y)
            self._known[key] = Measured(*self._cost(network, state), right / count, sure / count)
            with self.memo.open("a") as file:
                file.write(json.dumps([key, asdict(self._known[key])]) + "\n")
        return self._known[key]

    def _cost(self, network: nn.Module, state: State) -> tuple[float, int]:
        """Return a state's official score and its nonzero weights, without exporting it."""
        given, score, total = state.bits[INPUT], 0.0, 0
        for name, layer in quantized_layers(network).items():
            bits = state.bits[name]
            if isinstance(layer, QuantConv1d | QuantLinear):
                with torch.no_grad():
                    nonzero = int((quantized_weight(layer)[0] != 0).sum())
                operations = nonzero * self._macs[name] * bits * given
                score += operations / BASELINE_BIT_OPS / 2
                score += nonzero * bits / BASELINE_WEIGHT_BITS / 2
                total += nonzero
            else:
                given = bits
        return score, total

    def network(self, state: State) -> nn.Module:
        """Return a state's network, batch norms estimated."""
        network = self._network(state)
        reestimate_norms(network, self.norms)
        return network

    def config(self, state: State) -> NetConfig:
        """Return a state's configuration."""
        layers = {name: bits for name, bits in state.bits.items() if name != INPUT}
        return self._config.changed(input_bits=state.bits[INPUT], layer_bits=layers)

    def _network(self, state: State) -> nn.Module:
        given = self.start
        if any(state.pruned.values()):
            given = Checkpoint(self._scratch, self.start.config)
            self._scratch.load_state_dict(self.start.network.state_dict())
            for name, layer in _weighted(self._scratch):
                if count := state.pruned.get(name, 0):
                    flat = layer.weight.detach().view(-1)
                    size = torch.where(flat != 0, flat.abs(), torch.inf)
                    flat[size.argsort(stable=True)[:count]] = 0
        return rebuilt(given, self.config(state), self.values)


def search(
    start: Checkpoint,
    data: RadioMLData,
    out: str | Path,
    target: float,
    *,
    frames: int = 4096,
    seed: int = 0,
    resume: bool = True,
    report: Callable[[Row], None] = lambda row: None,
    progress: Progress | None = None,
) -> list[Row]:
    """Take steps until a network costs at most `target`, and write it.

    Args:
        start: a trained network; in paper form it is brought into hardware form first.
        data: with frames for validation.
        out: the folder.
        target: official score.
        frames: to measure on, at most.
        seed: of the choice of frames.
        resume: go on with the same search in `out`.
        report: told each state on the way.
        progress: told (steps measured, steps in all) while all are measured first.

    Raises:
        BadInput: the start costs no more than that, no step is left before the target is reached,
            or the folder holds another run.
    """
    now = inference_cost(start).score
    if not 0 < target < now:
        raise BadInput(f"{start.config.name} scores {now:.6f}; a target lies below that, above 0")
    data.prepare_data()
    data.setup("fit")
    how = {"target": target, "frames": frames, "seed": seed}
    identity = _identity(start, data, how, seed)
    folder = open_run(out, identity, MADE, resume)
    with one_thread():
        found = Search(start, data, frames, seed, folder / MEASURED)
        rows, state = _walk(found, target, report, progress)
        made = found.network(state)
    keep_zeros(made)
    config = found.config(state).changed(name=f"{start.config.name}-{target:g}")
    info = {**descent(start, data.label, rows[-1].accuracy), "chosen_on": data.chosen_on}
    checkpoints.save(folder / BEST, made, config, info)
    write_json(folder / TRACE, {"network": start.config.name, "data": data.label, **how,
                                "steps": [asdict(row) for row in rows]})  # fmt: skip
    with atomic(folder / TABLE) as temporary, temporary.open("w") as file:
        writer = csv.DictWriter(file, list(asdict(rows[0])))
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    layers = {name: bits for name, bits in state.bits.items() if name != INPUT}
    said: dict[str, Any] = {
        "input": state.bits[INPUT],
        "blocks": config.block_bits,
        "scale": "channel",
    }
    said |= {"steps": "learned", "layers": layers}
    kept = {key: value for key, value in said.items() if value is not None}
    write_text(folder / BITS, yaml.safe_dump(kept, sort_keys=False))
    with atomic(folder / PICTURE) as temporary:
        temporary.write_bytes(search_trace([asdict(row) for row in rows], data.label))
    return rows


@torch.no_grad()
def keep_zeros(network: nn.Module) -> None:
    """Set weights that are rounded to zero to zero: training on, they stay so, and so the cost."""
    for _, layer in _weighted(network):
        layer.weight[quantized_weight(layer)[0] == 0] = 0


def _walk(
    found: Search, target: float, report: Callable[[Row], None], progress: Progress | None
) -> tuple[list[Row], State]:
    """Return the steps taken, and the state that they lead to."""

    def row(step: int, move: Move | None, state: State) -> Row:
        what = "start"
        if move:
            what = f"{move.pruned} weights" if move.pruned else f"{state.bits[move.layer]} bits"
        layer = move.layer if move else ""
        return Row(**asdict(found.measure(state)), step=step, layer=layer, what=what)

    def price(move: Move, state: State, here: Row) -> float:
        after = found.measure(move.of(state))
        saved = here.score - after.score
        return (here.probability - after.probability) / saved if saved > 0 else float("inf")

    state = found.first()
    rows = [row(0, None, state)]
    report(rows[0])
    moves = list(found.moves(state))
    prices: dict[Move, tuple[float, int]] = {}  # and the step at which it was measured
    for number, move in enumerate(moves, 1):
        prices[move] = price(move, state, rows[0]), 0
        if progress:
            progress(number, len(moves))
    while rows[-1].score > target:
        step, here = len(rows), rows[-1]
        # What is new is to be measured before any other.
        prices = {move: prices.get(move, (float("-inf"), -1)) for move in found.moves(state)}
        while True:
            if not prices:
                raise BadInput(f"every layer is as small as it gets at {here.score:.6f}")
            best = min(prices, key=lambda move: (prices[move][0], move.layer, move.pruned))
            if prices[best][1] == step:
                break
            prices[best] = price(best, state, here), step
        if prices[best][0] == float("inf"):
            raise BadInput(f"no step makes the network cheaper than {here.score:.6f}")
        state = best.of(state)
        del prices[best]
        rows.append(row(step, best, state))
        report(rows[-1])
    return rows, state


def _weighted(network: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, layer in quantized_layers(network).items():
        if isinstance(layer, QuantConv1d | QuantLinear):
            yield name, layer


def _read(memo: Path) -> Iterator[tuple[str, Measured]]:
    """Yield what was measured; the last line of a killed search may be torn, and goes."""
    if not memo.is_file():
        return
    whole, _, torn = memo.read_text().rpartition("\n")
    if torn and whole:
        write_text(memo, whole)
    elif torn:
        memo.unlink()
    for line in whole.splitlines():
        try:
            key, values = json.loads(line)
            yield key, Measured(**values)
        except (ValueError, TypeError) as error:
            raise BadInput(f"{memo} is damaged; use --no-resume to start anew") from error


def _identity(start: Checkpoint, data: RadioMLData, how: dict[str, Any], seed: int) -> Identity:
    return Identity(
        kind="search",
        network=start.config.to_dict(),
        start=digest_of(start.network),
        how=how,
        data=data.identity(),
        teacher=None,
        seed=seed,
        precision="32-true",
        processes=1,
        batches_per_epoch=None,
    )
