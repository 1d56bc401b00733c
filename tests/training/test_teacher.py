"""A teacher's outputs, computed once and kept; and validation on training frames."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from deploy.board.radioml import SNRS
from models import checkpoint as checkpoints
from models.errors import BadInput
from tests.tiny import TINY, ready
from training import teacher
from training.data import RadioMLData
from training.distill import Distillation
from training.module import Recipe
from training.teacher import pack, unpack
from training.train import train
from training.twin import Twin


def test_scores_survive_eight_bits():
    scores = np.random.default_rng(1).normal(0, 5, (100, 24)).astype(np.float32)
    scores[7] = 3  # all alike
    found, wanted = unpack(pack(scores)), scores - scores.max(1, keepdims=True)
    step = (scores.max(1) - scores.min(1)) / 255
    assert (np.abs(found - wanted) <= 0.501 * step[:, None] + 1e-6).all()
    assert (found.argmax(1) == scores.argmax(1)).all()


@pytest.fixture
def source(data, tmp_path):
    made = RadioMLData(data, 64, cache_dir=tmp_path / "caches")
    made.setup()
    return made


def test_the_loss_is_that_of_the_living_teacher(source):
    network = ready(frames=64).eval()
    source.ask(network)
    x, y, _, taught = next(iter(source.train_dataloader()))
    student = torch.randn(64, 24, requires_grad=True)
    plain = F.cross_entropy(student, y)
    losses, gradients = [], []
    for known in ((), (taught,)):
        loss = Distillation(network, 0.5, 3.0).loss(x, student, plain, *known)
        gradients.append(torch.autograd.grad(loss, student, retain_graph=True)[0])
        losses.append(loss)
    scores = Twin(network)(x).detach()
    step = (scores.amax(1) - scores.amin(1)).max() / 255
    assert losses[0] != losses[1] and abs(losses[0] - losses[1]) < 3 * step
    assert (gradients[0] - gradients[1]).norm() < 0.02 * gradients[0].norm()


def test_each_frame_is_asked_for_once(source, tmp_path, monkeypatch):
    """Interrupted, it goes on behind the last whole chunk; once there, it is only read."""
    monkeypatch.setattr(teacher, "BATCH", 64)
    monkeypatch.setattr(teacher, "CHUNK", 128)
    network = ready(frames=64).eval()
    asked: list[int] = []

    class Counted(Twin):
        def forward(self, x):
            asked.append(len(x))
            if len(asked) == 5:
                raise KeyboardInterrupt
            return super().forward(x)

    monkeypatch.setattr(teacher, "Twin", Counted)
    with pytest.raises(KeyboardInterrupt):
        source.ask(network)
    (part,) = tmp_path.rglob("*.part")
    with part.open("ab") as file:
        file.write(b"torn")
    source.ask(network)
    whole = np.array(source.taught)
    assert sum(asked) == len(source.frames) + 64  # the batch at which it was interrupted
    source.ask(network)
    assert np.array_equal(source.taught, whole)
    assert sum(asked) == len(source.frames) + 64
    rows = np.arange(0, len(source.frames), 97)
    with torch.inference_mode():
        scores = Twin(network)(source.frames[rows][0]).numpy()
    assert np.abs(unpack(whole[rows]) - (scores - scores.max(1, keepdims=True))).max() < 0.01
    assert not list(tmp_path.rglob("*.part"))


def test_validation_frames_are_training_frames_that_are_not_trained_on(data):
    source = RadioMLData(data, 64, validation=312)
    source.setup()
    plain = RadioMLData(data, 64)
    plain.setup()
    kept = set(source.validated)
    assert len(kept) == 312
    assert not kept & set(source.split.train) and not kept & set(source.split.test)
    assert set(source.split.train) == set(plain.split.train) - kept
    assert np.array_equal(source.split.test, plain.split.test)
    assert set(source.index.snrs[source.validated]) == set(SNRS)  # also those left out of training
    assert len(set(source.index.labels[source.validated])) == 24
    seen = torch.cat([snr for _, _, snr in source.val_dataloader()])
    assert len(seen) == 312
    assert source.identity() != plain.identity()
    assert set(plain.identity()) < set(source.identity())  # former runs go on


def test_the_checkpoint_says_what_its_epoch_was_chosen_on(data, tmp_path):
    recipe = Recipe(epochs=1, lr=0.001)
    source = RadioMLData(data, 64, validation=1 << 20)
    distillation = Distillation(ready(frames=64), kept=True)
    best = train(
        *(TINY, source, tmp_path / "out", recipe),
        distillation=distillation,
        batches_per_epoch=2,
        progress=False,
        accelerator="cpu",
    )
    # A tenth of the 5616 training frames at most.
    told = checkpoints.load(best).info["chosen_on"]
    assert told == "561 training frames kept for validation"
    assert list(data.parent.glob("data.h5.cache-teachers/*.npy"))


def test_too_few_frames_for_validation_are_told(tmp_path, data, monkeypatch):
    source = RadioMLData(data, 64, validation=5)
    monkeypatch.setattr("training.data.official_split", lambda *_: _Few())
    with pytest.raises(BadInput, match="too few frames to keep some for validation"):
        source.setup()


class _Few:
    train = np.arange(9)
    test = np.arange(1)
