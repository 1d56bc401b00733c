"""What the demo's report shows of the accelerator, for records made up here."""

import dataclasses

import pytest

from build.build_report import DenseReport, Estimate, Resource, SparseReport, Verified
from build.sparse.room import Area
from build.style import Choice
from deploy.board.radioml import CLASSES, SNRS
from deploy.board.records import record, to_json
from deploy.demo.demo_report import (
    DemoReport,
    Device,
    Measured,
    OnBoard,
    Settings,
    print_summary,
    style_rows,
    write_report,
)
from models.cost import inference_cost
from tests.build.small_aaronnet import small_checkpoint
from training.evaluate import Evaluation
from training.synthesis import Written

LABEL = "synthetic (made up)"


@pytest.fixture(scope="module")
def report():
    cost, count = inference_cost(small_checkpoint()), len(CLASSES)
    accuracy = Evaluation(
        *(0.25, 624, "test", "small", LABEL, LABEL, SNRS, (0.25,) * len(SNRS), CLASSES),
        *((0.25,) * count, ((1,) * count,) * count, (((1,) * count,) * count,) * len(SNRS)),
    )
    head = {"network": "small", "data_label": LABEL, "board": "ZCU104", "part": "x", "cost": cost}
    checked = {"verification": (Verified("a step", 52, 0, 0.0, 12),), "layers": ()}
    dense = DenseReport(
        **(head | checked | {"to": "estimate", "style": "dense"}),
        performance=Estimate(250.0, 1024, 33_000, "a layer"),
        resources={"LUT": Resource(5457, 230_400), "DSP": Resource(114, 1728)},
    )
    sparse = SparseReport(
        **(head | checked | {"to": "hdl", "style": "sparse"}),
        performance=Estimate(250.0, 257, 920, "the input"),
        adders=500,
    )
    return DemoReport(
        Settings(),
        Written("data.h5", 624, 1, 0, 1, 1, 1, LABEL),
        {name: Measured(accuracy, cost) for name in ("trained", "pruned", "hardware form")},
        Choice("sparse", "it fits", 257, Area(5999, 39)),
        *(dense, sparse),
        Device("RTL", LABEL, 520, 0, 0.25, 257.0, 3.7, 250.0, 972_763.0, 400.0),
        OnBoard("ZCU104", 624, 0, 972_275.0, 3.88, "simulated"),
        {"build": 20.0},
    )


def test_both_styles_and_the_published_ones_are_shown_with_where_they_come_from(
    report, tmp_path, capsys
):
    write_report(tmp_path / "report.html", report)
    print_summary(report)
    page, printed = (tmp_path / "report.html").read_text(), capsys.readouterr().out
    for cells in (
        ("clocks a frame", "257 simulated", "1,024 estimated"),
        ("LUT", "about 5,999 estimated", "5,457 estimated by FINN"),
        ("FF", "not estimated", "not estimated"),
        ("DSP", "0 by construction", "114 estimated by FINN"),
        ("BRAM_18K", "about 39 estimated", "not estimated"),
        ("aaronnet32++-hw8, sparse, 257 clocks", "20,126", "34,509", "0", "203"),
        ("ternary VGG on ZCU111", "488,000", "", "8 us", "44.5%"),
    ):
        assert "".join(f"<td>{cell}</td>" for cell in cells) in page
    assert "about 90,000" in page and "S. Tridgell et al." in page and "finn-examples" in page
    for text in ("257 simulated", "230,000", "488,000", "Tridgell", "0 of 624"):
        assert text in printed


def test_a_dense_accelerator_stands_alone(report, tmp_path):
    alone = dataclasses.replace(report, choice=Choice("dense", "too big"), sparse=None, board=None)
    assert style_rows(alone) == [] and alone.build is alone.dense
    write_report(tmp_path / "report.html", alone)
    page = (tmp_path / "report.html").read_text()
    assert "Two ways to build it" not in page and "dense: too big" in page


def test_a_choice_is_read_back_from_the_journal(report):
    assert record(Choice, to_json(report.choice)) == report.choice
