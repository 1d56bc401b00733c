"""A folder belongs to one run: another request is refused, and what is not ours is left alone."""

import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import lightning
import pytest

from models import checkpoint as checkpoints
from models.checkpoint import Checkpoint
from models.errors import BadInput
from tests.tiny import TINY, ready
from training.data import RadioMLData, SyntheticData
from training.distill import Distillation
from training.module import Recipe
from training.plans import Feedback, FixedSteps
from training.prune_run import Retraining, prune
from training.runs import differences
from training.train import train

pytestmark = pytest.mark.usefixtures("one_thread")

ONCE = Recipe(epochs=1)


def fresh(batch_size: int = 64, frames: int = 128, **options) -> SyntheticData:
    return SyntheticData(batch_size, frames_per_epoch=frames, test_frames=64, workers=0, **options)


def trained(folder: Path, **changes) -> Path:
    arguments = {"start": TINY, "data": fresh(), "recipe": ONCE, "progress": False} | changes
    return train(arguments.pop("start"), arguments.pop("data"), folder, **arguments)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    trained(folder)
    return folder


def everything(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def teacher(seed: int = 0) -> Distillation:
    network = ready(TINY)
    for parameter in network.parameters():
        parameter.data += seed
    return Distillation(network)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data": fresh(32)}, "data batch size 64 instead of 32"),
        ({"data": fresh(min_snr=0)}, "data min SNR -14 instead of 0"),
        ({"data": fresh(seed=1)}, "data frames synthetic"),
        ({"data": fresh(frames=256)}, "data frames an epoch 128 instead of 256"),
        ({"recipe": Recipe(epochs=2)}, "epochs 1 instead of 2"),
        ({"recipe": Recipe(epochs=1, ema=0.9)}, "ema none instead of 0.9"),
        ({"seed": 1}, "seed 0 instead of 1"),
        ({"precision": "64-true"}, "precision 32-true instead of 64-true"),
        ({"distillation": teacher()}, "teacher weights none instead of"),
        ({"batches_per_epoch": 1}, "batches_per_epoch none instead of 1"),
        ({"devices": 2}, "processes 1 instead of 2"),
        ({"start": TINY.changed(act_bits=4)}, "network act_bits 6 instead of 4"),
        ({"start": Checkpoint(ready(TINY), TINY)}, "start none instead of"),
    ],
)
def test_a_training_that_differs_is_refused(finished, change, told):
    before = everything(finished)
    with pytest.raises(BadInput, match=told) as refusal:
        trained(finished, **change)
    assert "--no-resume" in str(refusal.value) and "-o" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert everything(finished) == before
    trained(finished)  # the same goes on


def test_teachers_count_by_weights_and_share():
    one = {"teacher": teacher().identity()}
    assert not differences(one, {"teacher": teacher().identity()})
    assert "teacher weights" in differences(one, {"teacher": teacher(1).identity()})
    softer = replace(teacher(), temperature=2.0).identity()
    assert differences(one, {"teacher": softer}) == "teacher temperature 3.0 instead of 2.0"


def test_data_count_by_content_and_not_by_place(data, tmp_path):
    def source(path: Path) -> RadioMLData:
        return RadioMLData(path, 256, min_snr=0)

    trained(tmp_path / "run", data=source(data))
    shutil.copy(data, moved := tmp_path / "moved.h5")
    trained(tmp_path / "run", data=source(moved))
    shutil.copy(data, changed := tmp_path / "changed.h5")
    with h5py.File(changed, "r+") as file:
        file["X"][1234, 5, 1] += 0.25
        del file["crc32"]  # it would tell, and the file be refused as damaged
    with pytest.raises(BadInput, match="data frames .* instead of"):
        trained(tmp_path / "run", data=source(changed))


