"""Prune, retrain, count, again: runs that keep every iteration and can be interrupted anywhere.

Which weights to prune next follows from the rows of the table alone (`plan` functions), and each
retraining resumes by itself, so `prune.json` is all the state there is.
"""

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from models import checkpoint as checkpoints
from models.checkpoint import Checkpoint
from models.cost import inference_cost
from models.errors import BadInput
from models.files import atomic, writable_folder, write_json
from models.published import ACCURACY_THRESHOLD
from training.data import LabelledData
from training.distill import Distillation
from training.module import Recipe
from training.prune import METHODS, fraction_for_score, pruned
from training.structured import narrowed, parameters
from training.train import digest_of, train

TABLE, BEST = "prune.json", "best.pth"
Row = dict[str, Any]
Cut = Callable[[Checkpoint, float], Checkpoint]
CUTS: dict[str, Cut] = {
    **{method: partial(pruned, method=method) for method in METHODS},
    "channels": narrowed,
}


@dataclass(frozen=True)
class Step:
    """What to do next: prune `fraction` of what iteration `parent` left (-1: the start)."""

    parent: int
    fraction: float


Plan = Callable[[Sequence[Row]], Step | None]


def fixed_steps(fractions: Sequence[float]) -> Plan:
    """Prune the given shares, one iteration each, whatever becomes of the accuracy."""

    def plan(rows: Sequence[Row]) -> Step | None:
        done = len(rows)
        return Step(done - 1, fractions[done]) if done < len(fractions) else None

    return plan


def towards(score: float, iterations: int, start: Checkpoint, folder: Path, method: str) -> Plan:
    """Prune down to an official score in equal ratios, so many iterations.

    Args:
        score: of the last iteration, at most.
        iterations: 1 or more.
        start: what the first prunes.
        folder: of the run, where the later ones find what they prune.
        method: a single-weight one (`training.prune.METHODS`).

    Raises:
        BadInput: `start` costs no more than that already.
    """
    if method not in METHODS:
        raise BadInput(f"a target score is for single weights: --method {' or '.join(METHODS)}")

    def fraction(parent: Checkpoint, now: float, left: int) -> float:
        goal = score * (now / score) ** (1 - 1 / left)
        return fraction_for_score(parent, goal, method)

    # At once rather than in the plan: a target that is met already ends it before any work.
    first = Step(-1, fraction(start, inference_cost(start)["score"], iterations))

    def plan(rows: Sequence[Row]) -> Step | None:
        done = len(rows)
        if not done:
            return first
        # Retraining may round weights to zero and get there earlier.
        if done >= iterations or rows[-1]["score"] <= score:
            return None
        parent = checkpoints.load(_path(folder, done - 1))
        return Step(done - 1, fraction(parent, rows[-1]["score"], iterations - done))

    return plan


def repeated(fraction: float, left: float = 0.01) -> list[float]:
    """Return as many equal steps as leave the share `left` of the weights, as published.

    Raises:
        BadInput: the fraction is out of range.
    """
    if not 0 < fraction < 1:
        raise BadInput(f"a share to prune lies between 0 and 1, not {fraction}")
    return [fraction] * int(math.log(left) / math.log(1 - fraction))


def feedback(first: float, *, shrink: float = 0.5, smallest: float = 0.01, most: int = 50) -> Plan:
    """Prune until the threshold is missed, then go back to the last good weights in smaller steps.

    Feedback magnitude pruning, after the winning entry of ITU-ML5G-PS-007 that used it.

    Args:
        first: share of the first step.
        shrink: what a miss multiplies the step with.
        smallest: end below this step.
        most: iterations.

    Raises:
        BadInput: a share is out of range.
    """
    if not (0 < first < 1 and 0 < shrink < 1 and smallest > 0):
        raise BadInput("steps and their shrinking lie between 0 and 1")

    def plan(rows: Sequence[Row]) -> Step | None:
        parent, fraction = -1, first
        for row in rows:
            if row["good"]:
                parent = row["iteration"]
            else:
                fraction *= shrink
        return Step(parent, fraction) if fraction >= smallest and len(rows) < most else None

    return plan


@dataclass(frozen=True)
class Retraining:
    """How to retrain after each step: round i lasts i * t0 epochs (published: 2 rounds).

    Attributes:
        rounds: at most so many; none is started once the threshold is exceeded.
        t0: epochs of a cosine cycle.
        lr: peak learning rate.
        threshold: accuracy above which a round ends.
        recipe: everything else; its epochs, lr and t0 are replaced.
    """

    rounds: int = 2
    t0: int = 5
    lr: float = 0.01
    threshold: float = ACCURACY_THRESHOLD
    recipe: Recipe = Recipe()

    def __post_init__(self):
        if self.rounds < 1 or self.t0 < 1:
            raise BadInput("retraining takes at least one round of one epoch")

    def round(self, number: int) -> Recipe:
        """Return the recipe of round 1, 2, ..."""
        changes = {
            "epochs": number * self.t0,
            "t0": self.t0,
            "lr": self.lr,
            "float_epochs": 0,
            "stop_above": self.threshold,
        }
        return Recipe(**{**asdict(self.recipe), **changes})


