"""Validation through the unmodified pynq: what it reports, and how each fault ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from deploy.board.data_file import open_frames, rows_to_test
from deploy.board.errors import BadInput
from deploy.board.package import Package, read_package
from deploy.board.power import PowerMeter
from deploy.board.radioml import CLASSES, FRAME, read_index
from deploy.board.split import official_split
from deploy.board.validate import main
from deploy.board.validation import (
    Accuracy,
    BoardFound,
    Expected,
    Throughput,
    Validated,
    Validation,
)
from deploy.board.validation_report import render
from deploy.virtual_board.accelerator import Run
from deploy.virtual_board.board import Board
from deploy.virtual_board.overlay import write_overlay
from deploy.virtual_board.played_dmas import PlayedDmas
from deploy.virtual_board.server import serve
from tests.deploy.packages import (
    BOARD_PYTHON,
    ROOT,
    ToyAccelerator,
    change_handoff,
    change_manifest,
    needs_board_env,
    run_client,
    write_frames,
)

ADDRESS = "127.0.0.13"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("validate") / "data.h5"
    write_frames(path, 12, seed=1)
    return path


def copied(package: Package, folder: Path) -> Path:
    return shutil.copytree(package.folder, folder / "package")


def run_validate(
    *arguments: str | Path, address: str = ADDRESS, **options
) -> subprocess.CompletedProcess[str]:
    return run_client(address, "-m", "deploy.board.validate", *arguments, **options)


@contextmanager
def server_process(package: Package, address: str, seconds: float) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", "tests.deploy.toy_server", str(package.folder), address]
    with subprocess.Popen(
        [*command, str(seconds)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, said: str) -> None:
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1 and done.stdout == "", done.stderr


# -- the data ----------------------------------------------------------------------------------


def test_the_split_is_the_official_one(data: Path) -> None:
    frames = open_frames(data, len(CLASSES))
    wanted = np.sort(official_split(read_index(data)).test)
    np.testing.assert_array_equal(rows_to_test(frames), wanted)
    assert len(wanted) == 24 * 26 * 2


@pytest.mark.parametrize("count", [1, 100, 624, 1000])
def test_a_choice_of_frames_is_even(data: Path, count: int) -> None:
    frames = open_frames(data, len(CLASSES))
    rows = rows_to_test(frames, count)
    assert len(np.unique(rows)) == count
    assert np.isin(rows, rows_to_test(frames)).all()
    cells = np.bincount(
        frames.index.labels[rows] * 26 + (frames.index.snrs[rows] + 20) // 2, minlength=624
    )
    assert cells.max() - cells.min() <= 1


# -- what it reports -----------------------------------------------------------------------------


@needs_board_env
def test_reports_the_networks_classes_and_the_simulated_times(
    package: Package, data: Path, tmp_path: Path
) -> None:
    facts_file, report = tmp_path / "facts.json", tmp_path / "report.md"
    accelerator = ToyAccelerator(package)
    with serve(Board(package, PlayedDmas(package, accelerator)), ADDRESS):
        done = run_validate(
            *(package.folder, "--data", data, "-n", "700", "--batch", "200", "--sweep", "1,64"),
            *("--json", facts_file, "--report", report),
        )
    assert done.returncode == 0, done.stderr
    assert report.read_text() == done.stdout
    facts = json.loads(facts_file.read_text())
    assert facts["agrees"] and facts["compared"] == 624 and facts["disagreements"] == 0
    assert facts["board"] == {"name": "ZCU104", "virtual": True, "own_dmas": False}
    samples = facts["samples"]
    assert samples["accuracy"] == samples["network_accuracy"] and len(samples["by_snr"]) == 26
    frames = open_frames(data, 24)
    rows = rows_to_test(frames, 700)
    found = accelerator.predict(np.concatenate(list(frames.read(rows))))
    assert facts["data"]["accuracy"] == pytest.approx((found == frames.index.labels[rows]).mean())
    assert facts["data"]["frames"] == np.sum(facts["data"]["confusion"]) == 700
    assert facts["data"]["label"].startswith("synthetic")
    for snr, value in facts["data"]["by_snr"].items():
        here = frames.index.snrs[rows] == int(snr)
        assert value == pytest.approx((found == frames.index.labels[rows])[here].mean())
    # 250 MHz, 1028 cycles a frame, 5000 to the first result
    assert facts["frames_per_second"] == pytest.approx(250e6 / 1028)
    assert facts["latency_seconds"] == pytest.approx(5000 / 250e6)
    whole = facts["throughput"][1]
    assert whole["batch"] == 64
    assert whole["accelerator_frames_per_second"] == pytest.approx(64 * 250e6 / (5000 + 63 * 1028))
    for word in ("0.015700", "Virtual board", "synthetic", "estimated", "624 of 624", "-20"):
        assert word in done.stdout


@needs_board_env
def test_a_board_that_computes_something_else_is_caught(package: Package, tmp_path: Path) -> None:
    class Wrong(ToyAccelerator):
        def run(self, frames: np.ndarray) -> Run:
            run = super().run(frames)
            hit = frames[:, 100] == frames[:, 101]
            run.results[hit] = (run.results[hit] + 1) % 24
            return run

    facts_file = tmp_path / "facts.json"
    with serve(Board(package, PlayedDmas(package, Wrong(package))), ADDRESS):
        done = run_validate(package.folder, "--json", facts_file)
    facts = json.loads(facts_file.read_text())
    listed = facts["samples"]["disagreeing"]
    assert done.returncode == 1 and 0 < len(listed) < 300
    assert f"validate: the board disagrees with the network in {len(listed)} of 624" in done.stderr
    for entry in listed[:20]:
        assert entry["board"] == (entry["network"] + 1) % 24
        assert entry["again"] == [entry["board"]] * 3
    assert "Frames that disagree" in done.stdout


def test_a_report_of_a_real_board_has_power_and_no_virtual_board() -> None:
    found = Validation(
        package=Validated("package", "0" * 64, "net", None, "ZCU104", 250.0),
        board=BoardFound("ZCU104", virtual=False, own_dmas=False),
        expected=Expected("simulated", 9.0, 1e-5),
        samples=Accuracy("noise", 1, 1.0, {"0": 1.0}, [[1, 0], [0, 0]], 0),
        times="measured",
        throughput=[Throughput(1, 1e5, 1e8, 1e3, 1e6)],
        frames_per_second=None,
        samples_per_second=None,
        latency_seconds=None,
        power_watts={"INT": 1.5},
        disagreements=0,
        compared=0,
        agrees=True,
    )
    text = render(found, ["a", "b"])
    assert "measured on the board" in text and "1.500" in text and "Virtual" not in text
    assert not {"data", "disagreeing"} & (found.facts().keys() | found.facts()["samples"].keys())


def test_power_is_the_mean_of_what_the_rails_say() -> None:
    readings = iter([1.0] + [3.0] * 10_000)

    class Sensor:
        @property
        def value(self) -> float:
            return next(readings)

    rails = {"INT": SimpleNamespace(power=Sensor()), "12V": SimpleNamespace(power=None)}
    with PowerMeter(rails) as meter:
        while len(meter._samples["INT"]) < 3:
            pass
    count = len(meter._samples["INT"])
    assert meter.watts == {"INT": pytest.approx((1 + 3 * (count - 1)) / count)}
    with PowerMeter({}) as none:
        pass
    assert none.watts == {}


# -- faults ----------------------------------------------------------------------------------------


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Validate in this process what is refused before any board is asked; return the message."""
    assert main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("validate: ")
    return err


