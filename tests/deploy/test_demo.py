"""The whole chain, small: every artefact feeds the next stage, and a second run reuses all."""

import json

import pytest

from models.published import RESULTS

SMALL = ("--frames-per-cell", 12, "--float-epochs", 1, "--quantized-epochs", 1)


@pytest.fixture(scope="module")
def demo(tmp_path_factory, cli):
    folder = tmp_path_factory.mktemp("demo")
    first = cli("demo", "-o", folder, *SMALL)
    return folder, first, json.loads((folder / "report.json").read_text())


def test_the_simulated_rtl_is_the_network(demo):
    _, _, report = demo
    device, performance = report["device"], report["build"]["performance"]
    assert device["frames"] == 520
    assert device["mismatches"] == 0
    assert device["cycles_per_frame"] == pytest.approx(performance["cycles_per_frame"], rel=0.01)
    assert all(step["mismatches"] == 0 for step in report["build"]["verification"])


def test_the_report_compares_with_the_published_networks(demo):
    folder, first, report = demo
    page = (folder / "report.html").read_text()
    for point in RESULTS:
        assert f"<td>{point.network}</td>" in page
        assert f"{point.score:.6f}" in first.stdout
    score = report["networks"]["hardware form"]["cost"]["score"]
    assert f"{score:.6f}" in page
    assert score < report["networks"]["trained"]["cost"]["score"]
    assert report["build"]["performance"]["fps"] > 0
    assert "http" not in page.replace("http-equiv", ""), "the page must be self-contained"


def test_everything_is_labelled_synthetic(demo):
    folder, first, report = demo
    assert "synthetic (recipe" in first.stdout
    assert "synthetic (recipe" in (folder / "report.html").read_text()
    for facts in report["networks"].values():
        assert facts["accuracy"]["data"].startswith("synthetic")


def test_a_second_run_reuses_everything_and_says_so(demo, cli):
    folder, _, report = demo
    again = cli("demo", "-o", folder, *SMALL)
    assert again.stderr.count("reused from an earlier run") == len(report["seconds"])
    assert json.loads((folder / "report.json").read_text()) == report


def test_other_settings_do_not_mix(demo, refused):
    folder, _, _ = demo
    assert "other settings" in refused("demo", "-o", folder, *SMALL, "--seed", 1)
