import sys

import lightning
import numpy as np
import pytest
import torch

from deploy.board.radioml import SNRS
from deploy.board.split import official_split
from models.errors import BadInput
from tests.training.radioml_files import grid, write
from training.data import Batches, RadioMLData, SyntheticData


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    labels, snrs = grid(10)
    order = np.random.default_rng(0).permutation(len(labels))
    frames = np.zeros((len(labels), 1024, 2), np.float32)
    # The row is written into the frame: exact in steps of 2^-14.
    frames[:, 0, 0] = (np.arange(len(labels)) % 128) / 128
    frames[:, 0, 1] = (np.arange(len(labels)) // 128) / 128
    path = tmp_path_factory.mktemp("data") / "data.h5"
    return write(path, labels[order], snrs[order], frames)


def rows_of(x: torch.Tensor) -> np.ndarray:
    return (x[:, 0, 0] * 128 + x[:, 1, 0] * 128 * 128).numpy().round().astype(int)


def module(path, **options) -> RadioMLData:
    data = RadioMLData(path, **{"batch_size": 100, "workers": 0} | options)
    data.prepare_data()
    data.setup()
    return data


def epoch(loader, number=0):
    loader.sampler.set_epoch(number)
    x, y, snr = zip(*loader, strict=True)
    assert all(len(part) == len(x[0]) for part in x[:-1])
    return rows_of(torch.cat(x)), torch.cat(y).numpy(), torch.cat(snr).numpy()


def test_batches_hold_frames_with_their_class_and_snr(path):
    data = module(path)
    x, y, snr = next(iter(data.train_dataloader()))
    assert (x.dtype, y.dtype, snr.dtype) == (torch.float32, torch.int64, torch.int64)
    assert x.shape == (100, 2, 1024)
    rows = rows_of(x)
    assert np.array_equal(data.index.labels[rows], y)
    assert np.array_equal(data.index.snrs[rows], snr)
    assert data.label == "unlabelled file data.h5"


def test_training_draws_every_training_frame_once_an_epoch(path):
    data = module(path, min_snr=None)
    loader = data.train_dataloader()
    first, *_ = epoch(loader, 0)
    again, *_ = epoch(data.train_dataloader(), 0)
    second, *_ = epoch(loader, 1)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
    for drawn in (first, second):
        assert len(set(drawn)) == len(drawn) == len(loader) * 100
        assert np.isin(drawn, data.split.train).all()
        assert len(data.split.train) - len(drawn) < 100
    assert not np.array_equal(
        epoch(module(path, min_snr=None, seed=1).train_dataloader())[0], first
    )


def test_shuffling_reaches_the_whole_file(path):
    data = module(path, min_snr=None)
    rows = rows_of(next(iter(data.train_dataloader()))[0])
    assert rows.min() < 500
    assert rows.max() > 24 * 26 * 10 - 500


def test_min_snr_leaves_out_of_training_only(path):
    data = module(path)
    assert epoch(data.train_dataloader())[2].min() == -14
    assert set(epoch(data.test_dataloader())[2]) == set(SNRS)


def test_test_frames_are_those_of_the_split_and_none_is_left_out(path):
    data = module(path)
    for loader in (data.test_dataloader(), data.val_dataloader()):
        rows, labels, snrs = epoch(loader)
        assert np.array_equal(rows, official_split(data.index).test)
        assert np.array_equal(labels, data.index.labels[rows])


def test_worker_processes_change_nothing(path):
    alone = epoch(module(path).train_dataloader())
    helped = epoch(module(path, workers=2).train_dataloader())
    assert all(np.array_equal(a, b) for a, b in zip(alone, helped, strict=True))


@pytest.mark.parametrize("count", [10_000, 10_050, 150])
@pytest.mark.parametrize("shuffle", [True, False])
def test_processes_share_the_rows(count, shuffle):
    rows = np.arange(count)
    shares = []
    for rank in range(3):
        batches = Batches(rows, 100, shuffle=shuffle, num_replicas=3, rank=rank)
        drawn = list(batches)
        assert len(drawn) == len(batches)
        shares.append(np.concatenate([*drawn, np.empty(0, int)]))
    together = np.concatenate(shares)
    assert len(set(together)) == len(together)
    if not shuffle:
        assert np.array_equal(np.sort(together), rows)
    elif count >= 300:
        assert {len(share) for share in shares} == {3300}


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("count", "processes"), [(60, 2), (3, 3), (65, 2), (130, 3), (5, 4)])
def test_no_process_is_left_without_a_batch(count, processes, shuffle):
    """The others would wait for it for ever."""
    ranks = [
        list(
            Batches(np.arange(count), 64, shuffle=shuffle, num_replicas=processes, rank=rank),
        )
        for rank in range(processes)
    ]
    assert all(len(batch) for batches in ranks for batch in batches)
    assert min(map(len, ranks)) >= 1
    if shuffle:
        assert len(set(map(len, ranks))) == 1
    else:
        rows = np.concatenate([batch for batches in ranks for batch in batches])
        assert np.array_equal(np.sort(rows), np.arange(count))
    with pytest.raises(BadInput, match="1 frames for 2 processes: each needs at least one"):
        Batches(np.arange(1), 64, shuffle=shuffle, num_replicas=2, rank=0)


