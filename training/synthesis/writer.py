"""Data sets of any size: written by several threads, resumable after a kill, always the same bytes.

The frames go straight into the place where HDF5 expects them (a contiguous data set has one known
offset), so threads need no common writer, and NumPy's generators and FFTs let go of the lock that
would make threads useless. What is on the disk for certain is kept in a journal beside the file.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from deploy.board.radioml import (
    CHECKSUMS,
    LABELS_CHECKSUM,
    checksums,
    labels_checksum,
)
from deploy.board.records import to_json
from models.console import Progress
from models.errors import BadInput
from models.files import regular_target, writable_folder
from training.synthesis.compress import write_compressed
from training.synthesis.recipe import BLOCK, RECIPE_VERSION
from training.synthesis.sets import DataSet, data_set
from training.synthesis.sink import new_hdf5

_RESERVE = 64 << 20  # bytes left free on the disk, for whatever else runs there
_SYNC_EVERY = 1024  # blocks between two entries of the journal, half a gigabyte


@dataclass(frozen=True)
class Written:
    """A data set that was written; `resumed_at` frames of it were found done."""

    path: str
    frames: int
    bytes: int
    resumed_at: int
    seed: int
    frames_per_cell: int
    recipe_version: int | str
    data_label: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return to_json(self)


def write_dataset(
    path: str | Path,
    frames_per_cell: int | None = None,
    seed: int = 2018,
    *,
    jobs: int | None = None,
    snrs: Iterable[int] | None = None,
    compress: int | None = None,
    overwrite: bool = False,
    recipe: int | str = RECIPE_VERSION,
    progress: Progress | None = None,
) -> Written:
    """Write a synthetic data set in the layout, order and types of RadioML 2018.01A's file.

    The bytes depend on `frames_per_cell`, `seed`, `snrs`, `recipe` and the NumPy version only, and
    frame i of a cell on recipe, seed, class, SNR and i only. Killed at any time, the same call goes
    on where the last one stopped. `path` appears when it is complete; what was there before stays
    until then.

    Args:
        path: file to write.
        frames_per_cell: frames of each (class, SNR); None: as many as the real file has.
        seed: of everything random.
        jobs: threads, by default one a core.
        snrs: dB, some of the recipe's.
        compress: gzip level 1..9; noise hardly shrinks, and the disk must hold both files for a
            while. None leaves the frames as they are, which reads fastest.
        overwrite: replace a finished file at `path`.
        recipe: its number or name (`sets.data_set`).
        progress: told about every written block.

    Raises:
        BadInput: bad arguments, `path` exists, is being written by another process or cannot be
            written to, or the disk is too small.
    """
    path = regular_target(path, "data file")
    made = data_set(recipe)
    frames_per_cell = made.frames_per_cell if frames_per_cell is None else frames_per_cell
    snrs = _check(path, made, frames_per_cell, seed, jobs, snrs, compress, overwrite)
    plan = {
        "layout": 2,  # goes up when files are laid out in another way
        "recipe_version": made.recipe,
        "seed": seed,
        "frames_per_cell": frames_per_cell,
        "snrs": snrs,
        "numpy": np.__version__,  # its generators and FFTs may change with a release
    }
    writable_folder(path.parent)
    partial = path.with_name(f".{path.name}.partial")
    journal = path.with_name(f".{path.name}.journal")
    frames = len(made.classes) * len(snrs) * frames_per_cell
    try:
        with _locked(partial, path) as descriptor:
            done = _resume(journal, partial, plan)
            if done is None:
                copies = 1 if compress is None else 2
                _check_disk(path, copies * frames * _bytes_of(made), partial)
                _start(journal, partial, plan, made)
                done = set()
            resumed_at = _write(descriptor, journal, plan, made, done, jobs, progress)
            if compress is None:
                partial.replace(path)
            else:
                write_compressed(partial, path, compress, jobs, progress)
                partial.unlink()
            journal.unlink()
    except OSError as error:
        problem = f"cannot write {path}: {error.strerror or error}"
        if journal.exists():
            problem += (
                f"; what is done is kept in {partial}, the same command will go on from there"
            )
        else:
            partial.unlink(missing_ok=True)
        raise BadInput(problem) from error
    return Written(
        path=str(path),
        frames=frames,
        bytes=path.stat().st_size,
        resumed_at=resumed_at,
        seed=seed,
        frames_per_cell=frames_per_cell,
        recipe_version=made.recipe,
        data_label=_label(plan),
    )


def _label(plan: dict[str, Any]) -> str:
    return f"synthetic (recipe {plan['recipe_version']}, seed {plan['seed']})"


def _bytes_of(made: DataSet) -> int:
    """Return the bytes of a frame with its labels: X, Y, Z and the checksum."""
    return made.samples * 2 * 4 + (len(made.classes) + 1) * 8 + 4


def _check(
    path: Path,
    made: DataSet,
    frames_per_cell: int,
    seed: int,
    jobs: int | None,
    snrs: Iterable[int] | None,
    compress: int | None,
    overwrite: bool,
) -> list[int]:
    if frames_per_cell < 1:
        raise BadInput(f"{frames_per_cell} frames per cell: there must be at least one")
    if seed < 0:
        raise BadInput(f"seed {seed} is negative; take 0 or more")
    if jobs is not None and jobs < 1:
        raise BadInput(f"{jobs} jobs: there must be at least one")
    if compress is not None and not 1 <= compress <= 9:
        raise BadInput(f"gzip has no level {compress}; choose 1..9")
    known = made.snrs
    snrs = sorted({int(snr) for snr in (known if snrs is None else snrs)})
    strange = [snr for snr in snrs if snr not in known]
    if strange or not snrs:
        raise BadInput(f"SNRs {strange or 'missing'}: choose from {known[0]}..{known[-1]} in 2 dB")
    if path.exists() and not overwrite:
        raise BadInput(f"{path} exists already; choose another name or ask for overwriting")
    return snrs


@contextmanager
def _locked(partial: Path, path: Path) -> Iterator[int]:
    """Hold the unfinished file open and locked: two writers would undo each other's journal."""
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(f"{path} is being written by another process") from error
        yield descriptor
    finally:
        os.close(descriptor)


