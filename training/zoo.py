"""Put a trained checkpoint into the zoo, measured, with a card."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models import checkpoint as checkpoints
from models import zoo
from models.console import Progress
from models.cost import inference_cost
from models.errors import BadInput, CheckFailed
from models.files import atomic, sha256, write_json
from models.foreign import ForeignConfig, without_place
from models.user_code import Trust
from training.data import RadioMLData, kind_for
from training.evaluate import BATCH, evaluate
from training.structured import parameters

KEPT = ("seed", "command", "frames", "epochs", "wall_seconds", "device")
TOLD = (
    "chosen_on",
    "requantized_from",
    "accuracy_before",
    "friendly_scales",
)  # of those that have it


def add(
    path: str | Path,
    name: str,
    data: str | Path,
    *,
    go_on: str = "",
    folder: Path = zoo.FOLDER,
    device: str = "cpu",
    progress: Progress | None = None,
    trust: Trust = Trust(),
) -> dict[str, Any]:
    """Copy a checkpoint into the zoo and write its card.

    A class of the user's is remembered there by its file's name, not by its place.

    Args:
        path: the checkpoint.
        name: its name in the zoo.
        data: RadioML file; the card's accuracy is that on its official test split.
        go_on: the command that continues its training.
        folder: the zoo.
        device: torch's name of where to compute.
        progress: told (frames done, frames in all).
        trust: which code may run, where the network is a class of the user's.

    Returns:
        The card.

    Raises:
        BadInput: the name is no name, or the checkpoint does not say how it was trained.
        CheckFailed: a pruned variant costs more than the published one.
    """
    if not name or Path(name).name != name:
        raise BadInput(f"{name!r} is no name for a checkpoint")
    loaded = checkpoints.load(path, trust=trust)
    config = loaded.config.changed(name=name)  # as `checkpoints.load` names it
    if missing := [key for key in ("data_label", *KEPT) if key not in loaded.info]:
        raise BadInput(f"{path} does not say its {', '.join(missing)}; train it with `aaronnet`")
    frames = RadioMLData(data, BATCH, kind=kind_for(config, data))
    frames.setup("test")  # before the cost, which takes seconds
    cost = inference_cost(loaded)
    largest = zoo.LARGEST_SCORE.get(name)
    if largest is not None and cost.score > largest:
        raise CheckFailed(f"{name} may cost {largest} at most, and {path} costs {cost.score:.6f}")
    measured = evaluate(loaded, frames, device=device, progress=progress)
    card = {
        "name": name,
        "config": without_place(config).to_dict(),
        "data_label": loaded.data_label,
        "tested_on": f"{measured.frames} test frames of {measured.data}",
        "accuracy": measured.accuracy,
        "snrs": measured.snrs,
        "accuracy_per_snr": measured.accuracy_per_snr,
        "score": cost.score,
        "compression": cost.compression,
        "nonzero_weights": cost.nonzero_weights,
        "bit_ops": cost.bit_ops,
        "parameters": parameters(loaded.network),
        **{key: loaded.info[key] for key in KEPT},
        "learning_curve": learning_curve(loaded.info.get("history", [])),
        **{key: loaded.info[key] for key in TOLD if key in loaded.info},
        "continue": go_on,
    }
    target = folder / f"{name}.pth"
    # Neither appears before both are whole: a checkpoint without its card is no entry.
    with atomic(target) as checkpoint, atomic(target.with_suffix(".json")) as text:
        if isinstance(config, ForeignConfig):
            written = {key: loaded.info[key] for key in loaded.info if key != "sha256"}
            checkpoints.save(checkpoint, loaded.network, without_place(loaded.config), written)
        else:
            shutil.copyfile(path, checkpoint)
        card["sha256"] = sha256(checkpoint)
        write_json(text, card)
    return card


def learning_curve(history: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """Return accuracy over the frames trained on so far, one point an epoch."""
    frames, curve = 0, []
    for row in history:
        frames += row["frames"]
        curve.append({"frames": frames, "phase": row["phase"], "accuracy": row["val_accuracy"]})
    return curve