def test_a_flipped_bit_in_a_file_of_the_package(
    package: Package, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(package, tmp_path)
    path = folder / "samples.h5"
    data = bytearray(path.read_bytes())
    data[1000] ^= 4
    path.write_bytes(data)
    assert "samples.h5 is not the file that was built" in refused(capsys, folder)


@needs_board_env
def test_the_wrong_board(package: Package, tmp_path: Path) -> None:
    folder = copied(package, tmp_path)
    change_manifest(folder, board="RFSoC4x2")
    write_overlay(read_package(folder))
    with serve(Board(package, PlayedDmas(package, ToyAccelerator(package))), ADDRESS):
        done = run_validate(folder)
    assert_one_line(done, 2, "this package is for RFSoC4x2, and the board is a ZCU104")


@needs_board_env
def test_the_wrong_clock(package: Package, tmp_path: Path) -> None:
    folder = copied(package, tmp_path)
    change_handoff(read_package(folder), "250.000", "125.000")
    with serve(Board(package, PlayedDmas(package, ToyAccelerator(package))), ADDRESS):
        assert_one_line(run_validate(folder), 2, "125 MHz, the package says 250 MHz")


@needs_board_env
def test_another_package_than_the_boards(package: Package, tmp_path: Path) -> None:
    folder = copied(package, tmp_path)
    change_manifest(folder, network={"name": "boat"})
    write_overlay(read_package(folder))
    with serve(Board(package, PlayedDmas(package, ToyAccelerator(package))), ADDRESS):
        assert_one_line(run_validate(folder), 1, "bitfile is for another package")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: os.truncate(path, path.stat().st_size // 2), "is truncated"),
        (lambda path: path.write_bytes(b"\0" * 4096), "is not an HDF5 file"),
        (lambda path: path.unlink(), "does not exist"),
    ],
)
def test_a_damaged_data_file(
    package: Package,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], object],
    said: str,
) -> None:
    path, output = tmp_path / "data.h5", tmp_path / "facts.json"
    shutil.copy(data, path)
    damage(path)
    assert said in refused(capsys, package.folder, "--data", path, "--json", output)
    assert not output.exists()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        *(("Z", 2.7, "an SNR of 2.7 dB"), ("Z", np.nan, "an SNR of"), ("Z", 32.0, "an SNR of")),
        *(("Y", 0.5, "not one-hot"), ("Y", np.nan, "not one-hot"), ("Y", 2.0, "not one-hot")),
        *(("predicted", 99.0, "no class of 0..23"), ("predicted", -1.0, "no class of 0..23")),
        *(("predicted", 2.7, "no class of 0..23"), ("predicted", np.nan, "no class of 0..23")),
    ],
)
def test_what_is_no_snr_and_no_class_is_not_rounded_to_one(
    package: Package, data: Path, tmp_path: Path, name: str, value: float, said: str
) -> None:
    path = shutil.copy(data, tmp_path / "data.h5")
    with h5py.File(path, "r+") as file:
        file["predicted"] = file["Y"][:].argmax(axis=1)
    assert open_frames(path, 24).predicted is not None
    with h5py.File(path, "r+") as file:
        values = file[name][:].astype(np.float64)
        values[(7, 0)[: values.ndim]] = value
        del file[name]
        file[name] = values
    with pytest.raises(BadInput) as raised:
        open_frames(path, 24)
    assert said in str(raised.value) and "\n" not in str(raised.value)


