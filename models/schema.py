"""What a checkpoint file may hold: every key, its type and its range.

A file comes from anywhere. What passes here can be computed with, printed and written to JSON.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, BaseModel, Field, NonNegativeInt, TypeAdapter, ValidationError
from torch import nn

from models.errors import BadInput
from models.foreign import Config, ForeignConfig

LONGEST = 1000  # characters of a label


def plain(text: str) -> str:
    """Return a label if it is one line of printable text.

    Raises:
        ValueError: it is not.
    """
    if not text.isprintable() or len(text) > LONGEST:
        raise ValueError(f"should be one printable line of at most {LONGEST} characters")
    return text


Label = Annotated[str, AfterValidator(plain)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]


class Epoch(BaseModel, strict=True, extra="allow", allow_inf_nan=False):
    """One row of a training's history."""

    phase: Label
    frames: NonNegativeInt
    val_accuracy: Fraction
    epoch: NonNegativeInt = 0
    lr: float = 0.0
    train_loss: float = 0.0
    train_accuracy: Fraction = 0.0
    val_loss: float = 0.0
    seconds: Seconds = 0.0


class Info(BaseModel, strict=True, extra="allow", allow_inf_nan=False):
    """Where the weights came from. Other keys may hold any plain values."""

    data_label: Label = ""
    class_names: list[Label] = []
    accuracy: Fraction = 0.0
    sparsity: Fraction = 0.0
    seed: int = 0
    command: str = ""
    device: Label = ""
    recipe: dict[str, Any] = {}
    epochs: NonNegativeInt = 0
    frames: NonNegativeInt = 0
    wall_seconds: Seconds = 0.0
    history: list[Epoch] = []
    sha256: Label = ""
    quantized_from: Label = ""
    requantized_from: Label = ""
    chosen_on: Label = ""
    accuracy_before: Fraction = 0.0
    calibrated_on: Label = ""
    friendly_scales: bool = False
    temperature: Annotated[float, Field(gt=0)] = 1.0
    temperature_of: Label = ""
    temperature_on: Label = ""
    familiarity: dict[str, list[Any]] = {}


class Content(BaseModel, strict=True, extra="forbid", arbitrary_types_allowed=True):
    """A checkpoint of ours. Files of before have no digest."""

    format: int
    config: dict[str, Any]
    info: Info
    state_dict: dict[str, torch.Tensor]
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


CONTENT = TypeAdapter(Content)
STATE = TypeAdapter(
    dict[str, torch.Tensor], config={"strict": True, "arbitrary_types_allowed": True}
)


def check(schema: TypeAdapter, values: Any, what: str) -> None:
    """Compare with a schema.

    Raises:
        BadInput: `what` differs; the message names the first difference.
    """
    try:
        schema.validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{what}: {place!r}: {first['msg']}") from error
    except RecursionError as error:
        raise BadInput(f"{what} is nested too deeply") from error


def check_content(content: Mapping[str, Any], what: str) -> None:
    """Check everything of a checkpoint of ours but the fit of its tensors.

    Raises:
        BadInput: it is none; the message names the first difference.
    """
    check(CONTENT, dict(content), what)
    try:
        json.dumps(content["info"], allow_nan=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"{what}: 'info' holds more than plain, finite values: {error}") from error


def check_state(
    state: Mapping[str, torch.Tensor], network: nn.Module, config: Config, what: str
) -> None:
    """Compare keys, shapes and values before loading, for a message that names the difference.

    Raises:
        BadInput: a key is missing or unexpected, or a tensor is not what it should be.
    """
    expected = {key: (tuple(t.shape), t.dtype) for key, t in network.state_dict().items()}
    # Brevitas lists a learned step or zero only once the first training batch has set it.
    expected |= {
        name: (tuple(parameter.shape), parameter.dtype)
        for name, parameter in network.named_parameters(remove_duplicate=False)
        if name.endswith(".value")
    }
    if missing := sorted(expected.keys() - state.keys()):
        problem: str | None = f"{missing[0]} is missing"
    elif unexpected := sorted(state.keys() - expected.keys()):
        problem = f"{unexpected[0]!r} is unexpected"
    else:
        problem = next(
            (f"{key} {fault}" for key in expected if (fault := _fault(key, state, expected[key]))),
            None,
        )
    if problem:
        shape = (
            f"{config.origin.cls} of {config.origin.file}"
            if isinstance(config, ForeignConfig)
            else f"filters {list(config.filters)}"
        )
        raise BadInput(f"{what} does not fit {config.name} ({shape}): {problem}")


def _fault(
    key: str, state: Mapping[str, torch.Tensor], expected: tuple[tuple[int, ...], torch.dtype]
) -> str | None:
    """Return what is wrong with a tensor, or None."""
    tensor, (shape, dtype) = state[key], expected
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        return "is no dense tensor"
    if tensor.dtype != dtype:
        return f"is of type {tensor.dtype}, not {dtype}"
    if tuple(tensor.shape) != shape:
        return f"has shape {tuple(tensor.shape)}, not {shape}"
    if not tensor.isfinite().all():
        return "holds values that are not finite"
    if key.endswith(("running_var", "num_batches_tracked")) and (tensor < 0).any():
        return "holds negative values"
    return None