@pytest.mark.parametrize(
    "recipe",
    [Recipe(epochs=9, stop_above=0.001), Recipe(epochs=9, patience=1, lr=1e-30)],
    ids=["threshold", "patience"],
)
def test_a_run_that_ended_early_is_over(recipe, tmp_path):
    class Epochs(lightning.Callback):
        count = 0

        def on_train_epoch_start(self, *_):
            Epochs.count += 1

    trained(tmp_path, recipe=recipe, callbacks=[Epochs()])
    ended, before = Epochs.count, everything(tmp_path)
    assert 0 < ended < 9
    trained(tmp_path, recipe=recipe, callbacks=[Epochs()])
    assert Epochs.count == ended and everything(tmp_path) == before


START = Checkpoint(ready(TINY), TINY, {"data_label": "synthetic", "accuracy": 0.1})


def cut(folder: Path, **changes):
    arguments = {
        "start": START,
        "data": fresh(),
        "plan": FixedSteps((0.3,)),
        "retraining": Retraining(1, 1, 0.001),
        "progress": False,
    } | changes
    first = (arguments.pop(name) for name in ("start", "data"))
    return prune(*first, folder, arguments.pop("plan"), **arguments)


@pytest.fixture(scope="module")
def pruned(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pruned")
    cut(folder)
    return folder


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data": fresh(32)}, "data batch size 64 instead of 32"),
        ({"data": fresh(min_snr=0)}, "data min SNR -14 instead of 0"),
        ({"plan": FixedSteps((0.4,))}, r"plan fractions \[0.3\] instead of \[0.4\]"),
        ({"plan": FixedSteps((0.3, 0.3))}, r"instead of \[0.3, 0.3\]"),
        ({"plan": Feedback(0.3)}, "plan kind FixedSteps instead of Feedback"),
        ({"retraining": Retraining(1, 1, 0.002)}, "retraining lr 0.001 instead of 0.002"),
        ({"method": "lamp"}, "method l1 instead of lamp"),
        ({"seed": 1}, "seed 0 instead of 1"),
        ({"precision": "64-true"}, "precision"),
        ({"distillation": teacher()}, "teacher weights none instead of"),
        ({"start": Checkpoint(teacher(1).teacher, TINY, {})}, "start"),
    ],
)
def test_a_pruning_that_differs_is_refused(pruned, change, told):
    before = everything(pruned)
    with pytest.raises(BadInput, match=told) as refusal:
        cut(pruned, **change)
    assert "--no-resume" in str(refusal.value) and "\n" not in str(refusal.value)
    assert everything(pruned) == before


def test_the_same_pruning_goes_on(pruned):
    before = everything(pruned)
    (pruned / "work_00").mkdir()  # as if killed before it was removed
    assert len(cut(pruned).rows) == 1
    assert everything(pruned) == before and not (pruned / "work_00").exists()


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("name", ["best.pth", "last.pth", "state.ckpt", "metrics.csv"])
def test_foreign_files_are_never_replaced(name, resume, tmp_path):
    (tmp_path / name).write_text("not ours")
    with pytest.raises(BadInput, match=f"{name} was not made by a run.*-o"):
        trained(tmp_path, resume=resume)
    if name == "best.pth":
        with pytest.raises(BadInput, match="was not made by a run"):
            cut(tmp_path, resume=resume)
    assert everything(tmp_path) == {name: b"not ours"}


def test_starting_anew_removes_only_what_the_run_made(finished, tmp_path):
    shutil.copytree(finished, folder := tmp_path / "run")
    theirs = {"notes.txt": b"n", "model.pth": b"m", "tensorboard.txt": b"t"}
    for name, content in theirs.items():
        (folder / name).write_bytes(content)
    (folder / ".best.pth.1.tmp.pth").write_bytes(b"what a killed process left")
    made = trained(folder, resume=False, recipe=Recipe(epochs=2))
    after = everything(folder)
    assert {name: after[name] for name in theirs} == theirs
    assert ".best.pth.1.tmp.pth" not in after
    assert checkpoints.load(made).info["recipe"]["epochs"] == 2
    with pytest.raises(BadInput, match="holds a training run"):
        cut(folder, resume=False)


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"seed": 2**32}])
def test_bad_requests_touch_nothing(wrong, tmp_path):
    with pytest.raises(BadInput, match="seed lies between"):
        trained(tmp_path / "run", **wrong)
    assert not (tmp_path / "run").exists()
