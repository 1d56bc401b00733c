"""Accuracy is counted right."""

import numpy as np
import pytest
import torch
from torch import nn

from deploy.board.radioml import CLASSES, SNRS
from models.checkpoint import Checkpoint
from models.config import CONFIGS
from models.errors import BadInput
from training.data import SyntheticData
from training.evaluate import evaluate


class Oracle(nn.Module):
    """Answers in order from a list."""

    def __init__(self, answers):
        super().__init__()
        self.answers, self.done = torch.tensor(answers), 0

    def forward(self, x):
        part = self.answers[self.done : self.done + len(x)]
        self.done += len(x)
        return nn.functional.one_hot(part, len(CLASSES)).float()


def test_counts_match_a_loop_over_frames():
    data = SyntheticData(50, test_frames=300, workers=0, seed=5)
    truth = [
        (int(y), int(s))
        for _, ys, ss in data.test_dataloader()
        for y, s in zip(ys, ss, strict=True)
    ]
    rng = np.random.default_rng(0)
    answers = [y if rng.random() < 0.6 else int(rng.integers(24)) for y, _ in truth]
    checkpoint = Checkpoint(Oracle(answers), CONFIGS["aaronnet32"], {"data_label": "synthetic x"})
    seen = []
    found = evaluate(checkpoint, data, progress=lambda done, total: seen.append((done, total)))
    right = [a == y for a, (y, _) in zip(answers, truth, strict=True)]
    assert found.accuracy == pytest.approx(np.mean(right))
    assert found.frames == 300 and seen[-1] == (300, 300)
    for snr, share in zip(SNRS, found.accuracy_per_snr, strict=True):
        part = [r for r, (_, s) in zip(right, truth, strict=True) if s == snr]
        assert share == (pytest.approx(np.mean(part)) if part else None)
    for index, share in enumerate(found.accuracy_per_class):
        part = [r for r, (y, _) in zip(right, truth, strict=True) if y == index]
        assert share == (pytest.approx(np.mean(part)) if part else None)
    confusion = np.zeros((24, 24), int)
    for (y, _), a in zip(truth, answers, strict=True):
        confusion[y, a] += 1
    assert np.array_equal(found.confusion, confusion)
    assert found.trained_on == "synthetic x" and found.data.startswith("synthetic")


def test_unknown_splits_are_refused():
    checkpoint = Checkpoint(Oracle([0]), CONFIGS["aaronnet32"])
    with pytest.raises(BadInput, match="unknown split"):
        evaluate(checkpoint, SyntheticData(), "half")
    with pytest.raises(BadInput, match="unknown split"):
        evaluate(checkpoint, "data.h5", "validation")
    with pytest.raises(BadInput, match="test split only"):
        evaluate(checkpoint, SyntheticData(), "train")


def test_a_picture_that_cannot_be_written_leaves_the_former(tmp_path, monkeypatch, cli):
    from pathlib import Path

    import training.cli_evaluate
    from models import checkpoint as checkpoints
    from tests.tiny import TINY, ready
    from training.synthesis import write_dataset

    write_dataset(tmp_path / "data.h5", 2, 7, jobs=1)
    checkpoints.save(tmp_path / "net.pth", ready(), TINY, {"data_label": "noise"})
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("accuracy.png", "confusion.png"):
        (folder / name).write_text("the former")
    write = Path.write_bytes

    def half(path: Path, data: bytes) -> int:
        write(path, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(BadInput, match="No space left"):
        training.cli_evaluate.test(
            tmp_path / "net.pth", tmp_path / "data.h5", pictures=folder, device="cpu"
        )
    assert {path.read_text() for path in folder.iterdir()} == {"the former"}
    assert len(list(folder.iterdir())) == 2
