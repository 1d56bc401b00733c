"""RadioML 2016.10a, which comes as a pickle, in the layout that every command reads.

Its generator divides a frame by the sum of its magnitudes. Here frames are L times as large (L
samples a frame), so that their mean magnitude is 1: the quantizers at the networks' inputs reach
over [-2, 2]. Nothing else is changed. `--recipe 2016.10a` synthesises frames of the same scale.
"""

from pathlib import Path
from typing import Any

import numpy as np

from deploy.board.radioml import SNRS
from models.console import Progress
from models.errors import BadInput
from models.files import atomic, existing_file, regular_target
from training.recordings.arrays import read_radioml_2016
from training.synthesis import radioml_2016
from training.synthesis.sink import new_hdf5

LABEL = "RadioML 2016.10a (as given)"


def convert(
    source: str | Path,
    path: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a RadioML 2016.10a pickle as HDF5, by class (alphabetically), then SNR.

    Args:
        source: the pickle; an unpickler reads it that knows arrays only.
        path: file to write.
        overwrite: replace a file at `path`.
        progress: told (frames done, frames in all).

    Returns:
        Facts: path, data_label, frames, classes, samples, snrs.

    Raises:
        BadInput: as `read_radioml_2016`, frames are of several lengths or not finite, an SNR is
            none of `radioml.SNRS`, or `path` exists or cannot be written.
    """
    source = existing_file(source, "data file")
    path = regular_target(path, "data file")
    if path.exists() and not overwrite:
        raise BadInput(f"{path} exists already; choose another name or ask for overwriting")
    content = read_radioml_2016(source)
    lengths = {frames.shape[2] for frames in content.values()}
    if len(lengths) != 1:
        raise BadInput(f"{source} has frames of several lengths: {sorted(lengths)}")
    if strange := sorted({snr for _, snr in content} - set(SNRS)):
        raise BadInput(f"{source} has frames at {strange[0]} dB; {SNRS[0]}..{SNRS[-1]} are known")
    classes = tuple(sorted({name for name, _ in content}))
    (length,), total = lengths, sum(map(len, content.values()))
    if not total or not length or len(classes) < 2:
        raise BadInput(f"{source} holds {total} frames of {len(classes)} classes: nothing to learn")
    label = LABEL if _as_published(content, length) else f"unlabelled file {source.name}"
    with atomic(path) as temporary, new_hdf5(temporary) as file:
        x = file.create_dataset("X", (total, length, 2), np.float32)
        y = file.create_dataset("Y", (total, len(classes)), np.int64)
        z = file.create_dataset("Z", (total, 1), np.int64)
        done = 0
        for name, snr in sorted(content):
            frames = content[name, snr].swapaxes(1, 2).astype(np.float32) * np.float32(length)
            if not np.isfinite(frames).all():
                raise BadInput(f"{source} holds NaN or infinity in {name} at {snr} dB")
            rows = slice(done, done + len(frames))
            x[rows], z[rows] = frames, snr
            y[rows] = np.eye(len(classes), dtype=np.int64)[classes.index(name)]
            done += len(frames)
            if progress:
                progress(done, total)
        file.attrs["label"] = label
        file.attrs["classes"] = list(classes)
    return {
        "path": str(path),
        "data_label": label,
        "frames": total,
        "classes": classes,
        "samples": length,
        "snrs": sorted({snr for _, snr in content}),
    }


def _as_published(content: dict[tuple[str, int], np.ndarray], length: int) -> bool:
    """Whether classes, SNRs, lengths and numbers of frames are those of the published file."""
    cells = {(name, snr) for name in radioml_2016.CLASSES for snr in radioml_2016.SNRS}
    frames = {len(part) for part in content.values()}
    return (set(content), length, frames) == (
        cells,
        radioml_2016.FRAME,
        {radioml_2016.FRAMES_PER_CELL},
    )
