"""A copy of a data file that is read in any order at full speed, by memory mapping.

One sequential pass turns a file into int16 fixed point: steps of 2^-14 over [-2, 2), rounded **to
odd** (downwards, with the last bit set where that was inexact) and saturated. This halves the size
and makes a frame, (2, 1024) int16, exactly one page of 4096 bytes. And it changes nothing that a
network sees: its input quantizer rounds to n <= 14 bits over [-2, 2], so every value at which the
quantizer's answer changes is an even multiple of 2^-14; rounding to odd keeps all others strictly
on their side of it, and what saturates would be clipped anyway (`tests/training/test_cache.py`
shows it against Brevitas). Rounding to nearest would not do: it moves values onto ties.

Networks of the user's own quantize their input as they like: their caches hold float32, as it is.
"""

import contextlib
import functools
import hashlib
import io
import json
import mmap
import os
import resource
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
import psutil

from deploy.board.radioml import Index, Layout, check_frames, open_file, read, read_index
from models.cache_folder import alone, cache_folder
from models.console import Progress
from models.errors import BadInput
from models.files import existing_file, writable_folder

FORMAT = 2
"""Goes up whenever the files of a cache change their meaning."""

STEP = 2.0**-14
_ROWS = 4096  # frames per read, 32 MiB
_TILE = 256  # frames per pass of the rounding, so that its arrays stay in the processor's cache
_GATHER = 64  # frames gathered before they are scaled
_MADV_POPULATE_READ = 22  # missing in Python's mmap; from linux/mman.h
_RESERVE = 64 << 20
_FRAMES = {"int16": "frames.i16", "float32": "frames.f32"}
_FILES = {"cache.json", "labels.npy", "snrs.npy", *_FRAMES.values(), "lock"}  # lock: of format 1


@dataclass(frozen=True)
class Source:
    """What a cache was made from.

    Attributes:
        size: bytes of the file.
        mtime_ns: its time of modification.
        sample: SHA-256 over slices from all over the file.
        format: `FORMAT` of the cache.
    """

    size: int
    mtime_ns: int
    sample: str
    format: int = FORMAT


@dataclass(frozen=True)
class CacheKind:
    """What a cache holds.

    Attributes:
        layout: the sizes of its file.
        exact: samples are float32 as they are, not rounded and saturated for our quantizers.
    """

    layout: Layout = Layout()
    exact: bool = False

    @property
    def dtype(self) -> np.dtype:
        """Of a sample."""
        return np.dtype(np.float32 if self.exact else np.int16)

    @property
    def file(self) -> str:
        """Name of the file of frames."""
        return _FRAMES[self.dtype.name]

    @property
    def shape(self) -> tuple[int, int]:
        """Of a frame, channels first."""
        return self.layout.channels, self.layout.samples

    @property
    def size(self) -> int:
        """Bytes of a frame."""
        return self.layout.channels * self.layout.samples * self.dtype.itemsize


OURS = CacheKind()


