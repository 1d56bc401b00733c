"""Knowledge distillation: a small network learns what a larger one makes of each frame."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.checkpoint import digest_of
from models.errors import BadInput
from models.foreign import config_of, facts_of
from training.twin import Twin


@dataclass(frozen=True)
class Distillation:
    """How to learn from a teacher.

    Attributes:
        teacher: a trained network; it is only ever evaluated.
        share: weight of the teacher's part of the loss, 0 to 1.
        temperature: softens both distributions; what matters between wrong classes shows.
        kept: where the frames are a file's, the teacher looks at each of them once, and what it
            says is kept in 8 bits (`training.teacher`).
    """

    teacher: nn.Module
    share: float = 0.5
    temperature: float = 3.0
    kept: bool = False

    def __post_init__(self):
        if not 0 <= self.share <= 1:
            raise BadInput(f"the teacher's part lies between 0 and 1, not {self.share}")
        if not 0 < self.temperature < math.inf:
            raise BadInput(f"a temperature is positive, not {self.temperature}")

    def identity(self) -> dict[str, Any]:
        """Return plain types that tell this from another way to learn (`training.runs`)."""
        return {
            "weights": digest_of(self.teacher),
            "network": facts_of(config_of(self.teacher)),
            "share": self.share,
            "temperature": self.temperature,
            **({"kept": "8 bits"} if self.kept else {}),
        }

    def loss(
        self, frames: Tensor, scores: Tensor, plain: Tensor, taught: Tensor | None = None
    ) -> Tensor:
        """Return share * T^2 KL(teacher || student) + (1 - share) * plain.

        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2.

        Args:
            frames: (N, 2, 1024), for the teacher.
            scores: (N, 24), the student's.
            plain: scalar, the loss against the labels.
            taught: (N, 24), the teacher's scores where they are known.
        """
        if taught is None:
            with torch.no_grad():
                taught = Twin(self.teacher)(frames)
        soft = F.kl_div(
            F.log_softmax(scores / self.temperature, dim=1),
            F.log_softmax(taught / self.temperature, dim=1),
            reduction="batchmean",
            log_target=True,
        )
        return self.share * self.temperature**2 * soft + (1 - self.share) * plain
