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
from models.cost import Cost
from models.errors import BadInput
from models.networks import build_network
from tests.tiny import TINY
from training import pictures
from training.comparison import Compared, Comparison, measure, write_report
from training.evaluate import Evaluation
from training.prune import magnitude, prune_least
from training.sparsity import Sparsity, layer_sparsity
from training.twin import initialise_ranges


def saved(path, fraction=0.0):
    torch.manual_seed(0)
    network = build_network(TINY)
    initialise_ranges(network)
    prune_least(network, fraction, magnitude(network))
    checkpoints.save(path, network, TINY, {"data_label": "synthetic <b>test</b>"})
    return path


def example(name: str, seed: int) -> Compared:
    rng = np.random.default_rng(seed)
    confusion = rng.integers(0, 50, (24, 24)) + np.diag(rng.integers(0, 400, 24))
    measured = Evaluation(
        accuracy=float(confusion.trace() / confusion.sum()),
        frames=int(confusion.sum()),
        split="test",
        network=name,
        trained_on="synthetic <b>test</b>",
        data="synthetic (recipe 1, seed 7)",
        snrs=SNRS,
        accuracy_per_snr=(None, *np.linspace(0.05, 0.9, 25).tolist()),
        classes=CLASSES,
        accuracy_per_class=(),
        confusion=tuple(map(tuple, confusion.tolist())),
        counts=(),
    )
    cost = Cost(0.0321 + seed, 1, 1, 1, 4321, (), ())
    return Compared(name, f"{name}.pth", measured, cost, 14809, (Sparsity("feats.0", 100, 40),))


def test_the_report_holds_everything_and_refers_to_nothing_outside(tmp_path):
    found = Comparison((example("ours", 0), example("other", 1)))
    write_report(found, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    assert "synthetic (recipe 1, seed 7)" in html and published.DATA_LABEL in html
    assert "synthetic &lt;b&gt;test" in html  # labels are text, not markup
    assert not re.search(r'(src|href)="(?!data:)', html)
    assert html.count("data:image/png;base64,") == 3 + 2 * 2
    for row in (network.scored for network in found.networks):
        assert f"{100 * row.accuracy:.2f} %" in html and f"{row.score:.6f}" in html
    for row in published.RESULTS:
        assert f"{row.network}, published" in html and f"{row.score:.6f}" in html


def test_pictures_are_pictures():
    networks = [example("ours", 0), example("other", 1)]
    rows = [network.scored for network in networks]
    for png in (
        pictures.accuracy_over_snr({each.name: each.measured for each in networks}, "synthetic"),
        pictures.compression(rows),
        pictures.accuracy_over_cost(rows, "synthetic"),
        pictures.confusion_matrix(networks[0].measured),
        pictures.sparsity(networks[0].sparsity, "ours"),
    ):
        image = matplotlib.image.imread(io.BytesIO(png), format="png")
        assert image.shape[1] > 600 and image[..., :3].std() > 0.05


def test_sparsity_counts_quantized_zeros(tmp_path):
    loaded = checkpoints.load(saved(tmp_path / "a.pth", 0.5))
    rows = layer_sparsity(loaded)
    layer = dict(loaded.network.named_modules())["classifier.3"]
    expected = int((layer.quant_weight().value != 0).sum())
    (row,) = (row for row in rows if row.name == "classifier.3")
    assert (row.weights, row.nonzero) == (64, expected)
    assert sum(r.nonzero for r in rows) <= 0.5 * sum(r.weights for r in rows)


def test_measure_tests_and_counts_each_checkpoint(tmp_path):
    from training.synthesis import write_dataset

    write_dataset(tmp_path / "data.h5", 2, 7, jobs=1)
    paths = [saved(tmp_path / "a.pth"), saved(tmp_path / "b.pth", 0.6)]
    found = measure(paths, tmp_path / "data.h5")
    assert [network.name.rpartition("/")[2] for network in found.networks] == ["a", "b"]
    first, second = found.networks
    assert found.frames == 624 and found.data.startswith("synthetic")
    assert second.cost.score < first.cost.score and second.parameters == first.parameters
    assert first.cost.nonzero_weights == sum(row.nonzero for row in first.sparsity)
    facts = found.to_dict()
    assert facts.keys() == {"data", "frames", "snrs", "networks"}
    assert facts["networks"][0].keys() == {
        *("accuracy", "accuracy_per_class", "accuracy_per_snr", "bit_ops", "checkpoint", "classes"),
        *("compression", "confusion", "counts", "data", "frames", "macs", "name", "network"),
        *(
            "nonzero_weights",
            "note",
            "parameters",
            "score",
            "snrs",
            "sparsity",
            "split",
            "trained_on",
        ),
        *("unsupported", "warnings", "weight_bits"),
    }


def test_nothing_to_report_on_is_refused(tmp_path):
    with pytest.raises(BadInput, match="name at least one"):
        measure([], tmp_path / "data.h5")
    with pytest.raises(BadInput, match="does not exist"):
        measure([tmp_path / "none.pth"], tmp_path / "data.h5")
