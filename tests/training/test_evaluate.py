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
        evaluate(checkpoint, SyntheticData(), "validation")
    with pytest.raises(BadInput, match="test split only"):
        evaluate(checkpoint, SyntheticData(), "train")
