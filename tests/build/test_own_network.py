"""A checkpoint of a class of the user's own: built, simulated and validated like ours."""

import json

import pytest

from build.stimuli import Task, random_frames
from models import checkpoint as checkpoints
from models.probe import describe
from models.user_code import load_class
from tests.conftest import ROOT
from tests.training.radioml_files import tones
from training.data import RadioMLData, kind_for
from training.module import Recipe
from training.train import train

SOURCE = ROOT / "tests" / "foreign_net.py"


def trained(cls: str, folder, epochs: int = 1):
    file = tones(folder / "tones.h5", per_cell=2 if epochs == 1 else 4)
    config = describe(load_class(SOURCE, cls), 2, 128, 11)
    data = RadioMLData(file, 64, workers=0, kind=kind_for(config, file))
    return train(config, data, folder / cls, Recipe(epochs=epochs, t0=0), progress=False)


@pytest.mark.parametrize("cls", ["Straight", "Residual", "Rows"])
def test_what_is_built_is_the_checkpoints_graph(cls, tmp_path):
    from build.source import open_source

    source = open_source(trained(cls, tmp_path), integers=True)
    assert source.checkpoint is not None and source.network is None
    assert source.original is not None and source.name == cls
    task = source.task
    assert (task.channels, task.length, task.classes) == (2, 128, 11)


@pytest.mark.slow
@pytest.mark.parametrize("cls", ["Straight", "Residual"])
def test_it_reaches_rtl_bit_by_bit(cls, finn, tmp_path):
    from build.finished import open_build
    from build.flow import build
    from build.simulation.against_network import simulate_build
    from deploy.board.package import read_package

    given = trained(cls, tmp_path, epochs=16)
    built = build(given, "Pynq-Z2", tmp_path / "out", to="hdl")
    assert built.report.hls_nodes == ()
    assert {(one.mismatches, one.frames) for one in built.report.verification} == {(0, 104)}
    frames = random_frames(Task(2, 128, 11, -0.05, 0.05), 24, seed=3)
    for stall in (0.0, 0.3):
        opened = open_build(tmp_path / "out")
        assert simulate_build(opened, frames, stall=stall, fast=True).mismatches == 0
    package = read_package(tmp_path / "out" / "package")
    assert package.input.frame == (128, 2) and len(package.classes) == 11
    assert package.network.label == "unlabelled file tones.h5"
    manifest = json.loads((tmp_path / "out" / "package" / "manifest.json").read_text())
    loaded = checkpoints.load(given)
    assert manifest["network"]["hash"] == loaded.info["sha256"]
    assert manifest["network"]["accuracy"] == loaded.info["accuracy"] > 0.3
