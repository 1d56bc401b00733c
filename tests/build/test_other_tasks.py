"""Frames and classes that are not RadioML's: read from the graph, up to the virtual board."""

import json

import brevitas.nn as qnn
import h5py
import numpy as np
import pytest
from torch import nn

from build.stimuli import Task, choose_frames, frames_to_verify, random_frames
from models.errors import BadInput
from tests.build.foreign import dense, export, quantized_input, some_frames

FRAME, CLASSES = (2, 128), 11
TASK = Task(*FRAME, CLASSES, -2.0, 1.9)


def layers():
    """A network for RadioML 2016.10a: 2 x 128, 11 classes."""
    return [
        quantized_input(),
        qnn.QuantConv1d(2, 6, 7, stride=4, padding=3, bias=False, weight_bit_width=4),
        nn.BatchNorm1d(6),
        qnn.QuantReLU(bit_width=3),
        nn.MaxPool1d(4),
        nn.Flatten(),
        dense(6 * 8, CLASSES),
    ]


@pytest.fixture(scope="module")
def made(finn, tmp_path_factory):
    from build.flow import build

    folder = tmp_path_factory.mktemp("other")
    path = export(folder / "r2016.onnx", layers, frame=FRAME)
    return build(path, "ZCU104", folder / "out", to="hdl")


def test_it_is_built_and_verified_on_random_frames(made):
    assert made.report.hls_nodes == ()
    assert {(one.mismatches, one.frames) for one in made.report.verification} == {(0, 104)}
    performance = made.report.performance
    assert performance.cycles_per_frame <= 140
    assert performance.samples_per_s == pytest.approx(128 * performance.fps)


def test_the_package_knows_its_frames_and_that_their_classes_are_unknown(made):
    from deploy.board.data_file import open_frames, rows_to_test
    from deploy.board.package import read_package

    package = read_package(made.folder / "package")
    assert package.input.frame == (128, 2)
    assert package.classes == tuple(f"class {i}" for i in range(11))
    manifest = json.loads((made.folder / "package" / "manifest.json").read_text())
    assert "classes unknown" in manifest["samples"]["label"]
    samples = open_frames(package.samples, 11, package.input.frame)
    assert samples.index is None and len(samples) == 624
    assert len(set(samples.predicted)) > 3, "frames of one class only would show little"
    assert len(rows_to_test(samples, 10)) == 10
    with pytest.raises(BadInput, match=r"X has shape \(624, 128, 2\), expected \(N, 1024, 2\)"):
        open_frames(package.samples, 11)


def test_it_is_simulated(made, cli):
    done = cli("simulate", made.folder, "-n", 6, "--json", made.folder.parent / "sim.json")
    assert "unknown" in done.stdout
    facts = json.loads((made.folder.parent / "sim.json").read_text())
    assert facts["mismatches"] == 0 and facts["accuracy"] is None
    assert "classes unknown" in facts["data_label"]


def test_it_is_validated_on_the_virtual_board(made, cli):
    report = made.folder.parent / "validation.json"
    done = cli("deploy", made.folder / "package", "--graph", "-n", 50, "--json", report)
    assert "agreement with the network: 50 of 50 frames" in done.stdout
    facts = json.loads(report.read_text())
    assert facts["agrees"] and facts["samples"]["accuracy"] is None
    assert facts["samples"]["by_snr"] == {} and "network_accuracy" not in facts["samples"]
    rate = facts["throughput"][0]
    samples = rate["accelerator_samples_per_second"] / rate["accelerator_frames_per_second"]
    assert samples == pytest.approx(128)


def test_frames_may_come_from_a_file_of_that_shape(tmp_path):
    x = random_frames(TASK, 44, seed=3)
    labels = np.arange(44) % CLASSES
    with h5py.File(tmp_path / "2016.h5", "w") as file:
        file["X"] = x.transpose(0, 2, 1)
        file["Y"] = np.eye(CLASSES, dtype=np.int64)[labels]
        file["Z"] = np.full((44, 1), 10)
    chosen = choose_frames("44", tmp_path / "2016.h5", TASK)
    assert np.array_equal(chosen.x, x) and np.array_equal(chosen.classes, labels)
    assert frames_to_verify(tmp_path / "2016.h5", TASK).shape == (4, *FRAME)
    with pytest.raises(BadInput, match=r"expected \(N, 64, 3\)"):
        frames_to_verify(tmp_path / "2016.h5", Task(3, 64, CLASSES, -1, 1))
    with pytest.raises(BadInput, match=r"shape \(N, 2, 128\), not \(4, 2, 1024\)"):
        frames_to_verify(np.zeros((4, 2, 1024), np.float32), TASK)


def test_random_frames_reach_over_the_quantizers_range():
    for task in (TASK, Task(3, 50, 2, 0.0, 7.0)):
        frames = random_frames(task, 104, seed=1)
        assert frames.shape == (104, task.channels, task.length)
        assert task.low <= frames.min() < task.low + 0.05 * (task.high - task.low)
        assert task.high - 0.05 * (task.high - task.low) < frames.max() <= task.high


@pytest.mark.parametrize(
    ("shape", "frame"),
    [((1, 5, 33), (5, 33)), ((1, 1, 2, 128), (2, 128)), ((1, 2, 1, 128), (2, 128)),
     ((1, 1, 40), (1, 40)), ((1, 1, 1, 40), (1, 40))],
)  # fmt: skip
def test_channels_and_samples_are_read_from_the_input(shape, frame):
    from onnx import TensorProto, helper
    from qonnx.core.modelwrapper import ModelWrapper

    from models.export import frame_of

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    assert frame_of(ModelWrapper(helper.make_model(graph))) == frame
    assert some_frames(3, frame).shape == (3, *frame)
