"""A package with a small RTL of its own: from its files to a simulator behind the DMAs."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from deploy.board.package import read_package
from deploy.virtual_board.accelerator import RtlAccelerator
from deploy.virtual_board.choose import choose
from deploy.virtual_board.played_dmas import PlayedDmas
from models.errors import BadInput
from tests.deploy.packages import write_manifest
from tests.deploy.sum_package import LANES, WORDS, make_sum_package, results_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sum_package(tmp_path_factory.mktemp("sum") / "package")


@pytest.fixture
def cached(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to start in, and a cache named relative to it."""
    start = tmp_path_factory.getbasetemp() / "start"
    start.mkdir(exist_ok=True)
    monkeypatch.chdir(start)
    monkeypatch.setenv("AARONNET_CACHE", "caches")
    return start


def test_its_simulator_runs_from_a_relative_cache(folder: Path, cached: Path) -> None:
    fabric = choose(read_package(folder), without_dmas=True)
    assert isinstance(fabric, PlayedDmas)
    accelerator = fabric.accelerator
    assert isinstance(accelerator, RtlAccelerator)
    assert accelerator.executable.is_relative_to(cached / "caches")
    frames = np.random.default_rng(0).integers(0, 256, (3, WORDS * LANES), np.uint8)
    run = accelerator.run(frames)
    np.testing.assert_array_equal(run.results, results_of(frames))
    assert run.latency == WORDS + 1 and run.interval == WORDS + 1


def test_no_flipped_bit_of_its_rtl_is_simulated(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(folder, tmp_path / "package")
    draw, refused = random.Random(5), 0
    for path in sorted(path for path in (copy / "rtl").rglob("*") if path.is_file()):
        data = path.read_bytes()
        for bit in draw.sample(range(8 * len(data)), 40):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            with pytest.raises(BadInput, match="not the file that was built"):
                read_package(copy)
            refused += 1
        path.write_bytes(data)
    with capsys.disabled():
        print(f"\nflips in RTL refused: {refused}")
    assert refused == 120


@pytest.mark.parametrize("without_dmas", [False, True])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ports", [["in0", 8, False], ["out0", 8, False]]),
        ("ports", [["in0", 8 * LANES, False], ["out0", 16, False]]),
        ("data", ["nosuch.dat"]),
        ("sources", ["accelerator.sv", "nosuch.sv"]),
    ],
)
def test_rtl_that_does_not_fit_the_manifest_is_refused(
    folder: Path, tmp_path: Path, key: str, value: object, without_dmas: bool
) -> None:
    copy = shutil.copytree(folder, tmp_path / "package")
    path = copy / "rtl" / "design.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    write_manifest(copy, json.loads((copy / "manifest.json").read_text()))
    with pytest.raises(BadInput) as raised:
        choose(read_package(copy), without_dmas=without_dmas)
    assert "\n" not in str(raised.value)
