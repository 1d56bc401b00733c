"""The zoo finds checkpoints by name, and its cards tell the truth."""

import json

import pytest
import torch

from models import checkpoint as checkpoints
from models import zoo
from models.cost import Cost
from models.errors import BadInput, CheckFailed
from models.files import sha256
from models.networks import build_network
from tests.tiny import TINY
from training.synthesis import write_dataset
from training.twin import initialise_ranges
from training.zoo import add, learning_curve

INFO = {
    "data_label": "synthetic test",
    "seed": 1,
    "command": "aaronnet train",
    "frames": 300,
    "epochs": 2,
    "wall_seconds": 1.0,
    "device": "CPU",
    "history": [
        {"frames": 100, "phase": "float", "val_accuracy": 0.1},
        {"frames": 200, "phase": "quantized", "val_accuracy": 0.2},
    ],
}


@pytest.fixture
def trained(tmp_path):
    torch.manual_seed(0)
    network = build_network(TINY)
    initialise_ranges(network)
    checkpoints.save(tmp_path / "trained.pth", network, TINY, INFO)
    return tmp_path / "trained.pth"


def test_add_measures_and_find_returns(trained, tmp_path):
    write_dataset(tmp_path / "data.h5", 2, 7, jobs=1)
    folder = tmp_path / "zoo"
    card = add(trained, "aaronnet32++", tmp_path / "data.h5", go_on="again", folder=folder)
    (entry,) = zoo.entries(folder)
    assert entry.card == json.loads(json.dumps(card))
    assert card["tested_on"].startswith("624 test frames of synthetic")
    assert card["sha256"] == sha256(entry.path) and card["continue"] == "again"
    assert card["learning_curve"][-1] == {"frames": 300, "phase": "quantized", "accuracy": 0.2}
    assert zoo.find("aaronnet32++", folder) == entry.path
    assert zoo.find(trained, folder) == trained
    with pytest.raises(BadInput, match="holds aaronnet32\\+\\+"):
        zoo.find("vgg10", folder)


def test_a_variant_goes_by_its_own_name(trained, tmp_path, monkeypatch):
    write_dataset(tmp_path / "data.h5", 2, 7, jobs=1)
    folder = tmp_path / "zoo"
    card = add(trained, "mine+", tmp_path / "data.h5", folder=folder)
    monkeypatch.setattr("models.checkpoint.ZOO", folder)
    assert checkpoints.load(folder / "mine+.pth").config.to_dict() == card["config"]
    assert card["config"]["name"] == "mine+"
    assert checkpoints.load(trained).config.name == "tiny"


def test_unknown_names_are_left_to_the_loader(tmp_path):
    assert str(zoo.find("other.pth", tmp_path)) == "other.pth"
    assert zoo.entries(tmp_path) == []
    with pytest.raises(BadInput, match="holds nothing yet"):
        zoo.find("aaronnet48", tmp_path)


def test_a_checkpoint_without_its_card_is_reported(trained):
    with pytest.raises(BadInput, match="no readable card"):
        zoo.entries(trained.parent)


def test_what_costs_too_much_or_hides_its_origin_is_refused(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "training.zoo.inference_cost", lambda checkpoint: Cost(0.5, 0, 0, 0, 0, (), ())
    )
    write_dataset(tmp_path / "data.h5", 2, 7, jobs=1)
    with pytest.raises(CheckFailed, match="0.0157 at most"):
        add(trained, "aaronnet32++", tmp_path / "data.h5", folder=tmp_path / "zoo")
    with pytest.raises(BadInput, match="no name"):
        add(trained, "../outside", tmp_path / "data.h5", folder=tmp_path / "zoo")
    loaded = checkpoints.load(trained)
    checkpoints.save(trained, loaded.network, TINY, {})
    with pytest.raises(BadInput, match="does not say its data_label"):
        add(trained, "mine", tmp_path / "data.h5", folder=tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


def test_the_data_is_looked_at_before_the_cost_is_counted(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("training.zoo.inference_cost", lambda checkpoint: pytest.fail("counted"))
    with pytest.raises(BadInput, match=r"nosuch\.h5 does not exist"):
        add(trained, "mine", tmp_path / "nosuch.h5", folder=tmp_path / "zoo")


def test_the_zoos_own_cards_fit_their_checkpoints():
    for entry in zoo.entries():
        loaded = checkpoints.load(entry.path)
        assert entry.card["sha256"] == sha256(entry.path)
        assert entry.card["config"] == loaded.config.to_dict()
        assert entry.card["data_label"] == loaded.data_label
        assert entry.card["score"] <= zoo.LARGEST_SCORE.get(entry.name, float("inf"))


def test_learning_curve_of_nothing():
    assert learning_curve([]) == []


def test_no_checkpoint_appears_without_its_card(trained, tmp_path):
    write_dataset(tmp_path / "data.h5", 2, 7, jobs=1)
    folder = tmp_path / "zoo"
    (folder / "mine.json").mkdir(parents=True)  # in the way of the card
    with pytest.raises(BadInput, match="cannot write"):
        add(trained, "mine", tmp_path / "data.h5", folder=folder)
    assert [path.name for path in folder.iterdir()] == ["mine.json"]
    with pytest.raises(BadInput, match="no name"):
        add(trained, "mine [x]", tmp_path / "none.h5", folder=folder)
