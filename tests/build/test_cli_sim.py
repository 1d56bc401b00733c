"""`aaronnet simulate` and `aaronnet synth` refuse what they cannot use."""

import json
from dataclasses import replace

import numpy as np
import pytest

from build.simulation.against_network import check
from build.simulation.simulate import Difference
from build.stimuli import Task, choose_frames
from models.errors import BadInput, CheckFailed
from tests.build.hardware import simulated
from training.synthesis import write_dataset

RADIOML = Task(2, 1024, 24, -2, 2)


@pytest.mark.parametrize("command", ["simulate", "synth"])
def test_a_folder_that_is_no_build(refused, tmp_path, command):
    assert "no folder of `aaronnet build`" in refused(command, tmp_path)


def test_a_build_without_hdl(refused, tmp_path):
    (tmp_path / "build.json").write_text(json.dumps({"to": "estimate"}))
    assert "--to hdl" in refused("simulate", tmp_path)


def test_impossible_options(refused, tmp_path):
    assert "between 0 and 0.9" in refused("simulate", tmp_path, "--stall", 1.5)
    assert "at least 1" in refused("synth", tmp_path, "--processes", 0)


@pytest.mark.parametrize("wanted", ["0", "1000000", "no_such_file.h5"])
def test_frames_that_are_neither_a_number_nor_a_file(wanted):
    with pytest.raises(
        BadInput, match=f"1 and 100000 frames, not {wanted}|{wanted} does not exist"
    ):
        choose_frames(wanted, None, RADIOML)


@pytest.mark.parametrize("count", [1, 5, 104, 130])
def test_synthetic_frames_as_many_as_wanted(count):
    frames = choose_frames(str(count), None, RADIOML)
    assert frames.x.shape == (count, 2, 1024) and frames.x.dtype == np.float32
    assert frames.classes.shape == (count,)
    assert "synthetic" in frames.label


def test_the_same_frames_with_their_classes_from_a_file(tmp_path):
    write_dataset(tmp_path / "data.h5", 1, 5, jobs=1)
    frames = choose_frames(str(tmp_path / "data.h5"), None, RADIOML)
    assert frames.x.shape == (624, 2, 1024)
    assert (np.bincount(frames.classes) == 26).all()
    some = choose_frames("48", tmp_path / "data.h5", RADIOML)
    assert some.x.shape == (48, 2, 1024) and set(some.classes) == set(range(24))
    with pytest.raises(BadInput, match="not many"):
        choose_frames("many", tmp_path / "data.h5", RADIOML)


def test_differences_fail_the_check_and_name_the_node():
    found = simulated()
    check(found)
    with pytest.raises(CheckFailed, match="2 of 4 frames"):
        check(replace(found, mismatches=2))
    fault = Difference("MVAU_rtl_3", "stream", 9, 1, 0, 5, expected=(1,), found=(2,))
    with pytest.raises(CheckFailed, match="MVAU_rtl_3 is the first"):
        check(replace(found, differences=(fault,)))
