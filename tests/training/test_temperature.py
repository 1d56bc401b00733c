"""A temperature makes probabilities honest, and counts for the weights that it was fitted for."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.board.radioml import CLASSES
from models import checkpoint as checkpoints
from models.checkpoint import Checkpoint
from models.errors import BadInput
from training.data import RadioMLData, validation_rows
from training.recordings.prepared import Preparation, Prepared
from training.recordings.recording import InMemory, Recording
from training.recordings.rows import classify
from training.temperature import (
    Calibration,
    calibrate,
    calibration_error,
    fit,
    save_calibrated,
    temperature_of,
)

FOUND = Calibration(1.7, 100, 100, "synthetic x", (2.0, 1.5), (0.3, 0.1), (0.9, 0.6), 0.6)


def drawn(count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and classes drawn with exactly their probabilities."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(count, 24, generator=generator, dtype=torch.double)
    return logits, torch.multinomial(torch.softmax(logits, 1), 1, generator=generator)[:, 0]


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
    with torch.no_grad():
        next(kept.network.parameters()).mul_(1.01)
    assert temperature_of(kept) == 1.0  # trained on: fitted for another network


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
    assert np.isfinite(found.temperature)
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
