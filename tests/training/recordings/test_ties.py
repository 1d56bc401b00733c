"""Of classes whose scores are the same, the first: what an accelerator's integers give."""

import torch

from training.recordings.rows import first_of_ties


def test_scores_that_float32_has_rounded_apart_are_the_same():
    score = torch.tensor(3.7, dtype=torch.float32)
    above = torch.nextafter(score, torch.tensor(4.0))
    logits = torch.stack([torch.stack([-score, score, above]), torch.stack([above, score, score])])
    assert logits[0].argmax() == 2
    assert first_of_ties(logits).tolist() == [1, 0]


def test_scores_a_step_apart_are_not():
    logits = torch.tensor([[1.0, 1.00001, 0.0], [-2.0, -2.5, -1.99998]])
    assert first_of_ties(logits).tolist() == [1, 2]
