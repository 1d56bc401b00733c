"""Which style a build takes where none is named, and what it says of it."""

import dataclasses

import pytest
from typer.testing import CliRunner

from models.errors import BadInput
from tests.build.foreign import export, front
from tests.build.small_aaronnet import small_checkpoint


@pytest.fixture
def taken(monkeypatch, tmp_path):
    """Run `aaronnet build` up to the build itself; returns (style, keywords) and the output."""
    from build import build_report, flow
    from build.sparse import sparse_build

    calls = []

    class Result:
        report = None

    monkeypatch.setattr(build_report, "show", lambda *_: None)
    for module, name, style in ((flow, "build", "dense"), (sparse_build, "build_sparse", "sparse")):
        monkeypatch.setattr(module, name, lambda *a, s=style, **k: calls.append((s, k)) or Result())

    def run(network, *options):
        from aaronnet import app

        words = ["build", str(network), "-o", str(tmp_path / "out"), *options]
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0 and len(calls) == 1, done.output
        return (*calls.pop(), done.output)

    return run


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from models.checkpoint import save

    path = tmp_path_factory.mktemp("style") / "small.pth"
    small = small_checkpoint()
    save(path, small.network, small.config, small.info)
    return path


def test_what_fits_and_is_faster_is_built_sparse_and_said_so(taken, checkpoint):
    style, options, said = taken(checkpoint)
    assert style == "sparse" and options["clocks"] == "257"
    (line,) = said.splitlines()
    assert line.startswith("sparse: 257 clocks a frame, about ")
    assert "of ZCU104's 230,400 LUTs" in line and "estimated; a dense build takes 1,024" in line


@pytest.mark.parametrize(
    ("options", "style", "why"),
    [
        (["--fps", "1000"], "dense", "--fps decides"),
        (["--folding", "tuned"], "dense", "--folding decides"),
        (["--logits"], "dense", "--logits decides"),
        (["--to", "stitched"], "dense", "--to stitched decides"),
        (["--to", "hdl", "--size-fifos"], "dense", "--size-fifos decides"),
        (["--clocks", "auto"], "sparse", "--clocks decides"),
    ],
)
def test_an_option_of_one_style_decides(taken, options, style, why):
    found, _, said = taken("never-read.pth", *options)
    assert found == style and said == f"{style}: {why}, which only {style} builds have\n"


@pytest.mark.parametrize("style", ["dense", "sparse"])
def test_a_style_that_is_named_is_not_argued_with(taken, style):
    found, options, said = taken("never-read.pth", "--style", style)
    assert found == style and said == "" and options.get("clocks") is None


def test_options_of_both_styles_are_refused(tmp_path):
    from aaronnet import app

    words = ["build", "x.pth", "-o", str(tmp_path / "out"), "--fps", "1", "--clocks", "257"]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, BadInput) and "do not go together" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_unknown_layers_are_built_dense_and_named(taken, tmp_path):
    from brevitas.nn import QuantConv1d, QuantLinear, QuantReLU
    from torch import nn

    def make():
        unknown = QuantConv1d(6, 4, 5, stride=5, bias=False, weight_bit_width=4)
        return [*front(), QuantReLU(bit_width=3), unknown, QuantReLU(bit_width=3), nn.Flatten(),
                QuantLinear(24, 5, bias=False, weight_bit_width=4)]  # fmt: skip

    path = export(tmp_path / "unknown.onnx", make, frame=(3, 32))
    style, _, said = taken(path)
    assert style == "dense" and said.startswith("dense: cannot build ") and "(Conv)" in said
    assert len(said.splitlines()) == 1


def test_what_is_too_big_is_built_dense(monkeypatch, checkpoint):
    from build import boards, style

    board = boards.find_board("ZCU104")
    for kind, count in (("LUT", 4000), ("BRAM_18K", 10)):
        small = dataclasses.replace(board, resources=board.resources | {kind: count})
        monkeypatch.setattr(boards, "find_board", lambda _, small=small: small)
        source, choice = style.choose(checkpoint, "ZCU104")
        assert choice.style == "dense" and choice.clocks is None and source.checkpoint is not None
        assert choice.reason.startswith("even at 771 clocks a frame the network takes about ")
        assert "by an estimate; a dense build takes 1,024 clocks at best" in choice.reason
