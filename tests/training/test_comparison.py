"""The report is one file that names its data and holds every number."""

import io
import re

import matplotlib.image
import numpy as np
import pytest
import torch

from deploy.board.radioml import CLASSES, SNRS
from models import checkpoint as checkpoints
from models import published
from models.errors import BadInput
from models.networks import build_network
from tests.tiny import TINY
from training import pictures
from training.comparison import layer_sparsity, measure, write_report
from training.prune import magnitude, prune_least
from training.twin import initialise_ranges


def saved(path, fraction=0.0):
    torch.manual_seed(0)
    network = build_network(TINY)
    initialise_ranges(network)
    prune_least(network, fraction, magnitude(network))
    checkpoints.save(path, network, TINY, {"data_label": "synthetic <b>test</b>"})
    return path


def example(name: str, seed: int) -> dict:
    rng = np.random.default_rng(seed)
    confusion = rng.integers(0, 50, (24, 24)) + np.diag(rng.integers(0, 400, 24))
    return {
        "name": name,
        "network": name,
        "checkpoint": f"{name}.pth",
        "accuracy": confusion.trace() / confusion.sum(),
        "frames": int(confusion.sum()),
        "trained_on": "synthetic <b>test</b>",
        "data": "synthetic (recipe 1, seed 7)",
        "snrs": list(SNRS),
        "accuracy_per_snr": [None, *np.linspace(0.05, 0.9, 25).tolist()],
        "classes": list(CLASSES),
        "confusion": confusion.tolist(),
        "score": 0.0321 + seed,
        "compression": 1 / (0.0321 + seed),
        "nonzero_weights": 4321,
        "parameters": 14809,
        "sparsity": [{"name": "feats.0", "weights": 100, "nonzero": 40}],
    }


def test_the_report_holds_everything_and_refers_to_nothing_outside(tmp_path):
    rows = [example("ours", 0), example("other", 1)]
    facts = {"data": rows[0]["data"], "frames": 624, "snrs": list(SNRS), "networks": rows}
    write_report(facts, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    assert "synthetic (recipe 1, seed 7)" in html and published.DATA_LABEL in html
    assert "synthetic &lt;b&gt;test" in html  # labels are text, not markup
    assert not re.search(r'(src|href)="(?!data:)', html)
    assert html.count("data:image/png;base64,") == 3 + 2 * 2
    for row in rows:
        assert f"{100 * row['accuracy']:.2f} %" in html and f"{row['score']:.6f}" in html
    for row in published.RESULTS:
        assert f"{row.network}, published" in html and f"{row.score:.6f}" in html


def test_pictures_are_pictures():
    rows = [example("ours", 0), example("other", 1)]
    for png in (
        pictures.accuracy_over_snr({row["name"]: row for row in rows}, "synthetic"),
        pictures.compression(rows),
        pictures.accuracy_over_cost(rows, "synthetic"),
        pictures.confusion_matrix(rows[0]),
        pictures.sparsity(rows[0]["sparsity"], "ours"),
    ):
        image = matplotlib.image.imread(io.BytesIO(png), format="png")
        assert image.shape[1] > 600 and image[..., :3].std() > 0.05


def test_sparsity_counts_quantized_zeros(tmp_path):
    loaded = checkpoints.load(saved(tmp_path / "a.pth", 0.5))
    rows = layer_sparsity(loaded)
    layer = dict(loaded.network.named_modules())["classifier.3"]
    expected = int((layer.quant_weight().value != 0).sum())
    (row,) = (row for row in rows if row["name"] == "classifier.3")
    assert (row["weights"], row["nonzero"]) == (64, expected)
    assert sum(r["nonzero"] for r in rows) <= 0.5 * sum(r["weights"] for r in rows)


def test_measure_tests_and_counts_each_checkpoint(tmp_path):
    from training.synthesis import write_dataset

    write_dataset(tmp_path / "data.h5", 2, 7, jobs=1)
    paths = [saved(tmp_path / "a.pth"), saved(tmp_path / "b.pth", 0.6)]
    facts = measure(paths, tmp_path / "data.h5")
    assert [row["name"].rpartition("/")[2] for row in facts["networks"]] == ["a", "b"]
    first, second = facts["networks"]
    assert facts["frames"] == 624 and facts["data"].startswith("synthetic")
    assert second["score"] < first["score"] and second["parameters"] == first["parameters"]
    assert first["nonzero_weights"] == sum(row["nonzero"] for row in first["sparsity"])


def test_nothing_to_report_on_is_refused(tmp_path):
    with pytest.raises(BadInput, match="name at least one"):
        measure([], tmp_path / "data.h5")
    with pytest.raises(BadInput, match="does not exist"):
        measure([tmp_path / "none.pth"], tmp_path / "data.h5")