class Cache:
    """A finished cache, open for reading.

    Attributes:
        index: class and SNR of every frame, as `radioml.read_index` gave them.
    """

    def __init__(
        self, folder: Path, index: Index, source: Source, mapped: mmap.mmap, kind: CacheKind
    ):
        self.index, self.kind = index, kind
        self._folder, self._source, self._map = folder, source, mapped
        self._map.madvise(mmap.MADV_RANDOM)  # reading ahead would fetch frames nobody asked for
        self._frames = np.frombuffer(self._map, kind.dtype).reshape(len(self.index), *kind.shape)
        self._cold = True

    def __len__(self) -> int:
        return len(self.index)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of all frames, classes and SNRs, whatever file they came from."""
        found = hashlib.sha256(self.index.labels.tobytes())
        found.update(self.index.snrs.tobytes())
        with (self._folder / self.kind.file).open("rb") as file:
            while part := file.read(1 << 20):
                found.update(part)
        return found.hexdigest()

    def __reduce__(self) -> tuple:
        return _reopen, (self._folder, self.index.path, self._source, self.kind)

    def frames(self, rows: np.ndarray) -> np.ndarray:
        """Return float32 (B, C, L), the frames of `rows`, int64 (B,), in that order."""
        size = self.kind.size
        disk = _blocks_read()
        if self._cold:
            # All at once, so that the disk has them on their way together, not one by one.
            for row in np.sort(rows).tolist():
                first = row * size // mmap.PAGESIZE * mmap.PAGESIZE
                self._map.madvise(mmap.MADV_WILLNEED, first, (row + 1) * size - first)
        frames = np.empty((len(rows), *self.kind.shape), np.float32)
        # A few at a time, which the processor's cache still holds when they are scaled; in one
        # thread, since threads that wait for each other are what slows a busy machine down.
        for first in range(0, len(rows), _GATHER):
            part = frames[first : first + _GATHER]
            part[:] = self._frames[rows[first : first + _GATHER]]
            if not self.kind.exact:
                part *= np.float32(STEP)
        # A page is eight blocks; a few that were dropped are not worth asking for all.
        self._cold = _blocks_read() - disk > len(rows) // 4
        return frames

    def fetch(self) -> None:
        """Have the whole cache read and mapped in the background, if memory has room for it.

        Sequentially that takes a disk a fraction of what the same pages take in random order. The
        memory is the system's file cache, which gives way to whoever needs it.
        """
        if psutil.virtual_memory().available > 1.25 * len(self) * self.kind.size:
            path = self._folder / self.kind.file
            threading.Thread(target=_read_through, args=(path, self._map), daemon=True).start()


def _read_through(path: Path, mapped: mmap.mmap) -> None:
    part = bytearray(1 << 20)
    # The folder may be replaced meanwhile, and Linux before 5.14 cannot populate a mapping.
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
        place = 0
        while size := file.readinto(part):
            mapped.madvise(_MADV_POPULATE_READ, place, size)
            place += size


def _blocks_read() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock


def round_to_odd(samples: np.ndarray) -> np.ndarray:
    """Return float32 samples in steps of 2^-14, as int16 of the same shape.

    Rounding to odd is what makes a second rounding give what one rounding would have given: see S.
    Boldo and G. Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using
    rounding to odd", IEEE Trans. Computers 57(4), 2008.
    """
    limits = np.iinfo(np.int16)
    scaled = np.clip(samples * np.float32(1 / STEP), limits.min, limits.max)
    floor = np.floor(scaled)
    fixed = floor.astype(np.int16)
    fixed |= scaled != floor
    return fixed


def open_cache(
    path: str | Path,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
    kind: CacheKind = OURS,
) -> Cache:
    """Return the cache of a data file, made anew where there is none or the file has changed.

    Args:
        path: data file in RadioML's layout.
        cache_dir: folder for caches, see `cache_of`.
        progress: told (frames done, frames in all) while a cache is made.
        kind: what it is to hold.

    Raises:
        BadInput: the file is unusable (`radioml.read_index`), holds NaN or infinity, or there is no
            place for the cache; an older cache is then still there.
    """
    path = existing_file(path, "data file")
    folder = cache_of(path, cache_dir, kind)
    source = source_of(path)
    if cache := _load(folder, path, source, kind):
        return cache
    with open_file(path, kind.layout.classes, kind.layout.frame):
        pass  # an unusable file leaves nothing, not even a lock
    writable_folder(folder.parent)
    with alone(folder):
        # Another process may have made it while this one waited.
        if cache := _load(folder, path, source, kind):
            return cache
        try:
            _make(folder, path, source, progress, kind)
        except OSError as error:
            raise BadInput(
                f"cannot write the cache {folder}: {error.strerror or error}; free some space or "
                "name another folder for caches in AARONNET_CACHE"
            ) from error
        return _reopen(folder, path, source, kind)


def cache_of(path: str | Path, cache_dir: str | Path | None = None, kind: CacheKind = OURS) -> Path:
    """Return the folder in which the cache of a data file lies or would lie.

    It is in the folder for caches (`models.cache_folder`) if one is named, by `cache_dir` or by
    AARONNET_CACHE, else beside the data file.
    """
    path = Path(path).absolute()
    place = cache_folder(cache_dir, default=path.parent)
    ending = ".float32.cache" if kind.exact else ".cache"
    if place == path.parent:
        return path.with_name(path.name + ending)
    # Files of one name from several folders shall not take turns.
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    return place / f"{path.name}-{digest}{ending}"


def source_of(path: Path) -> Source:
    """Return what identifies the present contents of a data file without reading all of it."""
    status = path.stat()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for place in np.linspace(0, max(status.st_size - 4096, 0), 64).astype(int):
            file.seek(int(place))
            digest.update(file.read(4096))
    return Source(status.st_size, status.st_mtime_ns, digest.hexdigest())


def _load(folder: Path, path: Path, source: Source, kind: CacheKind) -> Cache | None:
    """Open the cache in `folder`; None unless it is whole and was made from `source`."""
    try:
        # All files through one descriptor: the folder may be replaced between two of them.
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        facts = json.loads(_read(place, "cache.json"))
        arrays = [_read(place, name) for name in ("labels.npy", "snrs.npy")]
        if facts["source"] != asdict(source) or facts["digest"] != _digest(facts, *arrays):
            return None
        if facts.get("layout") != _layout_fact(kind):
            return None
        labels, snrs = (np.load(io.BytesIO(array), allow_pickle=False) for array in arrays)
        with _opened(place, kind.file) as file:
            if os.fstat(file.fileno()).st_size != len(labels) * kind.size:
                return None
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        index = Index(path, labels, snrs, facts["label"], facts["in_order"], kind.layout)
        return Cache(folder, index, source, mapped, kind)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # a file is missing, cut short or none of ours: it is made again
    finally:
        os.close(place)


def _layout_fact(kind: CacheKind) -> list[int] | None:
    """Return what a cache says of its file's sizes; None of our quantizers' 2018.01A's."""
    sizes = kind.layout
    return None if kind == OURS else [sizes.samples, sizes.channels, sizes.classes]