def _check_disk(path: Path, needed: int, partial: Path) -> None:
    # The blocks of an abandoned attempt are given back before the new one takes them.
    os.truncate(partial, 0)
    free = shutil.disk_usage(path.parent).free - _RESERVE
    if needed > free:
        partial.unlink()
        raise BadInput(
            f"{path} needs {needed / 1e9:.1f} GB, {max(free, 0) / 1e9:.1f} GB are free in "
            f"{path.parent}; free some or ask for fewer frames"
        )


def _start(journal: Path, partial: Path, plan: dict[str, Any], made: DataSet) -> None:
    """Lay out the file with its labels; the frames' place is reserved, not written."""
    per_cell, snrs, classes = plan["frames_per_cell"], plan["snrs"], len(made.classes)
    frames = classes * len(snrs) * per_cell
    journal.unlink(missing_ok=True)
    with new_hdf5(partial) as file:
        early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        early.set_obj_track_times(False)  # the same bytes tomorrow
        for name, kind, shape in (
            ("X", h5py.h5t.IEEE_F32LE, (frames, made.samples, 2)),
            (CHECKSUMS, h5py.h5t.STD_U32LE, (frames,)),
        ):
            space = h5py.h5s.create_simple(shape)
            h5py.h5d.create(file.id, name.encode(), kind, space, early)
        y = file.create_dataset("Y", (frames, classes), np.int64)
        z = file.create_dataset("Z", (frames, 1), np.int64)
        of_class = len(snrs) * per_cell
        for index in range(classes):
            rows = slice(index * of_class, (index + 1) * of_class)
            one_hot = np.zeros((of_class, classes), np.int64)
            one_hot[:, index] = 1
            y[rows] = one_hot
            z[rows] = np.repeat(snrs, per_cell)[:, None]
        file.attrs["synthetic"] = True
        file.attrs["recipe_version"] = plan["recipe_version"]
        file.attrs["seed"] = plan["seed"]
        file.attrs["frames_per_cell"] = per_cell
        file.attrs["classes"] = list(made.classes)
        file.attrs["generator"] = f"aaronnet data synth, numpy {plan['numpy']}"
        labels = np.repeat(np.arange(classes), of_class)
        file.attrs[LABELS_CHECKSUM] = np.uint32(
            labels_checksum(_label(plan), labels, np.tile(np.repeat(snrs, per_cell), classes))
        )
        places = [
            (file[k].id.get_offset(), file[k].id.get_storage_size()) for k in ("X", CHECKSUMS)
        ]
    with partial.open("r+b") as file:
        for offset, size in places:
            # A disk that fills up later shall fail now, not in an hour.
            os.posix_fallocate(file.fileno(), offset, size)
        os.fsync(file.fileno())
    with journal.open("w") as file:
        file.write(json.dumps(plan | {"offsets": [offset for offset, _ in places]}) + "\n")
        os.fsync(file.fileno())


