"""run-docker.sh against a stand-in for docker that records how it was called."""

import os
import subprocess

import pytest

from tests.conftest import ROOT

STAND_IN = """#!/usr/bin/env bash
echo "$@" >> "$RECORD"
case "$1 ${2:-}" in
info*) exit "${DOCKER_INFO:-0}" ;;
"image inspect") exit "${IMAGE_MISSING:-0}" ;;
esac
"""


@pytest.fixture
def docker(tmp_path):
    """Run the script with the stand-in; returns the process and the recorded calls."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "docker").write_text(STAND_IN)
    (folder / "docker").chmod(0o755)
    record = tmp_path / "calls"

    def run(*arguments, path=f"{folder}:{os.environ['PATH']}", **environment):
        done = subprocess.run(
            ["/bin/bash", ROOT / "run-docker.sh", *arguments],
            env={"PATH": path, "RECORD": str(record), **environment},
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        return done, record.read_text().splitlines() if record.exists() else []

    return run


def test_a_verb_runs_the_command_in_the_current_folder(docker, tmp_path):
    done, calls = docker("train", "--epochs", "3")
    assert done.returncode == 0, done.stderr
    assert calls[-1].endswith("aaronnet-train train --epochs 3")
    assert f"--volume {tmp_path}:/workspace" in calls[-1]
    assert f"--user {os.getuid()}:{os.getgid()}" in calls[-1]


def test_a_missing_image_is_built_first(docker):
    _, calls = docker("score", "net.pth", IMAGE_MISSING="1")
    assert any(call.startswith("build ") and "Dockerfile.train" in call for call in calls)
    assert calls[-1].endswith("cost net.pth")


def test_data_and_gpu_are_passed_through(docker, tmp_path):
    (tmp_path / "radio").mkdir()
    _, calls = docker("test", "x", AARONNET_DATA="radio", AARONNET_GPU="device=1")
    assert f"--volume {tmp_path}/radio:/data:ro" in calls[-1]
    assert "--gpus device=1" in calls[-1]


def test_the_shell_replaces_the_command(docker):
    _, calls = docker("shell")
    assert "--entrypoint bash" in calls[-1]


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["fly"], {}, "unknown verb 'fly'"),
        (["demo"], {"DOCKER_INFO": "1"}, "daemon does not answer"),
        (["demo"], {"AARONNET_DATA": "nowhere"}, "is no folder"),
        (["demo"], {"path": "/nonexistent"}, "docker is not installed"),
    ],
)
def test_what_is_missing_is_said_in_one_line(docker, arguments, environment, message):
    done, calls = docker(*arguments, **environment)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not any(call.startswith("run") for call in calls)


def test_help_needs_no_docker(docker):
    done, calls = docker("--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout
    assert not calls