def _opened(place: int, name: str) -> BinaryIO:
    return open(name, "rb", opener=lambda name, flags: os.open(name, flags, dir_fd=place))


def _read(place: int, name: str) -> bytes:
    with _opened(place, name) as file:
        return file.read()


def _digest(facts: dict, labels: bytes, snrs: bytes) -> str:
    """Return the SHA-256 of all that a cache says of its frames."""
    said = json.dumps(
        [facts[key] for key in ("source", "label", "in_order", "layout") if key in facts]
    )
    return hashlib.sha256(said.encode() + labels + snrs).hexdigest()


def _reopen(folder: Path, path: Path, source: Source, kind: CacheKind) -> Cache:
    cache = _load(folder, path, source, kind)
    if cache is None:
        raise BadInput(f"the cache {folder} was changed by someone else; start again")
    return cache


def _make(
    folder: Path, path: Path, source: Source, progress: Progress | None, kind: CacheKind
) -> None:
    """Make the cache beside `folder`, then swap; who reads the old one keeps its open files.

    The names are always the same, so that what a killed process left behind goes with the next one.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    old = folder.with_name(f".{folder.name}.old")
    for place in (folder, temporary, old):
        _check_ours(place)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        _build(temporary, path, source, progress, kind)
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _check_ours(folder: Path) -> None:
    """Refuse to replace what is no cache.

    Raises:
        BadInput: `folder` is a file or a link, or holds anything but a cache's files.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise BadInput(f"{folder} is where the cache would lie, but is no folder; move it away")
    strange = {entry.name for entry in folder.iterdir()} - _FILES if folder.is_dir() else set()
    if strange:
        raise BadInput(
            f"{folder} is where the cache would lie, but holds {min(strange)}, which is not of a "
            "cache; move it away"
        )


def _build(
    folder: Path, path: Path, source: Source, progress: Progress | None, kind: CacheKind
) -> None:
    """Fill `folder` with a cache of `path`; its last file is cache.json."""
    layout = kind.layout
    index = read_index(path, layout.classes, layout.frame)
    _check_disk(folder, len(index) * kind.size)
    np.save(folder / "labels.npy", index.labels)
    np.save(folder / "snrs.npy", index.snrs)
    opened = open_file(path, layout.classes, layout.frame)
    with opened as file, (folder / kind.file).open("wb") as out:
        done = 0
        for frames in _read_ahead(file["X"]):
            check_frames(file["X"], frames, np.arange(done, done + len(frames)))
            for start in range(0, len(frames), _TILE):
                tile = frames[start : start + _TILE]
                tile = tile if kind.exact else round_to_odd(tile)
                out.write(np.ascontiguousarray(tile.transpose(0, 2, 1)).data)
            done += len(frames)
            if progress:
                progress(done, len(index))
        out.flush()
        os.fsync(out.fileno())
    facts: dict = {"source": asdict(source), "label": index.label, "in_order": index.in_order}
    if layout_fact := _layout_fact(kind):
        facts["layout"] = layout_fact
    arrays = [(folder / name).read_bytes() for name in ("labels.npy", "snrs.npy")]
    facts["digest"] = _digest(facts, *arrays)
    (folder / "cache.json").write_text(json.dumps(facts))


def _check_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder.parent).free - _RESERVE
    if needed > free:
        raise BadInput(
            f"the cache {folder} needs {needed / 1e9:.1f} GB, {max(free, 0) / 1e9:.1f} GB are free "
            "there; free some space or name another folder for caches in AARONNET_CACHE"
        )


def _read_ahead(x: h5py.Dataset) -> Iterator[np.ndarray]:
    """Yield all frames, the next ones being read while the caller works on these."""

    def fetch(start: int) -> np.ndarray:
        with np.errstate(over="ignore"):  # beyond float32 is infinity, which is refused
            return read(x, slice(start, start + _ROWS)).astype(np.float32, copy=False)

    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(fetch, 0)
        for start in range(_ROWS, len(x) + _ROWS, _ROWS):
            frames = ahead.result()
            if start < len(x):
                ahead = reader.submit(fetch, start)
            yield frames
