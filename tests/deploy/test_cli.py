"""The commands around a board."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from deploy.board.driver import quantize
from deploy.board.package import Package
from deploy.cli import app
from deploy.cli_deploy import deploy
from deploy.virtual_board.accelerator import GraphAccelerator
from deploy.virtual_board.board import Board
from deploy.virtual_board.overlay import write_overlay
from deploy.virtual_board.played_dmas import PlayedDmas
from deploy.virtual_board.server import serve
from models.errors import BadInput
from tests.deploy.packages import (
    ROOT,
    graph_weight,
    make_graph_package,
    needs_board_env,
    run_client,
    write_frames,
)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    made = make_graph_package(tmp_path_factory.mktemp("cli") / "package")
    write_overlay(made)
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "data.h5"
    write_frames(path, 2, seed=3)
    return path


def test_expect_writes_test_frames_with_the_networks_classes(
    package: Package, data: Path, tmp_path: Path
) -> None:
    out, facts = tmp_path / "expected.h5", tmp_path / "facts.json"
    done = CliRunner().invoke(
        app,
        ["expect", str(package.folder), "--data", str(data), "-o", str(out), "-n", "100"]
        + ["--json", str(facts)],
        catch_exceptions=False,
    )
    assert done.exit_code == 0 and "synthetic" in done.output
    with h5py.File(out) as file:
        assert file["X"].shape == (100, 1024, 2)
        integers = quantize(file["X"][:], package.input).reshape(100, -1)
        np.testing.assert_array_equal(file["predicted"], (integers @ graph_weight()).argmax(1))
        accuracy = (file["predicted"][:] == file["Y"][:].argmax(1)).mean()
    assert json.loads(facts.read_text())["accuracy"] == pytest.approx(accuracy)


def test_errors_of_the_board_are_the_command_lines(tmp_path: Path, data: Path) -> None:
    with pytest.raises(BadInput, match="no accelerator package"):
        CliRunner().invoke(app, ["serve", str(tmp_path)], catch_exceptions=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("option", ["-o", "--json"])
@pytest.mark.parametrize("target", ["data.h5", "link.h5", "package/manifest.json", "package/new"])
def test_what_is_read_is_not_written(tmp_path: Path, data: Path, option: str, target: str) -> None:
    folder = make_graph_package(tmp_path / "package").folder
    shutil.copy(data, tmp_path / "data.h5")
    (tmp_path / "link.h5").symlink_to(tmp_path / "data.h5")
    before = contents(tmp_path)
    outputs = {"-o": "expected.h5"} | {option: target}
    arguments = [text for name, path in outputs.items() for text in (name, str(tmp_path / path))]
    with pytest.raises(BadInput, match="is read; choose another file"):
        CliRunner().invoke(
            app,
            ["expect", str(folder), "--data", str(tmp_path / "data.h5"), *arguments],
            catch_exceptions=False,
        )
    assert contents(tmp_path) == before


@needs_board_env
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"data": Path("nosuch.h5")}, "nosuch.h5 does not exist"),
        ({"address": "127.0.0.24"}, "another virtual board"),
        ({"address": "localhost"}, "no IP address"),
        ({"address": "192.0.2.1"}, "cannot listen on 192.0.2.1:7967"),
        ({"board": "192.0.2.1", "graph": True}, "not with --board"),
        ({"board": "192.0.2.1", "without_dmas": True}, "not with --board"),
        ({"json": "package/facts.json"}, "is read; choose another file"),
    ],
)
def test_a_request_that_cannot_be_met_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], said: str
) -> None:
    folder = make_graph_package(tmp_path / "package").folder
    if "json" in options:
        options = {"json": tmp_path / options["json"]}
    monkeypatch.setattr("deploy.virtual_board.choose.choose", lambda *_: pytest.fail("too early"))
    before = contents(tmp_path)
    with socket.create_server(("127.0.0.24", 7967)), pytest.raises(BadInput, match=said):
        deploy(folder, **options)
    assert contents(tmp_path) == before


def test_serve_says_when_it_listens_and_ends_when_told(package: Package, tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    command = [sys.executable, "-c", "from deploy.cli import app; app()", "serve"]
    command += [str(package.folder), "--address", "127.0.0.17", "--json", str(facts)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        deadline = time.monotonic() + 240
        while not facts.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        told = json.loads(facts.read_text())
        assert told["listening"] == "127.0.0.17:7967" and (told["cycles"], told["dmas"]) == (
            "estimated",
            "played",
        )
        assert Path(told["overlay"]).is_file()
        server.send_signal(signal.SIGTERM)
        out, _ = server.communicate(timeout=30)
    assert server.returncode == 0
    assert "toy for ZCU104 at 250 MHz" in out


def test_a_run_of_the_graph_is_what_the_graph_computes(package: Package) -> None:
    accelerator = GraphAccelerator(package)
    data = np.random.default_rng(0).integers(0, 256, (3, package.input.frame_bytes), np.uint8)
    data[:] &= 0x0F
    run = accelerator.run(data)
    assert run.results.shape == (3, 1) and run.cycles == 5000 + 2 * 1028


@needs_board_env
def test_one_command_validates_on_a_virtual_board(package: Package, tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    deploy(package.folder, graph=True, address="127.0.0.18", json=facts)
    read = json.loads(facts.read_text())
    assert read["agrees"] and read["compared"] == 624 and read["times"] == "estimated"


@needs_board_env
def test_frames_are_classified_by_one_command(package: Package, data: Path, tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    command = [
        "-m",
        "deploy.board.predict",
        package.folder,
        "--data",
        data,
        "-n",
        "50",
        "--json",
        facts,
    ]
    done = run_client("127.0.0.19", *command)
    assert done.returncode == 2 and "no board answers" in done.stderr
    with serve(Board(package, PlayedDmas(package, GraphAccelerator(package))), "127.0.0.19"):
        done = run_client("127.0.0.19", *command)
    assert done.returncode == 0, done.stderr
    read = json.loads(facts.read_text())
    with h5py.File(data) as file:
        frames, snrs = file["X"][read["rows"]], file["Z"][read["rows"]][:, 0]
    integers = quantize(frames, package.input).reshape(50, -1)
    assert read["classes"] == (integers @ graph_weight()).argmax(1).tolist()
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == [str(row) for row in read["rows"]]
    assert [line[1] for line in lines] == [f"{snr:.0f} dB" for snr in snrs]
    assert [line[3] for line in lines] == [package.classes[index] for index in read["classes"]]
