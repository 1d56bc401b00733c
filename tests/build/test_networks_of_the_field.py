"""All networks of `shared/foreign/make.py`: to RTL, simulated, validated on the virtual board."""

import json
import subprocess
import sys

import pytest

from tests.deploy.packages import needs_board_env

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("finn"), needs_board_env]

NETWORKS = (
    "vgg_w4a4",
    "strided",
    "residual",
    "average_pool",
    "mean",
    "separable",
    "signed_activation",
)


@pytest.fixture(scope="module")
def exported(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    subprocess.run([sys.executable, shared / "foreign/make.py", folder], check=True)
    return folder


@pytest.mark.parametrize("name", NETWORKS)
def test_they_reach_rtl_and_the_board_bit_by_bit(exported, tmp_path, name):
    from build.finished import open_build
    from build.flow import build
    from build.simulation.against_network import simulate_build
    from build.stimuli import synthetic_frames
    from deploy.cli_deploy import deploy

    report = build(exported / f"{name}.onnx", "ZCU104", tmp_path / "out", to="hdl").report
    assert report.hls_nodes == ()
    verified = {(entry.mismatches, entry.frames) for entry in report.verification}
    assert verified == {(0, 104)}
    opened = open_build(tmp_path / "out")
    for stall in (0.0, 0.3):
        facts = simulate_build(opened, synthetic_frames()[::8], stall=stall, fast=True)
        assert facts.mismatches == 0
    answer = tmp_path / "validated.json"
    address = f"127.0.1.{1 + NETWORKS.index(name)}"
    deploy(tmp_path / "out" / "package", frames=48, fast=True, address=address, json=answer)
    assert json.loads(answer.read_text())["agrees"]
