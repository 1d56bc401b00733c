"""How familiar a network's scores are: signals that are none of its classes score unlike them.

The largest probability says which class is nearest, not how near. Among the frames that a network
gives one answer, its scores are taken as Gaussian, with a mean and a covariance of that answer's
own; how far from them a frame's scores are is its squared Mahalanobis distance (as Lee et al., "A
Simple Unified Framework for Detecting Out-of-Distribution Samples", NeurIPS 2018, who have one
covariance for all classes, which told much less apart here). Its familiarity is the share of
validation frames that are at least as far: a conformal p-value (Bates et al., "Testing for
outliers with conformal p-values", Annals of Statistics 51(1), 2023). Noise, and known signals
buried in it, are familiar, since the validation split has frames down to -20 dB: these are what
probabilities are for.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.errors import BadInput

_REFERENCES = 1000  # distances kept of the validation frames: quantiles
_DIGITS = 7  # of a number kept
_FLOOR = 1e-3  # of the mean variance, added to all: scores may depend on each other


@dataclass(frozen=True)
class Familiarity:
    """What the scores of frames like those trained on are like.

    Attributes:
        centres: float64 (C, C), mean scores of the frames answered by each class.
        whitenings: float64 (C, C, C), by which scores less their mean have unit covariance.
        answered: bool (C,), whether there were such frames; what is answered else is strange.
        distances: float64 (Q,), of validation frames, in order.
    """

    centres: np.ndarray
    whitenings: np.ndarray
    answered: np.ndarray
    distances: np.ndarray

    def of(self, scores: np.ndarray) -> np.ndarray:
        """Return float64 (N,) in (0, 1]: the share of known frames as far out as scores (N, C)."""
        far = self._distances(scores)
        beyond = len(self.distances) - np.searchsorted(self.distances, far)
        shares: np.ndarray = (beyond + 1) / (len(self.distances) + 1)
        return shares

    def _distances(self, scores: np.ndarray) -> np.ndarray:
        answers = scores.argmax(axis=1)
        far = np.full(len(scores), np.inf)
        for answer in np.unique(answers[self.answered[answers]]):
            at = answers == answer
            off = (scores[at] - self.centres[answer]) @ self.whitenings[answer].T
            far[at] = (off**2).sum(axis=1)
        return far

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for a checkpoint: the whitenings' lower triangles, row by row."""
        lower = np.tril_indices(len(self.centres))
        return {
            "centres": _numbers(self.centres),
            "whitenings": [_numbers(one[lower]) for one in self.whitenings],
            "answered": self.answered.tolist(),
            "distances": _numbers(self.distances),
        }

    @classmethod
    def from_dict(cls, kept: dict[str, Any], classes: int) -> "Familiarity":
        """Read what `to_dict` returned.

        Raises:
            BadInput: it is something else, or of another number of classes.
        """
        lower = np.tril_indices(classes)
        whitenings = np.zeros((classes, classes, classes))
        try:
            triangles = np.array(kept["whitenings"], float)
            centres, distances = (np.array(kept[key], float) for key in ("centres", "distances"))
            answered = np.array(kept["answered"], bool)
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput("the checkpoint's familiarity is damaged; calibrate it anew") from error
        shapes = centres.shape, triangles.shape, answered.shape, distances.ndim
        if shapes != ((classes, classes), (classes, len(lower[0])), (classes,), 1):
            raise BadInput("the checkpoint's familiarity is of other classes; calibrate it anew")
        whitenings[:, lower[0], lower[1]] = triangles
        return cls(centres, whitenings, answered, np.sort(distances))


def fit_familiarity(scores: np.ndarray) -> Familiarity:
    """Learn what scores (N, C) of known frames are like.

    The distances are of frames that the means and covariances were not taken from: each half of the
    frames is measured by the other.
    """
    halves = scores[::2], scores[1::2]
    distances = np.concatenate(
        [_fitted(one)._distances(other) for one, other in (halves, halves[::-1])]
    )
    # An answer that the other half does not have is as far as the farthest.
    distances = np.minimum(distances, distances[np.isfinite(distances)].max())
    levels = np.linspace(0, 1, min(len(distances), _REFERENCES))
    fitted = _fitted(scores)
    return Familiarity(
        fitted.centres, fitted.whitenings, fitted.answered, np.quantile(distances, levels)
    )


def _fitted(scores: np.ndarray) -> Familiarity:
    scores = scores.astype(np.float64)
    number = scores.shape[1]
    answers = scores.argmax(axis=1)
    counts = np.bincount(answers, minlength=number)
    centres = np.zeros((number, number))
    np.add.at(centres, answers, scores)
    centres /= np.maximum(counts, 1)[:, None]
    off = scores - centres[answers]
    common = off.T @ off / len(scores)
    floor = _FLOOR * max(np.trace(common) / number, 1e-12) * np.eye(number)
    whitenings = np.zeros((number, number, number))
    for answer, count in enumerate(counts):
        own = off[answers == answer]
        # Few frames say little of their covariance; the common one stands in for the rest.
        share = number / (number + count)
        covariance = (1 - share) * own.T @ own / max(count, 1) + share * common + floor
        whitenings[answer] = np.linalg.inv(np.linalg.cholesky(covariance))
    return Familiarity(centres, whitenings, counts > 0, np.zeros(0))


def _numbers(values: np.ndarray) -> Any:
    """Return nested lists of rounded numbers."""
    if values.ndim > 1:
        return [_numbers(one) for one in values]
    return [float(f"{value:.{_DIGITS}g}") for value in values]