def prune(
    start: Checkpoint,
    data: LabelledData,
    out_folder: str | Path,
    plan: Plan,
    retraining: Retraining | None = None,
    *,
    method: str = "l1",
    distillation: Distillation | None = None,
    resume: bool = True,
    report: Callable[[Row], None] = lambda row: None,
    **training: Any,
) -> dict[str, Any]:
    """Prune and retrain as planned.

    Writes `iteration_NN.pth` for each iteration, `prune.json`, and `best.pth`, the cheapest
    checkpoint above the threshold, if there is one.

    Args:
        start: a trained network.
        data: to retrain and test on.
        out_folder: for all that.
        plan: what to prune next (`fixed_steps`, `feedback`).
        retraining: None retrains as published.
        method: `l1` and `lamp` for single weights, `channels` for whole ones.
        distillation: a teacher to learn from while retraining.
        resume: go on where an interrupted run of the same start stopped.
        report: told each row as it is finished.
        training: more arguments of `training.train.train`.

    Returns:
        `rows`, a list of dicts (`iteration`, `parent`, `fraction`, `accuracy`, `good`, `score`,
        `nonzero_weights`, `parameters`, `bit_ops`, `weight_bits`, `checkpoint`), `best` (index into
        rows or None), `threshold`, `data_label`.

    Raises:
        BadInput: the method is unknown, or the folder is unusable or holds another run.
    """
    if method not in CUTS:
        raise BadInput(f"unknown pruning method {method!r}; choose one of {', '.join(CUTS)}")
    folder, retraining = writable_folder(out_folder), retraining or Retraining()
    facts = _opened(folder, start, method, retraining, resume)
    rows = facts["rows"]
    threshold = retraining.threshold
    while (step := plan(rows)) is not None:
        parent = start if step.parent < 0 else checkpoints.load(_path(folder, step.parent))
        number = len(rows)
        work = folder / f"work_{number:02d}"
        result = _retrained(
            CUTS[method](parent, step.fraction), data, work, retraining, distillation, training
        )
        loaded = checkpoints.load(result)
        cost = inference_cost(loaded)
        path = _path(folder, number)
        with atomic(path) as temporary:
            shutil.copyfile(result, temporary)
        rows.append(
            {
                "iteration": number,
                "parent": step.parent,
                "fraction": step.fraction,
                "accuracy": loaded.info["accuracy"],
                "good": loaded.info["accuracy"] > threshold,
                **{k: cost[k] for k in ("score", "bit_ops", "weight_bits", "nonzero_weights")},
                "parameters": parameters(loaded.network),
                "checkpoint": path.name,
            }
        )
        good = [row for row in rows if row["good"]]
        if good:
            best = min(good, key=lambda row: row["score"])
            facts["best"] = best["iteration"]
            with atomic(folder / BEST) as temporary:
                shutil.copyfile(folder / best["checkpoint"], temporary)
        facts["data_label"] = data.label
        write_json(folder / TABLE, facts)
        shutil.rmtree(work)
        report(rows[-1])
    return facts


def _retrained(
    cut: Checkpoint,
    data: LabelledData,
    work: Path,
    retraining: Retraining,
    distillation: Distillation | None,
    training: dict[str, Any],
) -> Path:
    """Retrain in rounds and return the best checkpoint of the last one needed."""
    for number in range(1, retraining.rounds + 1):
        recipe = retraining.round(number)
        result = train(
            *(cut, data, work / f"round_{number}", recipe), distillation=distillation, **training
        )
        cut = checkpoints.load(result)
        if cut.info["accuracy"] > retraining.threshold:
            break
    return result


def _opened(
    folder: Path, start: Checkpoint, method: str, retraining: Retraining, resume: bool
) -> dict[str, Any]:
    identity = {
        "start": digest_of(start),
        "method": method,
        "retraining": asdict(retraining),
    }
    table = folder / TABLE
    if not resume:
        for path in (table, folder / BEST, *folder.glob("iteration_*.pth")):
            path.unlink(missing_ok=True)
        for path in folder.glob("work_*"):
            shutil.rmtree(path)
    if not table.is_file():
        return {
            "rows": [],
            "best": None,
            "threshold": retraining.threshold,
            "network": start.config.name,
            "identity": identity,
        }
    try:
        facts = json.loads(table.read_text())
        same = facts["identity"] == identity
    except (ValueError, KeyError) as error:
        raise BadInput(f"{table} is damaged; use --no-resume to start anew") from error
    if not same:
        raise BadInput(
            f"{folder} holds another pruning run; choose another folder, or --no-resume to start "
            "anew"
        )
    return facts


def _path(folder: Path, iteration: int) -> Path:
    return folder / f"iteration_{iteration:02d}.pth"