@needs_board_env
def test_samples_that_are_no_numbers(package: Package, data: Path, tmp_path: Path) -> None:
    path, output = tmp_path / "data.h5", tmp_path / "facts.json"
    shutil.copy(data, path)
    with h5py.File(path, "r+") as file:
        file["X"][:, FRAME // 2, 0] = np.nan
    with serve(Board(package, PlayedDmas(package, ToyAccelerator(package))), ADDRESS):
        done = run_validate(package.folder, "--data", path, "--json", output)
    assert_one_line(done, 2, "holds NaN or infinity")
    assert not output.exists()


@needs_board_env
def test_a_server_killed_in_the_middle_of_a_transfer(package: Package, tmp_path: Path) -> None:
    output = tmp_path / "facts.json"
    with server_process(package, "127.0.0.14", 2.0) as server:
        command = [str(BOARD_PYTHON), "-m", "deploy.board.validate", str(package.folder)]
        with subprocess.Popen(
            [*command, "--json", str(output)],
            cwd=ROOT,
            env=os.environ | {"PYNQ_REMOTE_DEVICES": "127.0.0.14"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as client:
            assert server.stdout is not None
            assert server.stdout.readline() == "transfer\n"
            server.send_signal(signal.SIGKILL)
            out, err = client.communicate(timeout=60)
    assert client.returncode == 1
    assert err == (
        "validate: the connection to the board was lost; is it still on, is its server running?\n"
    )
    assert out == "" and not output.exists()


@needs_board_env
def test_a_server_that_hangs(package: Package, tmp_path: Path) -> None:
    impatient = (
        "import sys, deploy.board.device, deploy.board.validate, deploy.board.console;"
        "deploy.board.device.ANSWER_SECONDS = 2.0;"
        "deploy.board.console.end(deploy.board.validate.main(sys.argv[1:]))"
    )
    with (
        server_process(package, "127.0.0.23", 2.0) as server,
        subprocess.Popen(
            [str(BOARD_PYTHON), "-c", impatient, str(package.folder)],
            cwd=ROOT,
            env=os.environ | {"PYNQ_REMOTE_DEVICES": "127.0.0.23"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as client,
    ):
        assert server.stdout is not None
        assert server.stdout.readline() == "transfer\n"
        server.send_signal(signal.SIGSTOP)
        try:
            out, err = client.communicate(timeout=60)
        finally:
            client.kill()
    assert client.returncode == 1 and out == ""
    assert err == "validate: the board did not answer for 2 s\n"


@needs_board_env
def test_no_server_at_all(package: Package) -> None:
    assert_one_line(run_validate(package.folder, address="127.0.0.15"), 2, "no board answers at")


@needs_board_env
def test_two_clients_at_once(package: Package) -> None:
    with server_process(package, "127.0.0.16", 3.0) as server:
        first = subprocess.Popen(
            [str(BOARD_PYTHON), "-m", "deploy.board.validate", str(package.folder), "--sweep", "1"],
            cwd=ROOT,
            env=os.environ | {"PYNQ_REMOTE_DEVICES": "127.0.0.16"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        assert server.stdout.readline() == "transfer\n"
        second = run_validate(package.folder, address="127.0.0.16")
        assert_one_line(second, 1, "in use by another client")
        out, _ = first.communicate(timeout=120)
    assert first.returncode == 0 and "624 of 624 frames" in out


@needs_board_env
def test_a_batch_that_the_board_has_no_memory_for(package: Package) -> None:
    with serve(Board(package, PlayedDmas(package, ToyAccelerator(package))), ADDRESS):
        done = run_validate(package.folder, "--batch", "300000")
        assert_one_line(done, 2, "use a smaller batch")
        assert run_validate(package.folder).returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [("--sweep", "0"), ("--sweep", "a"), ("--batch", "0"), ("--json", "/dev/null/facts.json")],
)
def test_unusable_options(
    package: Package, capsys: pytest.CaptureFixture[str], arguments: tuple[str, str]
) -> None:
    refused(capsys, package.folder, *arguments)
