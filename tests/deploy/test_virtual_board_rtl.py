"""A small network built, its RTL behind the DMAs, and the unmodified pynq in front of them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from deploy.board.errors import BadInput
from deploy.board.package import Package, read_package
from deploy.cli_deploy import deploy
from deploy.virtual_board.accelerator import GraphAccelerator, RtlAccelerator
from deploy.virtual_board.choose import choose
from deploy.virtual_board.played_dmas import PlayedDmas
from deploy.virtual_board.simulated_dmas import SimulatedDmas
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
