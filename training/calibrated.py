"""What `aaronnet calibrate` left in a checkpoint, for those who only use it.

It was fitted for certain weights: whatever is made of the checkpoint later has others, and then it
does not count.
"""

from models.checkpoint import Checkpoint, digest_of
from models.foreign import frame_of_config
from training.familiarity import Familiarity


def temperature_of(checkpoint: Checkpoint) -> float:
    """Return the temperature kept in a checkpoint; 1 where none was fitted for these weights."""
    return float(checkpoint.info["temperature"]) if _counts(checkpoint) else 1.0


def familiarity_of(checkpoint: Checkpoint) -> Familiarity | None:
    """Return what familiar scores are; None where that was not fitted for these weights.

    Raises:
        BadInput: what the checkpoint has is damaged.
    """
    if "familiarity" not in checkpoint.info or not _counts(checkpoint):
        return None
    classes = frame_of_config(checkpoint.config)[2]
    return Familiarity.from_dict(checkpoint.info["familiarity"], classes)


def _counts(checkpoint: Checkpoint) -> bool:
    return checkpoint.info.get("temperature_of") == digest_of(checkpoint.network)