def _resume(journal: Path, partial: Path, plan: dict[str, Any]) -> set[int] | None:
    """Return the blocks that an earlier call finished, None if there is nothing to go on from."""
    try:
        header, *lines = journal.read_text().split("\n")
        same = {key: json.loads(header).get(key) for key in plan} == plan
        # A line that was being written when the power failed has no end: it is the last one here.
        done = {int(number) for line in lines[:-1] for number in line.split()}
    except (FileNotFoundError, ValueError):
        return None
    return done if same and partial.stat().st_size else None


def _write(
    descriptor: int,
    journal: Path,
    plan: dict[str, Any],
    made: DataSet,
    done: set[int],
    jobs: int | None,
    progress: Progress | None,
) -> int:
    """Write every block that is not `done`; return how many frames were."""
    per_cell, snrs = plan["frames_per_cell"], plan["snrs"]
    offset, checksum_offset = json.loads(journal.read_text().split("\n", 1)[0])["offsets"]
    per_class = -(-per_cell // BLOCK)
    total = len(made.classes) * len(snrs) * per_class

    def frames_of(number: int) -> int:
        return min(BLOCK, per_cell - number % per_class * BLOCK)

    def make(number: int) -> int:
        cell, index = divmod(number, per_class)
        modulation, snr = divmod(cell, len(snrs))
        frames = made.draw(plan["seed"], modulation, snrs[snr], index)
        frames = frames[: frames_of(number)]
        row = cell * per_cell + index * BLOCK
        _write_all(
            descriptor, frames.astype("<f4", copy=False), offset + row * made.samples * 2 * 4
        )
        _write_all(descriptor, checksums(frames).astype("<u4"), checksum_offset + row * 4)
        return number

    resumed_at = written = sum(map(frames_of, done))
    frames = len(made.classes) * len(snrs) * per_cell
    if progress:
        progress(written, frames)
    todo = (number for number in range(total) if number not in done)
    unsaved: list[int] = []
    with journal.open("a") as log:
        try:
            for number in _in_threads(make, todo, jobs or os.cpu_count() or 1):
                unsaved.append(number)
                written += frames_of(number)
                if len(unsaved) == _SYNC_EVERY:
                    _save(descriptor, log, unsaved)
                if progress:
                    progress(written, frames)
        finally:
            _save(descriptor, log, unsaved)
    return resumed_at


def _write_all(descriptor: int, values: np.ndarray, place: int) -> None:
    data = values.data.cast("B")
    while data:
        written = os.pwrite(descriptor, data, place)
        data, place = data[written:], place + written


def _save(descriptor: int, log: Any, unsaved: list[int]) -> None:
    """Enter blocks into the journal, after the disk has them."""
    os.fdatasync(descriptor)
    log.write(" ".join(map(str, unsaved)) + "\n")
    log.flush()
    os.fsync(log.fileno())
    unsaved.clear()


def _in_threads(make: Callable[[int], int], numbers: Iterator[int], jobs: int) -> Iterator[int]:
    """Yield make(number) in whatever order they finish, never more than a few under way."""
    with ThreadPoolExecutor(jobs) as pool:
        running: set[Future[int]] = {pool.submit(make, n) for n in islice(numbers, 2 * jobs)}
        try:
            while running:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(make, n) for n in islice(numbers, len(finished))}
                for future in finished:
                    yield future.result()
        finally:
            for future in running:
                future.cancel()
