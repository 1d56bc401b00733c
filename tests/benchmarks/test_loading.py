"""Loading: our cache against the way of the published training code, side by side.

`RADIOML_FILE` names the file to load, the full one say; without it a small one is synthesised.
"""

import os
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler

from training.data import RadioMLData, SyntheticData
from training.synthesis import write_dataset

BATCH = 1024
pytestmark = pytest.mark.benchmark


class PublishedDataset(Dataset):
    """The data set class of the challenge's notebook and of the published code: a frame an item."""

    def __init__(self, path):
        file = h5py.File(path, "r")
        self.data = file["X"]
        self.mod = np.argmax(file["Y"], axis=1)
        self.snr = file["Z"][:, 0]

    def __getitem__(self, index):
        return self.data[index].transpose(), self.mod[index], self.snr[index]

    def __len__(self):
        return self.data.shape[0]


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    if "RADIOML_FILE" in os.environ:
        return Path(os.environ["RADIOML_FILE"])
    path = tmp_path_factory.mktemp("loading") / "small.h5"
    write_dataset(path, 128)
    return path


@pytest.fixture(scope="module")
def data(path) -> RadioMLData:
    data = RadioMLData(path, BATCH, min_snr=None, workers=0)
    start = time.perf_counter()
    data.prepare_data()
    data.setup()
    print(f"\nfirst pass (cache) over {len(data.index):,} frames: {_seconds(start)}")
    return data


def _seconds(start: float) -> str:
    return f"{time.perf_counter() - start:.1f} s"


def frames_per_second(loader, batches: int) -> float:
    frames, start = 0, time.perf_counter()
    for number, (x, _, _) in enumerate(loader, 1):
        frames += len(x)
        if number == batches:
            break
    return frames / (time.perf_counter() - start)


def resident(kind: str) -> float:
    """MB of this process: RssAnon, its own, or RssFile, files that it has mapped."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1e3


def test_shuffled_batches(path, data):
    published = DataLoader(
        PublishedDataset(path),
        batch_size=BATCH,
        sampler=SubsetRandomSampler(data.split.train.tolist()),
    )
    loader = data.train_dataloader()
    for _ in loader:  # the first epoch maps the pages
        pass
    # In turns and the best of each: what else the machine does falls on both, and on neither.
    theirs, ours = [], []
    for epoch in range(5):
        loader.sampler.set_epoch(epoch)
        theirs.append(frames_per_second(published, 4))
        ours.append(frames_per_second(loader, 250))
    ratio = max(ours) / max(theirs)
    print(
        f"\nshuffled batches of {BATCH} from {len(data.index):,} frames: h5py item per frame "
        f"{max(theirs):,.0f} frames/s, cache {max(ours):,.0f} frames/s: {ratio:.0f}x"
    )
    x, y, snr = next(iter(loader))
    assert x.shape == (BATCH, 2, 1024)
    assert ratio >= 20


def test_memory_stays_flat(data):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(10)
    seen = []
    frames, start = 0, time.perf_counter()
    for number, (x, _, _) in enumerate(loader):
        frames += len(x)
        if number % 20 == 0:
            seen.append(resident("RssAnon"))
    rate = frames / (time.perf_counter() - start)
    print(
        f"\nan epoch of {frames:,} frames at {rate:,.0f} frames/s: "
        f"{min(seen):.0f}..{max(seen):.0f} MB of its own memory, "
        f"{resident('RssFile'):.0f} MB of the system's file cache mapped"
    )
    assert max(seen) < min(seen) + 100


def test_frames_on_the_fly():
    loader = SyntheticData(BATCH, workers=0).train_dataloader()
    print(f"\ndrawn on the fly, one thread: {frames_per_second(loader, 20):,.0f} frames/s")
