"""What a teacher makes of every frame of a file: computed once, kept beside the file's cache.

A frame's scores in 8 bits: how far each lies below the largest, in steps of 1/255 of how far the
least does. Softmax needs no more; a step is some hundredths of a unit of the scores.

FILE.cache-teachers/KEY.npy   the records, once all are there
FILE.cache-teachers/KEY.part  those that are there; interrupted, the same call goes on behind them
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.cache_folder import alone
from models.checkpoint import digest_of
from models.console import Progress
from models.errors import BadInput
from models.files import writable_folder
from models.foreign import config_of, facts_of
from training.cache import Cache
from training.twin import Twin

FORMAT = 1
BATCH = 512
CHUNK = 16 * BATCH  # frames written at once


def record(classes: int) -> np.dtype:
    """Return what a frame's scores are kept as."""
    return np.dtype([("step", "<f4"), ("levels", "u1", (classes,))])


def pack(scores: np.ndarray) -> np.ndarray:
    """Return float scores (N, classes) as N records."""
    below = scores.max(1, keepdims=True) - scores
    records = np.empty(len(scores), record(scores.shape[1]))
    records["step"] = below.max(1) / 255
    step = np.maximum(records["step"], np.finfo(np.float32).tiny)[:, None]
    records["levels"] = np.rint(below / step).clip(0, 255)
    return records


def unpack(records: np.ndarray) -> np.ndarray:
    """Return N records as float32 (N, classes) scores, of which the largest is 0."""
    return -(records["levels"] * records["step"][:, None])


def kept_outputs(
    teacher: nn.Module, cache: Cache, folder: Path, progress: Progress | None = None
) -> np.ndarray:
    """Return the records of all frames of a file, mapped; computed where they are not there yet.

    Args:
        teacher: a trained network.
        cache: the file's.
        folder: where its cache lies; the outputs lie beside it.
        progress: told (frames done, frames in all) while they are computed.

    Raises:
        BadInput: there is no place for them.
    """
    said = [FORMAT, cache.digest, digest_of(teacher), facts_of(config_of(teacher))]
    key = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
    done = writable_folder(folder.with_name(f"{folder.name}-teachers")) / f"{key}.npy"
    with alone(done):
        if not done.is_file():
            try:
                _compute(teacher, cache, done, progress)
            except OSError as error:
                raise BadInput(
                    f"cannot write the teacher's outputs {done}: {error.strerror or error}"
                ) from error
    return np.load(done, mmap_mode="r")


def _compute(teacher: nn.Module, cache: Cache, done: Path, progress: Progress | None) -> None:
    part, count = done.with_suffix(".part"), len(cache)
    twin, kept = Twin(teacher.eval()), record(cache.index.layout.classes)
    with part.open("ab") as file, torch.inference_mode():
        first = file.tell() // (CHUNK * kept.itemsize) * CHUNK
        file.truncate(first * kept.itemsize)  # a killed process may have torn the last chunk
        for start in range(first, count, CHUNK):
            rows = np.arange(start, min(start + CHUNK, count))
            scores = [
                twin(torch.from_numpy(cache.frames(some))).numpy()
                for some in np.split(rows, range(BATCH, len(rows), BATCH))
            ]
            file.write(pack(np.concatenate(scores)).tobytes())
            file.flush()
            if progress:
                progress(int(rows[-1]) + 1, count)
    records = np.fromfile(part, kept)
    assert len(records) == count
    whole = done.with_suffix(".tmp")
    with whole.open("wb") as file:
        np.save(file, records)
    whole.replace(done)
    part.unlink()
