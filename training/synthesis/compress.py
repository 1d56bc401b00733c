"""A gzip-compressed copy of a data file, several threads compressing at once."""

import os
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np

from deploy.board.radioml import CHECKSUMS
from training.synthesis.sink import new_hdf5

_CHUNK = 64  # frames, 512 KiB


def write_compressed(
    source: Path,
    path: Path,
    level: int,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Copy a file in RadioML's layout, X with HDF5's shuffle and gzip filters, Y and Z as well.

    HDF5 itself compresses in one thread; here threads do, and one writes the finished chunks in
    their order, so that the bytes do not depend on `jobs`.

    Args:
        source: uncompressed file.
        path: file to write; appears when complete.
        level: of gzip, 1..9.
        jobs: threads, by default one a core.
        progress: told (frames done, frames in all).

    Raises:
        OSError: `path` cannot be written.
    """
    jobs = jobs or os.cpu_count() or 1
    # Always the same name, so that what a killed process left goes with the next one.
    temporary = path.with_name(f".{path.name}.packed")
    try:
        _copy(source, temporary, level, jobs, progress)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _copy(
    source: Path,
    target_path: Path,
    level: int,
    jobs: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    with h5py.File(source, "r", locking=False) as old:
        x = old["X"]
        with new_hdf5(target_path) as new, ThreadPoolExecutor(jobs) as pool:
            new.attrs.update(old.attrs)
            for key in ("Y", "Z", CHECKSUMS):
                new.create_dataset(key, data=old[key], compression=level, shuffle=True)
            target = new.create_dataset(
                "X",
                x.shape,
                x.dtype,
                chunks=(min(_CHUNK, len(x)), *x.shape[1:]),
                compression=level,
                shuffle=True,
            )
            waiting: deque[tuple[int, Future[bytes]]] = deque()
            for start in range(0, len(x), target.chunks[0]):
                waiting.append((start, pool.submit(_pack, x, start, target.chunks, level)))
                if len(waiting) > 2 * jobs:
                    _store(target, *waiting.popleft(), progress)
            while waiting:
                _store(target, *waiting.popleft(), progress)


def _pack(x: h5py.Dataset, start: int, chunk: tuple[int, ...], level: int) -> bytes:
    frames = np.zeros(chunk, x.dtype)  # chunks at the end are full ones, too
    part = x[start : start + chunk[0]]
    frames[: len(part)] = part
    # HDF5's shuffle filter: first bytes of all numbers, then all second bytes, ...
    planes = frames.reshape(-1).view(np.uint8).reshape(-1, x.dtype.itemsize).T
    return zlib.compress(np.ascontiguousarray(planes).data, level)


def _store(
    target: h5py.Dataset,
    start: int,
    packed: Future[bytes],
    progress: Callable[[int, int], None] | None,
) -> None:
    target.id.write_direct_chunk((start, 0, 0), packed.result())
    if progress:
        progress(min(start + target.chunks[0], len(target)), len(target))
