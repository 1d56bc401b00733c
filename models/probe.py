"""Can a class of the user's be trained and exported? Asked before anything is written."""

import warnings
from typing import Any

import torch
from brevitas.quant_tensor import QuantTensor
from qonnx.core.modelwrapper import ModelWrapper
from torch import Tensor, nn

from models.checkpoint import Checkpoint
from models.config import NAME
from models.cost import COUNTED, QUANTIZERS
from models.errors import BadInput
from models.export import first_line, to_qonnx
from models.foreign import ForeignConfig, build_foreign, spellings
from models.user_code import Origin, class_of, guarded, made

BATCH = 7  # frames


def describe(origin: Origin, channels: int, length: int, classes: int) -> ForeignConfig:
    """Return the configuration of an admitted class for frames (C, L) of so many classes.

    Raises:
        BadInput: the class makes no network that can be trained on them and exported; one line
            says why.
    """
    network = made(class_of(origin))
    name = origin.cls.strip("_")
    config = ForeignConfig(
        name if NAME.fullmatch(name) else "network",
        origin,
        channels,
        length,
        classes,
        _spelling(network.eval(), origin.cls, channels, length, classes),
    )
    network = build_foreign(config)
    _check_training(network.train(), config)
    _check_graph(network.eval(), config)
    return config


def _spelling(
    network: nn.Module, cls: str, channels: int, length: int, classes: int
) -> tuple[int, ...]:
    """Return the shape in which a network takes frames: the first in which it gives the scores."""
    problems: list[tuple[int, BadInput]] = []
    for shape in spellings(channels, length):
        try:
            with torch.no_grad():
                scores = guarded(
                    f"{cls} on frames {('N', *shape)}".replace("'", ""), network, _frames(shape)
                )
        except BadInput as error:
            problems.append((0, error))
            continue
        found = _shape(scores)
        if found == (BATCH, classes):
            return shape
        if len(found) == 2 and found[0] == BATCH:
            told = f"{cls} tells {found[1]} classes apart, and the data has {classes}"
            problems.append((2, BadInput(told)))
        else:
            kind = f"shape {found}" if found else f"type {type(scores).__name__}"
            told = f"{cls} gives scores of {kind} for {BATCH} frames, not {(BATCH, classes)}"
            problems.append((1, BadInput(told)))
    raise max(problems, key=lambda problem: problem[0])[1]


def _check_training(network: nn.Module, config: ForeignConfig) -> None:
    """Raise BadInput where a step of training raises, or finds nothing to train."""
    what = f"a step of training of {config.origin.cls}"

    def step() -> bool:
        scores = network(_frames((config.channels, config.length)))
        torch.nn.functional.cross_entropy(scores, torch.arange(BATCH) % config.classes).backward()
        return bool(scores.isfinite().all())

    if not guarded(what, step):
        raise BadInput(f"{what} gives scores that are not finite")


def _check_graph(network: nn.Module, config: ForeignConfig) -> None:
    """Raise BadInput where a network has no QONNX graph, or one that multiplies floats."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = to_qonnx(Checkpoint(network, config))
        except Exception as error:  # torch's exporter and Brevitas's raise whatever they like
            raise BadInput(
                f"{config.origin.cls} cannot be exported to QONNX: {first_line(error)}"
            ) from error
    for node in model.graph.node:
        if node.op_type not in COUNTED or _constant(model, node.output[0]):
            continue
        layer = node.name.rpartition(".")[0]
        activations = [name for name in node.input[:2] if not _constant(model, name)]
        if any(not _quantized(model, name) for name in activations):
            raise BadInput(
                f"{config.origin.cls}: {layer} takes float activations; put a quantizer "
                "(QuantIdentity, QuantReLU) in front of it"
            )
        if any(name not in activations and not _quantized(model, name) for name in node.input[:2]):
            raise BadInput(
                f"{config.origin.cls}: the weights of {layer} are floats; use Brevitas's layers"
            )


def _constant(model: ModelWrapper, tensor: str) -> bool:
    """Whether a tensor does not depend on the frames."""
    if tensor == model.graph.input[0].name:
        return False
    node = model.find_producer(tensor)
    return node is None or all(_constant(model, name) for name in node.input if name)


def _quantized(model: ModelWrapper, tensor: str) -> bool:
    """Whether each way to a tensor has a quantizer behind the last layer, or behind the input."""
    node = model.find_producer(tensor)
    if node is None or node.op_type in COUNTED:
        return False
    if node.op_type in (*QUANTIZERS, "Trunc"):
        return True
    ways = [name for name in node.input if name and not _constant(model, name)]
    return all(_quantized(model, name) for name in ways or node.input[:1])


def _frames(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(BATCH, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _shape(scores: Any) -> tuple[int, ...]:
    return tuple(scores.shape) if isinstance(scores, Tensor | QuantTensor) else ()