def test_fewer_frames_than_a_batch_are_one():
    assert [len(batch) for batch in Batches(np.arange(7), 100, shuffle=True)] == [7]


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"min_snr": 32}])
def test_bad_options(path, options):
    with pytest.raises(BadInput):
        RadioMLData(path, **options)


class Watcher(lightning.LightningModule):
    """Learns nothing; remembers which rows it was given in which epoch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def training_step(self, batch, number):
        self.seen.append((self.current_epoch, rows_of(batch[0])))
        return self.weight.sum()


def fit(data, **options):
    watcher = Watcher()
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(watcher, datamodule=data)
    return watcher


def test_lightning_shuffles_anew_each_epoch(path):
    watcher = fit(RadioMLData(path, 100, workers=0))
    epochs = [np.concatenate([r for e, r in watcher.seen if e == n]) for n in (0, 1)]
    loader = module(path).train_dataloader()
    for number, drawn in enumerate(epochs):
        assert np.array_equal(drawn, epoch(loader, number)[0])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_lightning_distributes(path, tmp_path):
    class Saver(Watcher):
        def on_train_end(self):
            rows = np.stack([rows for _, rows in self.seen])
            np.save(tmp_path / f"{self.global_rank}.npy", rows)

    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=2,
        strategy="ddp_fork",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Saver(), datamodule=RadioMLData(path, 100, workers=0))
    shares = [np.load(tmp_path / f"{rank}.npy") for rank in (0, 1)]
    assert shares[0].shape == shares[1].shape
    together = np.concatenate(shares).ravel()
    assert len(set(together)) == len(together)
    split = official_split(module(path).index, -14)
    assert np.isin(together, split.train).all()
    assert len(split.train) - len(together) < 200


def on_the_fly(**options) -> SyntheticData:
    wanted = {"batch_size": 96, "frames_per_epoch": 288, "test_frames": 192, "workers": 0}
    return SyntheticData(**wanted | options)


def draw(loader, number=0):
    loader.sampler.set_epoch(number)
    x, y, snr = zip(*loader, strict=True)
    return torch.cat(x), torch.cat(y), torch.cat(snr)


def test_frames_on_the_fly_never_come_twice_but_always_again():
    loader = on_the_fly().train_dataloader()
    first, second = draw(loader, 0), draw(loader, 1)
    again = draw(on_the_fly().train_dataloader(), 1)
    assert first[0].shape == (288, 2, 1024)
    assert (first[0].dtype, first[1].dtype, first[2].dtype) == (
        *(torch.float32, torch.int64, torch.int64),
    )
    assert all(torch.equal(a, b) for a, b in zip(second, again, strict=True))
    marks = torch.cat([first[0][:, 0, 0], second[0][:, 0, 0]])
    assert len(marks.unique()) == 2 * 288
    assert not torch.equal(draw(on_the_fly(seed=1).train_dataloader())[0], first[0])
    assert first[2].min() >= -14


def test_test_frames_on_the_fly_are_always_the_same():
    data = on_the_fly()
    loader = data.test_dataloader()
    first, second = draw(loader, 0), draw(loader, 5)
    assert torch.equal(first[0], second[0])
    assert first[2].min() < -14
    train, validation = draw(data.train_dataloader())[0], draw(data.val_dataloader(), 0)[0]
    assert torch.equal(validation, draw(data.val_dataloader(), 5)[0])
    for one, other in ((train, first[0]), (validation, first[0]), (train, validation)):
        assert not torch.isin(one[:, 0, 0], other[:, 0, 0]).any()
    assert data.label == "synthetic (recipe 1, on the fly, seed 0)"


def test_worker_processes_draw_the_same_frames():
    alone = draw(on_the_fly().train_dataloader(), 3)
    helped = draw(on_the_fly(workers=2).train_dataloader(), 3)
    assert torch.equal(alone[0], helped[0])


def test_frames_on_the_fly_are_those_of_their_class():
    x, y, snr = draw(on_the_fly(frames_per_epoch=960, min_snr=30).train_dataloader())
    assert set(snr.tolist()) == {30}
    power = x.square().sum(dim=1).mean(dim=1)
    ssb = (y == 17) | (y == 18)
    assert power[ssb].median() > 3 * power[~ssb].median()
    envelope = x.square().sum(dim=1).std(dim=1)
    assert envelope[(y == 21) | (y == 22)].max() < envelope[(y == 4)].min()
