"""Answers as SigMF annotations, which other tools show over the recording.

A recording that came with metadata keeps it, ours are added. For another file metadata is written
that names it as a non-conforming data set (SigMF 1.2, `core:dataset`), or, where SigMF has no words
for its samples, that stands alone (`core:metadata_only`).
"""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.files import write_text
from training.recordings.raw import RawFile
from training.recordings.recording import Recording
from training.recordings.rows import REJECTED, Run

GENERATOR = "AaronNet"
_TYPE = re.compile(r"(?:\S+ )?(c[fiu]\d+(?:_[lb]e)?)")


def annotated(
    recording: Recording,
    path: Path,
    runs: Sequence[Run],
    widths: Mapping[float, float],
    network: str,
) -> dict[str, Any]:
    """Return SigMF metadata with an annotation a run.

    Args:
        recording: what was classified.
        path: its file.
        runs: the answers; rejected ones get no annotation.
        widths: Hz, of each channel by its centre.
        network: its name, for the comments.
    """
    metadata = copy.deepcopy(recording.metadata) or _new(recording, path)
    ours = []
    for run in runs:
        if run.answer == REJECTED:
            continue
        sure = "" if run.probability is None else f", mean probability {run.probability:.3f}"
        annotation: dict[str, Any] = {
            "core:sample_start": run.sample,
            "core:sample_count": run.end - run.sample,
            "core:label": run.answer,
            "core:generator": GENERATOR,
            "core:comment": f"{network}: {run.frames} frames{sure}",
        }
        if recording.centre is not None:
            middle, half = recording.centre + run.centre, widths[run.centre] / 2
            annotation["core:freq_lower_edge"] = middle - half
            annotation["core:freq_upper_edge"] = middle + half
        ours.append(annotation)
    kept = [a for a in metadata["annotations"] if a.get("core:generator") != GENERATOR]
    metadata["annotations"] = sorted([*kept, *ours], key=lambda a: a["core:sample_start"])
    return metadata


def write_annotations(path: Path, metadata: dict[str, Any]) -> None:
    """Write metadata once it passed SigMF's own schema."""
    from sigmf import validate

    validate.validate(metadata)
    write_text(path, json.dumps(metadata, indent=2) + "\n")


def _new(recording: Recording, path: Path) -> dict[str, Any]:
    source = recording.source
    type_ = _TYPE.fullmatch(recording.type)
    about: dict[str, Any] = {"core:version": "1.2.0", "core:num_channels": 1}
    capture: dict[str, Any] = {"core:sample_start": 0}
    if isinstance(source, RawFile) and source.row is None and type_:
        about |= {"core:datatype": type_[1], "core:dataset": path.name}
        end = source.offset + source.samples * source.type.size
        trailing = source.path.stat().st_size - end
        if trailing:
            about["core:trailing_bytes"] = trailing
        if source.offset:
            capture["core:header_bytes"] = source.offset
    else:
        about |= {"core:datatype": "cf32_le", "core:metadata_only": True}
    if recording.rate_known:
        about["core:sample_rate"] = recording.rate
    if recording.centre is not None:
        capture["core:frequency"] = recording.centre
    return {"global": about, "captures": [capture], "annotations": []}
