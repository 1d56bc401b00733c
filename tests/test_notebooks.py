"""The notebooks: kept without results, and run from top to bottom in a small setting."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import nbclient
import nbformat
import pytest

from models import checkpoint as checkpoints
from tests.build.small_aaronnet import paper_form
from tests.conftest import ROOT
from training.synthesis import write_dataset

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ABSOLUTE = re.compile(r"(?<![\w.)}<*~])/\w[\w.-]*|\b[A-Za-z]:\\")

Run = Callable[..., tuple[str, int]]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_results_and_absolute_paths_are_not_kept(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[0].cell_type == "markdown"  # says what it shows and what can be set
    for cell in notebook.cells:
        assert cell.source.strip(), cell.id
        assert not cell.get("outputs") and cell.get("execution_count") is None, cell.id
        assert not ABSOLUTE.findall(cell.source), cell.id


@pytest.mark.parametrize(
    ("source", "absolute"),
    [
        ('folder = "/srv/data"', True),
        (r"C:\data", True),
        ("see `/etc/hosts`", True),
        ("frames/s, a / b, DIR/package, {folder}/x, ../shared", False),
    ],
)
def test_absolute_paths_are_recognised(source: str, absolute: bool) -> None:
    assert bool(ABSOLUTE.search(source)) is absolute


@pytest.fixture
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with three frames of each modulation at each SNR."""
    path = tmp_path_factory.mktemp("data") / "given.h5"
    write_dataset(path, 3, seed=7)
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a notebook with settings; returns what it wrote, and its number of pictures."""

    def execute(name: str, **settings: object) -> tuple[str, int]:
        for variable in os.environ:
            if variable.startswith("AARONNET_") and variable != "AARONNET_CACHE":
                monkeypatch.delenv(variable)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        for variable, value in {"WORK": tmp_path, **settings}.items():
            monkeypatch.setenv(f"AARONNET_{variable}", str(value))
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        metadata = {"metadata": {"path": tmp_path}}
        nbclient.NotebookClient(notebook, timeout=600, resources=metadata).execute()
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        shown = [output.get("text") or output.data.get("text/plain", "") for output in outputs]
        pictures = sum("image/png" in output.get("data", {}) for output in outputs)
        return "".join(shown), pictures

    return execute


def test_data(run: Run, tmp_path: Path) -> None:
    shown, pictures = run("01_data", FRAMES=2)
    assert "synthetic (recipe 1, seed 2018): 1,248 frames" in shown
    assert "frames of each (modulation, SNR): 2" in shown
    assert pictures == 3
    assert (tmp_path / "data2.h5").is_file()


def test_train_and_prune(run: Run, data: Path, tmp_path: Path) -> None:
    shown, pictures = run("02_train_and_prune", DATA=data, EPOCHS=2)
    assert "seed 7): 768 frames to train on, 624 to test on" in shown
    target, score = map(float, re.findall(r"score ([\d.]+) at most: ([\d.]+)", shown)[0])
    assert 0 < score <= target
    assert re.search(r"small, pruned .*\n.* aaronnet32\+ ", shown)
    assert pictures == 4
    assert not list(tmp_path.glob("data*.h5"))  # nothing synthesised where a file is given


def test_evaluation(run: Run) -> None:
    shown, pictures = run("evaluation", FRAMES=3, EPOCHS=2)
    assert "accuracy over all SNRs" in shown and "trained on: synthetic" in shown
    assert "score" in shown and "(624 frames)" in shown
    assert pictures == 2


def test_build_and_simulate(run: Run, tmp_path: Path) -> None:
    small = paper_form()
    checkpoints.save(tmp_path / "small.pth", small.network, small.config, small.info)
    shown, pictures = run("03_build_and_simulate", CHECKPOINT=tmp_path / "small.pth", SIMULATE=4)
    assert "published form: accuracy" in shown and "hardware form: accuracy" in shown
    assert re.search(r"\d+ steps, 4 frames each, no mismatch", shown)
    assert re.search(r"frames that differ from the network +│ +0 │", shown)
    assert re.search(r"words compared, all equal +│ +\d+,\d+ │", shown)
    assert pictures == 2
