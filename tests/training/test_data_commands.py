import json
import re

import numpy as np
import pytest

from tests.training.radioml_files import grid, write


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory, cli):
    folder = tmp_path_factory.mktemp("commands")
    path, facts = folder / "synthetic.h5", folder / "synth.json"
    done = cli("data", "synth", path, "--frames-per-cell", 2, "--seed", 5, "--json", facts)
    assert "synthetic (recipe 1, seed 5)" in done.stdout
    assert "1248/1248" in done.stderr  # the bar
    written = json.loads(facts.read_text())
    assert written["frames"] == 1248
    assert written["data_label"] == "synthetic (recipe 1, seed 5)"
    return path


def test_synth_refuses_to_overwrite(synthetic, refused, cli):
    assert "exists already" in refused("data", "synth", synthetic, "--frames-per-cell", 1)
    cli("data", "synth", synthetic, "--frames-per-cell", 2, "--seed", 5, "--force")


def test_info(synthetic, cli, tmp_path):
    done = cli("data", "info", synthetic, "--all", "--json", tmp_path / "info.json")
    assert "synthetic (recipe 1, seed 5)" in done.stdout
    assert "by class, then SNR" in done.stdout
    facts = json.loads((tmp_path / "info.json").read_text())
    assert facts["frames"] == 1248
    power = f"{facts['classes'][4]['power']:.3f}"
    assert re.search(rf"QPSK .* {power} ", done.stdout)


def test_info_says_when_the_order_differs(tmp_path, cli):
    labels, snrs = grid(1, (0, 30))
    frames = np.ones((len(labels), 1024, 2), np.float32)
    done = cli("data", "info", write(tmp_path / "a.h5", labels[::-1], snrs[::-1], frames))
    assert "NOT by class, then SNR" in done.stdout


def test_show(synthetic, cli, tmp_path):
    cli("data", "show", synthetic, "--out", tmp_path / "a.png", "--snr", 10)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_cache(synthetic, cli, tmp_path):
    done = cli(
        "data", "cache", synthetic, "--cache-dir", tmp_path, "--json", tmp_path / "cache.json"
    )
    assert "1248" in done.stdout
    facts = json.loads((tmp_path / "cache.json").read_text())
    assert (tmp_path / "cache.json").parent.samefile(tmp_path)
    assert facts["cache"].startswith(str(tmp_path))


def test_fidelity(synthetic, cli, tmp_path, published):
    network = published("AaronNet32plusplus")
    options = ("--json", tmp_path / "f.json", "--out", tmp_path / "f.png", "--frames", 1)
    done = cli("data", "fidelity", synthetic, "--checkpoint", network, *options, check=None)
    facts = json.loads((tmp_path / "f.json").read_text())
    assert done.returncode == (0 if facts["ok"] else 1)  # so few frames may be off
    assert f"{facts['networks'][0]['accuracy']:.3f}" in done.stdout
    assert (tmp_path / "f.png").exists()
    if not facts["ok"]:
        assert "is not like RadioML 2018.01A (published)" in done.stderr


@pytest.mark.parametrize("command", ["info", "show", "cache"])
def test_unusable_files(tmp_path, refused, command):
    path = tmp_path / "a.h5"
    path.write_text("no HDF5")
    assert "is not an HDF5 file" in refused("data", command, path)
    assert [left.name for left in tmp_path.iterdir()] == ["a.h5"]
