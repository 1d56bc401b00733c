"""A temperature makes probabilities honest, and counts for the weights that it was fitted for."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.board.radioml import CLASSES
from models import checkpoint as checkpoints
from models.checkpoint import Checkpoint
from models.errors import BadInput
from training.calibrated import familiarity_of, temperature_of
from training.data import RadioMLData, validation_rows
from training.familiarity import Familiarity, fit_familiarity
from training.recordings.prepared import Preparation, Prepared
from training.recordings.recording import InMemory, Recording
from training.recordings.rows import UNKNOWN, classify
from training.synthesis import synthesise
from training.temperature import (
    Calibration,
    calibrate,
    calibration_error,
    fit,
    save_calibrated,
)

KNOWN = fit_familiarity(np.random.default_rng(0).standard_normal((600, 24)))
HOW = Preparation()
FOUND = Calibration(
    *(1.7, 100, 100, "synthetic x", (2.0, 1.5), (0.3, 0.1), (0.9, 0.6), 0.6, 0.05, KNOWN)
)


def drawn(count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and classes drawn with exactly their probabilities."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(count, 24, generator=generator, dtype=torch.double)
    return logits, torch.multinomial(torch.softmax(logits, 1), 1, generator=generator)[:, 0]


def clusters(count: int, seed: int) -> np.ndarray:
    """Scores of three classes, each with a spread of its own; the fourth is never answered."""
    rng = np.random.default_rng(seed)
    spread = np.array([[1, 1, 1, 0.1], [3, 1, 0.5, 0.1], [0.3, 0.3, 2, 0.1]])
    classes = rng.integers(0, 3, count)
    return 9 * np.eye(4)[classes] + spread[classes] * rng.standard_normal((count, 4))


def test_familiarity_is_the_share_of_known_frames_that_are_as_far() -> None:
    known = fit_familiarity(clusters(3000, 0))
    found = known.of(clusters(3000, 1))
    for share in (0.01, 0.05, 0.5):
        assert (found < share).mean() == pytest.approx(share, rel=0.35)
    strange = np.array([[9.0, 0, 0, 3], [9, 0, 5, 0], [0, 0, 0, 9]])  # near none; never answered
    assert (known.of(strange) < 0.003).all()
    assert known.of(np.array([[9.0, 0, 0, 0], [3, 9, 0, 0]])).min() > 0.3  # in its wide direction
    again = Familiarity.from_dict(json.loads(json.dumps(known.to_dict())), 4)
    assert np.allclose(again.of(clusters(100, 2)), known.of(clusters(100, 2)), atol=2e-3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"centres": [[1.0]]},
        {"whitenings": [[1.0]] * 4},
        {"answered": []},
        {"distances": ["far"]},
        {},
    ],
)
def test_damaged_familiarity_is_refused(wrong: dict) -> None:
    kept = fit_familiarity(clusters(100, 0)).to_dict() | wrong if wrong else {}
    with pytest.raises(BadInput, match="calibrate it anew"):
        Familiarity.from_dict(kept, 4)


@pytest.mark.parametrize("overconfident", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(overconfident: float) -> None:
    logits, labels = drawn()
    found = fit(logits * overconfident, labels)
    assert found == pytest.approx(overconfident, rel=0.05)
    assert calibration_error(logits * overconfident / found, labels) < 0.03


def test_error_is_the_difference_between_probability_and_truth() -> None:
    # Always 0.731 sure of class 0, right in every second frame.
    logits = torch.tensor([[1.0, 0.0]] * 100, dtype=torch.double)
    labels = torch.tensor([0, 1] * 50)
    assert calibration_error(logits, labels) == pytest.approx(0.2311, abs=1e-3)


def test_it_is_kept_with_its_weights_alone(tmp_path: Path) -> None:
    loaded = checkpoints.load("aaronnet32++")
    assert temperature_of(loaded) == 1.0
    save_calibrated(tmp_path / "c.pth", loaded, FOUND)
    kept = checkpoints.load(tmp_path / "c.pth")
    assert temperature_of(kept) == 1.7
    assert kept.info["temperature_on"] == "synthetic x"
    scores = np.random.default_rng(1).standard_normal((50, 24))
    assert familiarity_of(loaded) is None
    assert np.abs(familiarity_of(kept).of(scores) - KNOWN.of(scores)).max() < 0.01
    with torch.no_grad():
        next(kept.network.parameters()).mul_(1.01)
    assert temperature_of(kept) == 1.0  # trained on: fitted for another network
    assert familiarity_of(kept) is None


def test_a_file_with_a_wrong_temperature_is_refused(tmp_path: Path) -> None:
    loaded = checkpoints.load("aaronnet32++")
    info = {**loaded.info, "temperature": -1.0}
    checkpoints.save(tmp_path / "c.pth", loaded.network, loaded.config, info)
    with pytest.raises(BadInput, match="temperature"):
        checkpoints.load(tmp_path / "c.pth")


def test_on_a_file(data: Path, one_thread: None) -> None:
    found = calibrate(checkpoints.load("aaronnet32++"), data, 120)
    assert (found.frames, found.measured) == (120, 120) and found.data.startswith("synthetic")
    assert found.loss[1] <= found.loss[0] + 0.02
    assert np.isfinite(found.temperature) and 0 <= found.strange < 0.2
    with pytest.raises(BadInput, match="100 of each are needed"):
        calibrate(checkpoints.load("aaronnet32++"), data, 99)


def test_it_is_fitted_on_the_frames_that_training_keeps_for_validation(data: Path) -> None:
    source = RadioMLData(data, validation=120)
    source.setup()
    assert np.array_equal(validation_rows(source.index, 120), source.validated)
    assert not np.isin(source.validated, source.split.test).any()


def test_classify_uses_it(tmp_path: Path) -> None:
    loaded = checkpoints.load("aaronnet32++")
    save_calibrated(tmp_path / "c.pth", loaded, FOUND)
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((4096, 2), np.float32).view(np.complex64)[:, 0]
    recording = Recording(InMemory(samples, 1.0), "noise", rate_known=False)
    prepared = Prepared(recording, Preparation(), 1024)

    def sure(checkpoint: Checkpoint, temperature: float | None) -> list[float | None]:
        rows = classify(checkpoint, prepared, CLASSES, temperature=temperature)
        return [row.probability for row in rows]

    kept = checkpoints.load(tmp_path / "c.pth")
    assert sure(kept, None) == sure(loaded, 1.7) != sure(loaded, None)
    assert sure(kept, 1.0) == sure(loaded, None)


def test_what_is_strange_is_unknown(tmp_path: Path) -> None:
    loaded = checkpoints.load("aaronnet32++")
    frames = np.concatenate(
        [synthesise(name, 12, 40, np.random.default_rng(0)) for name in CLASSES]
    )
    with torch.inference_mode():
        scores = loaded.network(torch.from_numpy(frames.swapaxes(1, 2).copy())).numpy()
    found = replace(FOUND, familiarity=fit_familiarity(scores))
    save_calibrated(tmp_path / "c.pth", loaded, found)
    kept = checkpoints.load(tmp_path / "c.pth")
    tone = np.exp(2j * np.pi * 0.013 * np.arange(20 * 1024))
    known = frames.view(np.complex64)[..., 0][::24]
    shares = {}
    for name, x in (("tone", tone), ("known", known.reshape(-1))):
        prepared = Prepared(Recording(InMemory(x.astype(np.complex64), 1.0), name), HOW, 1024)
        rows = list(classify(kept, prepared, CLASSES, familiar=0.05))
        assert all((row.answer == UNKNOWN) == (row.familiarity < 0.05) for row in rows)
        shares[name] = np.mean([row.answer == UNKNOWN for row in rows])
    assert shares["tone"] > 0.9 and shares["known"] < 0.2
    with pytest.raises(BadInput, match="aaronnet calibrate"):
        list(classify(loaded, prepared, CLASSES, familiar=0.05))
    rows = list(classify(loaded, prepared, CLASSES))
    assert {row.familiarity for row in rows} == {None}
