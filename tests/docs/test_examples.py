"""The files that pages show by example are what the code reads and writes."""

import ast
import json
import re
from dataclasses import fields

from build.stimuli import Task, sample_frames
from deploy.board import package
from models.config import CONFIGS, NetConfig
from tests.conftest import ROOT


def example(page: str, language: str) -> str:
    """Return a page's first fenced block in a language."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[0]


def test_the_checkpoint():
    shown = ast.literal_eval(
        example("training.md", "python").replace(" ...}", "}").replace("{...}", "{}")
    )
    config = NetConfig.from_dict(shown["config"])
    assert config == CONFIGS[config.name]
    assert shown.keys() >= {"format", "config", "info", "state_dict"}


def test_the_manifest():
    shown = json.loads(example("build.md", "json"))
    assert shown["format"] == package.FORMAT
    assert shown.keys() == {field.name for field in fields(package._Manifest)}


def test_how_many_samples_a_package_has():
    samples, _ = sample_frames(Task(2, 1024, 24, -2, 2))
    page = " ".join((ROOT / "docs" / "build.md").read_text().split())
    assert f"{len(samples['X'])} frames (one of every modulation at every SNR)" in page
