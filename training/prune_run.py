"""Prune, retrain, count, again: runs that keep every iteration and can be interrupted anywhere.

Which weights to prune next follows from the rows of the table alone (`training.plans`), and each
retraining resumes by itself, so `prune.json` is all the state there is.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from models import checkpoint as checkpoints
from models.checkpoint import Checkpoint
from models.cost import inference_cost
from models.errors import BadInput
from models.files import atomic, write_json
from models.published import ACCURACY_THRESHOLD
from training.data import LabelledData
from training.distill import Distillation
from training.module import Recipe
from training.plans import Plan, Row, Step
from training.processes import first_process, in_step
from training.prune import METHODS, pruned
from training.runs import Identity, open_run
from training.structured import narrowed, parameters
from training.train import identity_of, train

TABLE, BEST = "prune.json", "best.pth"
MADE = (TABLE, BEST, "iteration_[0-9]*.pth", "work_[0-9]*")
Cut = Callable[[Checkpoint, float], Checkpoint]
CUTS: dict[str, Cut] = {
    **{method: partial(pruned, method=method) for method in METHODS},
    "channels": narrowed,
}


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
        self.round(1)  # what is out of range is told before any work

    def round(self, number: int) -> Recipe:
        """Return the recipe of round 1, 2, ..."""
        return replace(
            self.recipe,
            epochs=number * self.t0,
            t0=self.t0,
            lr=self.lr,
            float_epochs=0,
            stop_above=self.threshold,
        )


@dataclass
class Table:
    """What a pruning run has come to; `prune.json`.

    Attributes:
        network: name of the start's configuration.
        data_label: what was retrained on.
        threshold: accuracy that counts as good.
        identity: what the run is; see `training.runs`.
        rows: the iterations.
        best: number of the cheapest good one; None if there is none.
        chosen_on: the frames of the accuracies, in words; "" in tables of before.
    """

    network: str
    data_label: str
    threshold: float
    identity: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    best: int | None = None
    chosen_on: str = ""

    def add(self, row: Row) -> None:
        """Add an iteration and find the best anew."""
        self.rows.append(row)
        good = [row for row in self.rows if row.good]
        self.best = min(good, key=lambda row: row.score).iteration if good else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "Table":
        """Undo `to_dict`.

        Raises:
            TypeError, KeyError: something is missing or unknown.
        """
        return Table(**{**values, "rows": [Row(**row) for row in values["rows"]]})


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
) -> Table:
    """Prune and retrain as planned.

    Writes `iteration_NN.pth` for each iteration, `prune.json`, and `best.pth`, the cheapest
    checkpoint above the threshold, if there is one.

    Args:
        start: a trained network.
        data: to retrain on; its frames for validation tell the accuracy.
        out_folder: for all that.
        plan: what to prune next.
        retraining: None retrains as published.
        method: `l1` and `lamp` for single weights, `channels` for whole ones.
        distillation: a teacher to learn from while retraining.
        resume: go on where an interrupted run of the same request stopped.
        report: told each row as it is finished.
        training: more arguments of `training.train.train`.

    Raises:
        BadInput: the method is unknown, there is nothing to prune, or the folder is unusable or
            holds another run or other people's files.
    """
    if method not in CUTS:
        raise BadInput(f"unknown pruning method {method!r}; choose one of {', '.join(CUTS)}")
    folder, retraining = Path(out_folder), retraining or Retraining()

    def weights(iteration: int) -> Checkpoint:
        return start if iteration < 0 else checkpoints.load(_path(folder, iteration))

    # Before any work: the target may be met already, or no channel small enough to remove.
    step = plan.next([], weights)
    if step is None:
        raise BadInput("there is nothing to prune: the plan ends before its first step")
    CUTS[method](start, step.fraction)
    data.prepare_data()
    data.setup("fit")
    how = {
        "method": method,
        "plan": {"kind": type(plan).__name__, **asdict(plan)},  # type: ignore[call-overload]
        "retraining": asdict(retraining),
    }
    identity = identity_of("pruning", start, data, how, distillation, **training)
    open_run(folder, identity, MADE, resume)
    table = _opened(folder, start, data, retraining, identity)
    while (step := plan.next(table.rows, weights)) is not None:
        number = len(table.rows)
        work = folder / f"work_{number:02d}"
        cut = CUTS[method](weights(step.parent), step.fraction)
        result = _retrained(cut, data, work, retraining, distillation, training)
        table.add(_row(number, step, checkpoints.load(result), retraining.threshold))
        in_step()  # all have read the result
        if first_process():
            _keep(folder, table, result)
            shutil.rmtree(work)
        in_step()
        report(table.rows[-1])
    return table


def _row(number: int, step: Step, made: Checkpoint, threshold: float) -> Row:
    cost, accuracy = inference_cost(made), made.info["accuracy"]
    return Row(
        iteration=number,
        parent=step.parent,
        fraction=step.fraction,
        accuracy=accuracy,
        good=accuracy > threshold,
        score=cost.score,
        bit_ops=cost.bit_ops,
        weight_bits=cost.weight_bits,
        nonzero_weights=cost.nonzero_weights,
        parameters=parameters(made.network),
        checkpoint=_path(Path(), number).name,
    )


def _keep(folder: Path, table: Table, result: Path) -> None:
    """Write the last iteration's checkpoint, the best one, and the table, which counts them."""
    copies = {table.rows[-1].checkpoint: result}
    if table.best is not None:
        copies[BEST] = folder / table.rows[table.best].checkpoint
    for name, source in copies.items():
        with atomic(folder / name) as temporary:
            shutil.copyfile(source, temporary)
    write_json(folder / TABLE, table.to_dict())


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
    folder: Path,
    start: Checkpoint,
    data: LabelledData,
    retraining: Retraining,
    identity: Identity,
) -> Table:
    """Return the table of the run in `folder`; what a killed one left of finished work goes."""
    path = folder / TABLE
    if not path.is_file():
        told = {"start": identity.start, **identity.how}
        return Table(
            *(start.config.name, data.label, retraining.threshold, told), chosen_on=data.chosen_on
        )
    try:
        table = Table.from_dict(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is damaged; use --no-resume to start anew") from error
    if first_process():
        for number in range(len(table.rows)):
            shutil.rmtree(folder / f"work_{number:02d}", ignore_errors=True)
    return table


def _path(folder: Path, iteration: int) -> Path:
    return folder / f"iteration_{iteration:02d}.pth"
