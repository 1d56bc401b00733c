"""notebooks/evaluation.ipynb runs from top to bottom, in a small setting."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_evaluation_notebook_runs(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("AARONNET_WORK", str(tmp_path))
    monkeypatch.setenv("AARONNET_FRAMES", "3")
    monkeypatch.setenv("AARONNET_EPOCHS", "2")
    for name in ("AARONNET_DATA", "AARONNET_CHECKPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "notebooks" / "evaluation.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # results are not kept in git
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": tmp_path}}
    ).execute()
    texts = [
        output.get("text", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    ]
    shown = "".join(texts)
    assert "accuracy over all SNRs" in shown and "trained on: synthetic" in shown
    assert "score" in shown and "(624 frames)" in shown
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 2
