"""Every command that reads ONNX refuses malformed files."""

import pytest

from tests.campaign.harness import copy, refuse
from tests.campaign.models import MALFORMED

FOR_BUILD = ("missing", "cut in half", "text", "no weights", "a dynamic batch", "NaN weight")


@pytest.mark.parametrize("kind", MALFORMED)
def test_cost(base, command, kind):
    copy(base, ("hard.onnx",), command.folder)
    bad = (command.folder / "hard.onnx").rename(command.folder / "bad.onnx")
    MALFORMED[kind](bad)
    culprit = "aaronnet.config" if kind.startswith("config") else "bad.onnx"
    refuse(command, "cost bad.onnx --json out/cost.json", culprit)


@pytest.mark.parametrize("kind", FOR_BUILD)
def test_build(base, command, kind):
    copy(base, ("hard.onnx",), command.folder)
    bad = (command.folder / "hard.onnx").rename(command.folder / "bad.onnx")
    MALFORMED[kind](bad)
    refuse(command, "build bad.onnx -o out", "bad.onnx")
