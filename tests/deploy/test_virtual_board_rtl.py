"""A small network built, its RTL behind the DMAs, and the unmodified pynq in front of them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import aaronnet
from deploy.board.errors import BadInput
from deploy.board.package import Package, read_package
from deploy.cli_deploy import deploy
from deploy.virtual_board.accelerator import GraphAccelerator, RtlAccelerator
from deploy.virtual_board.choose import choose
from deploy.virtual_board.played_dmas import PlayedDmas
from deploy.virtual_board.simulated_dmas import SimulatedDmas
from models import checkpoint as checkpoints
from tests.build.small_aaronnet import frames_for, small_checkpoint
from tests.deploy.packages import needs_board_env

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    from build.flow import build

    out = tmp_path_factory.mktemp("built") / "small"
    build(small_checkpoint(), "ZCU104", out, to="hdl", frames=frames_for(26))
    return read_package(out / "package")


@pytest.fixture(scope="module")
def rtl(package: Package) -> RtlAccelerator:
    fabric = choose(package, without_dmas=True)
    assert isinstance(fabric, PlayedDmas) and isinstance(fabric.accelerator, RtlAccelerator)
    return fabric.accelerator


def test_rtl_and_graph_give_the_same_bytes(package: Package, rtl: RtlAccelerator) -> None:
    # Any bytes are frames: six-bit integers fill their words without a gap, or the rest is ignored.
    data = np.random.default_rng(0).integers(0, 256, (12, package.input.frame_bytes), np.uint8)
    run = rtl.run(data)
    np.testing.assert_array_equal(run.results, GraphAccelerator(package).run(data).results)
    expected = package.performance.cycles_per_frame
    assert run.interval == pytest.approx(expected, rel=0.02)
    assert run.latency < run.cycles == pytest.approx(run.latency + 11 * run.interval, rel=0.05)
    assert rtl.run(data[:1]).results.shape == (1, package.output.frame_bytes)


@needs_board_env
@pytest.mark.parametrize("without_dmas", [False, True])
def test_validated_on_its_own_rtl(package: Package, tmp_path: Path, without_dmas: bool) -> None:
    facts_file = tmp_path / "facts.json"
    deploy(package.folder, address="127.0.0.21", json=facts_file, without_dmas=without_dmas)
    facts = json.loads(facts_file.read_text())
    assert facts["agrees"] and facts["compared"] >= 500 and facts["times"] == "simulated"
    assert facts["board"]["own_dmas"] != without_dmas
    assert len(facts["samples"]["by_snr"]) == 26
    clock = package.clock_mhz * 1e6
    expected = clock / package.performance.cycles_per_frame
    assert facts["frames_per_second"] == pytest.approx(expected, rel=0.02)
    assert 0 < facts["latency_seconds"] < 20 / expected


@needs_board_env
def test_a_recording_gets_the_networks_classes(package: Package, tmp_path: Path) -> None:
    made = small_checkpoint()
    checkpoints.save(tmp_path / "small.pth", made.network, made.config, made.info)
    rng = np.random.default_rng(2)
    tones = np.exp(2j * np.pi * rng.uniform(-0.4, 0.4, (30, 1)) * np.arange(1024))
    noise = rng.standard_normal((30, 1024, 2)).view(complex)[..., 0]
    recording = tones + rng.uniform(0.03, 3, (30, 1)) * noise
    np.save(tmp_path / "r.npy", recording.astype(np.complex64))
    answers = []
    for words in (("--network", tmp_path / "small.pth"), ("--package", package.folder)):
        command = ["classify", tmp_path / "r.npy", *words, "--json", tmp_path / "f.json"]
        done = CliRunner().invoke(aaronnet.app, [str(word) for word in command])
        assert done.exception is None, done.exception
        frames = json.loads((tmp_path / "f.json").read_text())["frames"]
        answers.append([frame["answer"] for frame in frames])
    assert answers[0] == answers[1] and len(answers[0]) == 30 and len(set(answers[0])) > 1


def test_a_flipped_bit_in_a_weight_memory_is_found(package: Package, tmp_path: Path) -> None:
    copy = shutil.copytree(package.folder, tmp_path / "package")
    path = next((copy / "rtl" / "data").glob("*memblock.dat"))
    text = path.read_text()
    path.write_text(f"{int(text[0], 16) ^ 1:x}{text[1:]}")
    with pytest.raises(BadInput, match="memblock.dat is not the file that was built"):
        read_package(copy)


def test_a_package_on_its_own_brings_its_rtl(package: Package, tmp_path: Path) -> None:
    alone = read_package(shutil.copytree(package.folder, tmp_path / "package"))
    assert isinstance(choose(alone), SimulatedDmas)
    by_graph = choose(alone, graph=True)
    assert isinstance(by_graph, PlayedDmas)
    assert isinstance(by_graph.accelerator, GraphAccelerator)
