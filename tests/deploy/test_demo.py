"""The whole chain, small: every artefact feeds the next stage, and a second run reuses all."""

import json
from dataclasses import asdict

import pytest

from deploy.demo.chain import run_demo
from deploy.demo.demo_report import Settings
from models.errors import BadInput
from models.published import RESULTS
from tests.deploy.packages import needs_board_env

SMALL = ("--frames-per-cell", 12, "--float-epochs", 1, "--quantized-epochs", 1)


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        ({"data.h5": "mine"}, {}, "neither empty nor a demo's"),
        ({"settings.json": "{}"}, {}, "neither empty nor a demo's"),
        ({"settings.json": '{"board": '}, {}, "neither empty nor a demo's"),
        ({"settings.json": json.dumps(asdict(Settings(seed=1)))}, {}, "other sett"),
        ({}, {"board": "nosuch"}, "unknown board 'nosuch'"),
        ({}, {"model": "nosuch"}, "nosuch"),
    ],
)
def test_what_cannot_be_done_touches_nothing(tmp_path, files, options, said):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=said) as raised:
        run_demo(tmp_path, Settings(**options))
    assert "\n" not in str(raised.value)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files


@pytest.fixture(scope="module")
def demo(tmp_path_factory, cli):
    folder = tmp_path_factory.mktemp("demo")
    first = cli("demo", "-o", folder, *SMALL)
    return folder, first, json.loads((folder / "report.json").read_text())


def test_the_simulated_rtl_is_the_network(demo):
    _, _, report = demo
    device, performance = report["device"], report["sparse"]["performance"]
    assert report["choice"]["style"] == "sparse"
    assert device["frames"] == 520
    assert device["mismatches"] == 0
    assert device["cycles_per_frame"] == pytest.approx(performance["cycles_per_frame"], rel=0.01)
    for style in ("dense", "sparse"):
        assert {step["mismatches"] for step in report[style]["verification"]} == {0}


def test_both_styles_stand_side_by_side_beside_the_published_ones(demo):
    folder, first, report = demo
    page = (folder / "report.html").read_text()
    clocks = report["device"]["cycles_per_frame"]
    dense = report["dense"]["performance"]["cycles_per_frame"]
    area = report["choice"]["area"]
    assert clocks < dense and report["dense"]["resources"]["DSP"]["used"] > 0
    for text in (
        f"<td>{clocks:,.0f} simulated</td><td>{dense:,} estimated</td>",
        f"<td>about {area['luts']:,} estimated</td>",
        f"<td>{report['dense']['resources']['DSP']['used']:,} estimated by FINN</td>",
        *("<td>20,126</td>", "<td>82,562</td>", "<td>230,000</td>", "<td>about 90,000</td>"),
        *("<td>488,000</td>", "Tridgell"),
    ):
        assert text in page
    assert "Tridgell" in first.stdout and f"{clocks:,.0f} simulated" in first.stdout


@needs_board_env
def test_pynq_drives_a_virtual_board_with_the_sparse_package(demo):
    _, _, report = demo
    board, device = report["board"], report["device"]
    assert board["disagreements"] == 0 and board["compared"] >= 500
    assert board["frames_per_second"] == pytest.approx(device["fps_at_clock"], rel=0.02)


def test_the_report_compares_with_the_published_networks(demo):
    folder, first, report = demo
    page = (folder / "report.html").read_text()
    for point in RESULTS:
        assert f"<td>{point.network}</td>" in page
        assert f"{point.score:.6f}" in first.stdout
    score = report["networks"]["hardware form"]["cost"]["score"]
    assert f"{score:.6f}" in page
    assert score < report["networks"]["trained"]["cost"]["score"]
    assert report["sparse"]["performance"]["fps"] > 0
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
