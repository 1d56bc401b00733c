"""Batches for training and evaluation: from a file through its cache, or drawn on the fly.

A batch is (x, y, snr): float32 (B, 2, 1024) or whatever size the file's frames have, int64 (B,)
classes, int64 (B,) dB; what a teacher says of the frames may follow. The loaders fetch
whole batches (`batch_size=None`), since one gather per batch is what makes them fast.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from deploy.board.radioml import CLASSES, FRAME, SNRS, Index, Layout, layout_of
from deploy.board.split import Split, official_split
from models.console import Progress
from models.errors import BadInput
from models.foreign import Config, ForeignConfig, frame_of_config
from training.cache import OURS, Cache, CacheKind, cache_of, open_cache
from training.processes import die_with_parent
from training.synthesis import RECIPE_VERSION, synthesise
from training.teacher import kept_outputs, unpack

Batch = tuple[Tensor, ...]

VALIDATION_FRAMES = 1 << 14
"""Training frames that are kept for validation where nobody says how many, at most."""

ORIGINAL_MIN_SNR = -14
"""dB from which the published networks were trained (`--st_snr 3`)."""


class CachedFrames(Dataset):
    """Frames of a cache; indexed by an array of rows, it gives a batch.

    Args:
        cache: the frames.
        taught: a teacher's outputs for all of them (`training.teacher`), which then come as the
            batch's fourth part, float32 (B, classes).
    """

    def __init__(self, cache: Cache, taught: np.ndarray | None = None):
        self.cache, self.taught = cache, taught

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, rows: np.ndarray) -> Batch:
        index = self.cache.index
        x = torch.from_numpy(self.cache.frames(rows))
        batch = x, torch.from_numpy(index.labels[rows]), torch.from_numpy(index.snrs[rows])
        if self.taught is None:
            return batch
        return *batch, torch.from_numpy(unpack(self.taught[rows]))


class SyntheticFrames(Dataset):
    """Batches drawn when asked for; the number of a batch determines it.

    Args:
        batch_size: frames a batch.
        snrs: dB, drawn from uniformly.
        seed: of everything random.
        stream: frames of different streams are independent (0 for training, 1 for testing, 2 for
            validation).
    """

    def __init__(self, batch_size: int, snrs: tuple[int, ...], seed: int, stream: int = 0):
        self.batch_size, self.snrs, self.seed, self.stream = batch_size, snrs, seed, stream

    def __getitem__(self, number: int) -> Batch:
        entropy = (RECIPE_VERSION, self.seed, self.stream, int(number))
        rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(entropy)))
        labels = rng.integers(0, len(CLASSES), self.batch_size)
        snrs = rng.choice(self.snrs, self.batch_size)
        x = np.empty((self.batch_size, 2, FRAME), np.float32)
        for modulation in range(len(CLASSES)):
            rows = np.flatnonzero(labels == modulation)
            if len(rows):
                frames = synthesise(modulation, snrs[rows], len(rows), rng)
                x[rows] = frames.transpose(0, 2, 1)
        return torch.from_numpy(x), torch.from_numpy(labels), torch.from_numpy(snrs)


class LabelledData(lightning.LightningDataModule):
    """Batches (x, y, snr) for training, validation and test.

    Attributes:
        label: where the frames come from, to be shown with every result; known after `setup`.
        batch_size: frames a batch, a process.
        layout: the sizes of the frames, and how many classes they have.
        first_epoch: number of the epoch that a new training loader starts with. Lightning 2.6
            starts to iterate before it tells the samplers which epoch it resumes from.
    """

    label: str
    batch_size: int
    layout: Layout = Layout()
    first_epoch: int = 0

    @property
    def chosen_on(self) -> str:
        """What the best epoch is chosen on, in words."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """Return plain types that tell these batches from others; known after `setup`.

        Frames count by what they are, not by the file that they lie in.
        """
        raise NotImplementedError


class Batches(DistributedSampler):
    """Yield the rows of one batch after another, an epoch of them.

    It is a `DistributedSampler` because Lightning leaves those alone and tells them the epoch; each
    process takes every n-th batch of the same permutation. When training (`shuffle`), surplus rows
    that would give the processes different work are left for the next epoch's permutation. No
    process is left without a batch, since the others would wait for it: fewer rows make smaller
    batches.

    Args:
        rows: int64, what to draw from.
        batch_size: rows a batch, at most.
        shuffle: a new permutation each epoch.
        seed: of the permutations.
        num_replicas: processes, by default those of torch.distributed.
        rank: which of them this is.

    Raises:
        BadInput: there are fewer rows than processes.
    """

    def __init__(
        self,
        rows: np.ndarray,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ):
        place = _place(num_replicas, rank)
        # The base class wants anything with a length.
        super().__init__(rows, *place, shuffle=shuffle, seed=seed)  # type: ignore[arg-type]
        if len(rows) < self.num_replicas:
            raise BadInput(
                f"{len(rows)} frames for {self.num_replicas} processes: each needs at least one; "
                "take fewer processes or more data"
            )
        self.rows, self.batch_size = rows, min(batch_size, len(rows) // self.num_replicas)

    def __len__(self) -> int:
        if self.shuffle:
            return len(self.rows) // (self.batch_size * self.num_replicas)
        batches = -(-len(self.rows) // self.batch_size)
        return -(-(batches - self.rank) // self.num_replicas)

    def __iter__(self) -> Iterator[np.ndarray]:
        rows = self.rows
        if self.shuffle:
            rows = np.random.default_rng((self.seed, self.epoch)).permutation(rows)
        for number in range(len(self)):
            start = (number * self.num_replicas + self.rank) * self.batch_size
            yield rows[start : start + self.batch_size]


class Numbers(DistributedSampler):
    """Yield the numbers of this epoch's batches for `SyntheticFrames`; no two epochs share one."""

    def __init__(self, batches: int, num_replicas: int | None = None, rank: int | None = None):
        place = _place(num_replicas, rank)
        # The base class wants anything with a length.
        super().__init__(range(batches), *place, shuffle=False)  # type: ignore[arg-type]
        self.batches = batches

    def __len__(self) -> int:
        return max(self.batches // self.num_replicas, 1)

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.num_replicas * len(self) + self.rank
        return iter(range(first, first + self.num_replicas * len(self), self.num_replicas))


class SameNumbers(Numbers):
    """Yield the numbers of the first epoch in every epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Stay at the first."""


def _place(processes: int | None, rank: int | None) -> tuple[int, int]:
    """Return how many processes there are and which this is; by default torch.distributed's."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if processes is None:
        processes = torch.distributed.get_world_size() if distributed else 1
    if rank is None:
        rank = torch.distributed.get_rank() if distributed else 0
    return processes, rank


class RadioMLData(LabelledData):
    """A file in RadioML 2018.01A's layout, in the official split.

    Validation gives the official test frames (all SNRs), as published, unless `validation` says how
    many training frames are kept for it instead.

    Args:
        path: HDF5 file; its cache is made on first use.
        batch_size: frames a batch, a process.
        min_snr: dB; training leaves frames below out. None trains on all.
        cache_dir: where caches go, see `cache.cache_of`.
        workers: processes that prepare batches; by default 2 where a GPU waits for them, else 0.
        seed: of the shuffling.
        validation: training frames, of all classes and SNRs, to choose the best epoch on; at most
            a tenth of them. They are not trained on. 0 chooses on the test frames.
        progress: told (frames done, frames in all) while the cache is made.
        kind: what the cache is to hold: see `kind_for`.

    Attributes:
        index: class and SNR of each frame; this and what follows is there after `setup`.
        split: rows for training and testing.
        validated: rows for validation, int64.
        frames: `data.frames[rows]` is a batch.
        taught: a teacher's outputs for all frames, if training batches shall have them.
    """

    index: Index
    split: Split
    frames: CachedFrames
    validated: np.ndarray
    taught: np.ndarray | None = None

    def __init__(
        self,
        path: str | Path,
        batch_size: int = 1024,
        *,
        min_snr: int | None = ORIGINAL_MIN_SNR,
        cache_dir: str | Path | None = None,
        workers: int | None = None,
        seed: int = 0,
        validation: int = 0,
        progress: Progress | None = None,
        kind: CacheKind = OURS,
    ):
        super().__init__()
        _check_batch(batch_size, min_snr)
        self.validation, self.kind, self.layout = validation, kind, kind.layout
        self.path, self.batch_size, self.min_snr = Path(path), batch_size, min_snr
        self.cache_dir, self.workers, self.seed = cache_dir, workers, seed
        self._progress = progress
        self.label = ""

    def prepare_data(self) -> None:
        """Make the cache, in one process.

        Raises:
            BadInput: as `open_cache`.
        """
        open_cache(self.path, self.cache_dir, self._progress, self.kind)

    def setup(self, stage: str | None = None) -> None:
        """Open the cache and split it.

        Raises:
            BadInput: as `open_cache` and `official_split`.
        """
        if not hasattr(self, "frames"):
            cache = open_cache(self.path, self.cache_dir, self._progress, self.kind)
            self.index, self.label = cache.index, cache.index.label
            self.split = official_split(cache.index, self.min_snr)
            self.validated = self.split.test
            if self.validation:
                self._keep_for_validation()
            self.frames = CachedFrames(cache)

    def _keep_for_validation(self) -> None:
        """Take rows for validation out of the training rows, equally from all cells."""
        self.validated = validation_rows(self.index, self.validation)
        train = self.split.train[~np.isin(self.split.train, self.validated)]
        self.split = Split(train, self.split.test)

    @property
    def chosen_on(self) -> str:
        """What the best epoch is chosen on, in words."""
        kind = "training frames kept for validation" if self.validation else "test frames"
        return f"{len(self.validated)} {kind}"

    def identity(self) -> dict[str, Any]:
        """Return what the batches follow from."""
        return {
            "frames": self.frames.cache.digest,
            "batch size": self.batch_size,
            "min SNR": self.min_snr,
            "seed": self.seed,
            # Without, what it was before there was any.
            **({"validation": self.validation} if self.validation else {}),
        }

    def ask(self, teacher: nn.Module, progress: Progress | None = None) -> None:
        """Have training batches come with a teacher's outputs, computed where they are not kept.

        Raises:
            BadInput: there is no place for them.
        """
        place = cache_of(self.path, self.cache_dir, self.kind)
        self.taught = kept_outputs(teacher, self.frames.cache, place, progress)

    def train_dataloader(self) -> DataLoader:
        """Return shuffled batches of the training rows, all of full size."""
        self.frames.cache.fetch()
        batches = Batches(self.split.train, self.batch_size, shuffle=True, seed=self.seed)
        batches.set_epoch(self.first_epoch)
        return _loader(CachedFrames(self.frames.cache, self.taught), batches, self.workers)

    def val_dataloader(self) -> DataLoader:
        """Return batches of the rows for validation."""
        return self._loader(Batches(self.validated, self.batch_size, shuffle=False))

    def test_dataloader(self) -> DataLoader:
        """Return batches of the test rows, in the order of the split."""
        return self._loader(Batches(self.split.test, self.batch_size, shuffle=False))

    def _loader(self, sampler: Batches) -> DataLoader:
        return _loader(self.frames, sampler, self.workers)


def validation_rows(index: Index, count: int) -> np.ndarray:
    """Return int64 (at most count,): training rows kept for validation, equally from all cells.

    Raises:
        BadInput: there are too few frames to keep some.
    """
    rows = official_split(index).train  # cell by cell, also those that are not trained on
    count = min(count, len(rows) // 10)
    if not count:
        raise BadInput(f"{index.path} holds too few frames to keep some for validation")
    return rows[np.linspace(0, len(rows) - 1, count).astype(int)]


def kind_for(config: Config | None, path: str | Path) -> CacheKind:
    """Return how a file is to be cached for a network: ours quantize their input all alike.

    Args:
        config: the network's; None is a class of the user's that takes what the file holds.
        path: the file.

    Raises:
        BadInput: the file holds other frames or classes than the network takes.
    """
    if config is None:
        return CacheKind(layout_of(path), exact=True)
    check_task(config, found := layout_of(path), str(path))
    return CacheKind(found, exact=isinstance(config, ForeignConfig))


def check_task(config: Config, found: Layout, what: str) -> None:
    """Compare the data's sizes with those of the network.

    Args:
        config: of the network.
        found: what the data has.
        what: what the message calls it.

    Raises:
        BadInput: they differ.
    """
    channels, length, classes = frame_of_config(config)
    if found != (wanted := Layout(length, channels, classes)):
        raise BadInput(f"{what} has {found}; {config.name} takes {wanted}")


class SyntheticData(LabelledData):
    """Endless training frames, drawn afresh each epoch; testing always gives the same ones.

    Validation has others, which are the same every time, too.

    Args:
        batch_size: frames a batch, a process.
        min_snr: dB; no training frames below.
        frames_per_epoch: what counts as an epoch.
        test_frames: for test, and as many for validation, over all SNRs.
        workers: processes that draw; by default one a core but for the first.
        seed: of everything random.
    """

    def __init__(
        self,
        batch_size: int = 1024,
        *,
        min_snr: int | None = ORIGINAL_MIN_SNR,
        frames_per_epoch: int = 1 << 18,
        test_frames: int = 1 << 15,
        workers: int | None = None,
        seed: int = 0,
    ):
        super().__init__()
        _check_batch(batch_size, min_snr)
        self.batch_size, self.min_snr, self.seed = batch_size, min_snr, seed
        self.frames_per_epoch, self.test_frames = frames_per_epoch, test_frames
        self.workers = max((os.cpu_count() or 1) - 1, 0) if workers is None else workers
        self.label = f"synthetic (recipe {RECIPE_VERSION}, on the fly, seed {seed})"

    def identity(self) -> dict[str, Any]:
        """Return what the batches follow from."""
        return {
            "frames": self.label,
            "batch size": self.batch_size,
            "min SNR": self.min_snr,
            "frames an epoch": self.frames_per_epoch,
            "test frames": self.test_frames,
            "validation": self.chosen_on,
        }

    @property
    def chosen_on(self) -> str:
        """What the best epoch is chosen on, in words."""
        return f"{self.test_frames} frames drawn for validation"

    def train_dataloader(self) -> DataLoader:
        """Return the batches of this epoch, which no other epoch gives."""
        kept = tuple(snr for snr in SNRS if self.min_snr is None or snr >= self.min_snr)
        frames = SyntheticFrames(self.batch_size, kept, self.seed)
        numbers = Numbers(self._batches(self.frames_per_epoch))
        numbers.set_epoch(self.first_epoch)
        return _loader(frames, numbers, self.workers)

    def val_dataloader(self) -> DataLoader:
        """Return batches that are the same every time, over all SNRs, and none of the test's."""
        return self._same(2)

    def test_dataloader(self) -> DataLoader:
        """Return batches that are the same every time, over all SNRs."""
        return self._same(1)

    def _same(self, stream: int) -> DataLoader:
        frames = SyntheticFrames(self.batch_size, SNRS, self.seed, stream)
        return _loader(frames, SameNumbers(self._batches(self.test_frames)), self.workers)

    def _batches(self, frames: int) -> int:
        return -(-frames // self.batch_size)


def calibration_frames(source: RadioMLData | SyntheticData, count: int, seed: int) -> Tensor:
    """Return float32 (about count, 2, 1024) training frames over all classes and SNRs.

    Args:
        source: where from; a file must be set up.
        count: how many.
        seed: of the choice.
    """
    rng = np.random.default_rng(seed)
    if isinstance(source, RadioMLData):
        rows = source.split.train
        rows = np.sort(rng.choice(rows, min(count, len(rows)), replace=False))
        return source.frames[rows][0]
    each = -(-count // (len(CLASSES) * len(SNRS)))
    drawn = [
        synthesise(modulation, snr, each, rng) for modulation in range(len(CLASSES)) for snr in SNRS
    ]
    return torch.from_numpy(np.concatenate(drawn)).transpose(1, 2).contiguous()


def _check_batch(batch_size: int, min_snr: int | None) -> None:
    if batch_size < 1:
        raise BadInput(f"a batch of {batch_size} frames: there must be at least one")
    if min_snr is not None and min_snr > SNRS[-1]:
        raise BadInput(f"nothing lies at {min_snr} dB and above; the SNRs end at {SNRS[-1]} dB")


def _loader(frames: Dataset, sampler: DistributedSampler, workers: int | None) -> DataLoader:
    gpu = torch.cuda.is_available()
    workers = (2 if gpu else 0) if workers is None else workers
    return DataLoader(
        frames,
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=die_with_parent,
        pin_memory=gpu,
    )
