"""The package is what deploy/board/package.py reads, and says what the build made."""

import json
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest

from build.verify import classes_of, graph_classes, network_logits
from models.files import sha256
from tests.build.hardware import simulated
from tests.build.small_aaronnet import small_checkpoint


@pytest.fixture(scope="module")
def manifest(built):
    return json.loads((built.folder / "package" / "manifest.json").read_text())


def test_driver_reads_it(built):
    from deploy.board.package import read_package

    package = read_package(built.folder / "package")
    assert package.board == "ZCU104" and package.clock_mhz == 250 and package.output.kind == "class"
    assert package.input.datatype.name == "INT4" and package.input.normal == (1, 256, 1, 8)
    assert package.input.quantizer.step == 0.25 and package.input.quantizer.minimum == -8
    assert package.network.name == "small-hw4" and package.network.label == "noise"
    assert package.performance.cycles_per_frame == built.report.performance.cycles_per_frame


def test_digests_cover_every_file(built, manifest):
    folder = built.folder / "package"
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert files - {"manifest.json"} == manifest["files"].keys()
    assert all(sha256(folder / name) == digest for name, digest in manifest["files"].items())


def test_expected_classes_are_the_networks_and_the_graphs(built, manifest):
    from qonnx.core.modelwrapper import ModelWrapper

    folder = built.folder / "package"
    with h5py.File(folder / manifest["samples"]["file"]) as file:
        frames, classes = file["X"][:].transpose(0, 2, 1), file["predicted"][:]
        assert len(np.unique(file["Z"][:])) == 26 and file["Y"][:].sum(axis=1).tolist() == [1] * 624
    part = slice(None, None, 10)
    logits = network_logits(small_checkpoint().network, frames[part])
    assert np.array_equal(classes_of(logits), classes[part])
    graph = ModelWrapper(str(folder / manifest["graph"]))
    assert np.array_equal(graph_classes(graph, frames[part]), classes[part])
    assert "synthetic" in manifest["samples"]["label"]


def test_shapes_are_those_that_finn_would_give_its_driver(built, manifest):
    settings = json.loads((built.folder / "package" / "settings.json").read_text())
    shapes = settings["driver_information"]["io_shape_dict"]
    assert shapes["ishape_packed"] == [manifest["input"]["packed"]]
    assert shapes["idt"] == ["DataType['INT4']"] and shapes["odma_names"] == ["odma0"]
    simd = built.report.folding["FMPadding_rtl_0"]["SIMD"]
    assert manifest["input"]["folded"] == [1, 256, 1, 8 // simd, simd]
    assert manifest["input"]["packed"] == [1, 256, 1, 8 // simd, -(-4 * simd // 8)]


def test_nothing_of_this_machine_is_inside(built):
    folder = built.folder / "package"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.parent.name == "hdl" for path in files)
    for path in files:
        assert str(built.folder.parent).encode() not in path.read_bytes(), path.name


def test_a_simulation_takes_the_place_of_the_estimates(built, tmp_path):
    from build.finished import FinishedBuild, record_simulation
    from deploy.board.package import Performance, read_package

    shutil.copytree(built.folder / "package", tmp_path / "package")
    shutil.copy(built.folder / "report.json", tmp_path)
    opened = FinishedBuild(tmp_path, None, built.report)
    estimated = read_package(tmp_path / "package").performance
    found = simulated()
    for fault in ({"stall": 0.3}, {"mismatches": 1}, {"cycles_per_frame": None}):
        record_simulation(opened, replace(found, **fault))
        assert read_package(tmp_path / "package").performance == estimated
    record_simulation(opened, found)
    assert read_package(tmp_path / "package").performance == Performance(1031.5, 4022, "simulated")
    kept = json.loads((tmp_path / "report.json").read_text())["simulation"]
    assert kept == found.to_dict() and kept["fps_at_clock"] == 250e6 / 1031.5
