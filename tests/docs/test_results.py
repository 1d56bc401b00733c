"""The page of results says what the zoo's cards and the measured facts say."""

import importlib.util
import json
from types import ModuleType

import pytest

from models import zoo
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def results() -> ModuleType:
    spec = importlib.util.spec_from_file_location("results", ROOT / "docs" / "results.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_its_facts_render_to(results: ModuleType) -> None:
    facts = json.loads(results.FACTS.read_text())
    assert results.PAGE.read_text() == results.render(zoo.entries(), facts), "run: make results"


def test_the_facts_are_of_the_checkpoints_that_are_there(results: ModuleType) -> None:
    digests = {entry.name: entry.card["sha256"] for entry in zoo.entries()}
    measured = json.loads(results.FACTS.read_text())["accelerators"]
    wanted = {(name, board) for name in results.NETWORKS for board in results.BOARDS}
    assert {(one["network"], one["board"]) for one in measured} == wanted
    for one in measured:
        assert one["sha256"] == digests[one["network"]], "run: make results"


def test_the_frontier_has_everybody_once_and_by_data(results: ModuleType) -> None:
    facts = json.loads(results.FACTS.read_text())
    groups = list(results.frontier(zoo.entries(), facts).values())
    names = [[name for name, _, _ in points] for points in groups]
    assert names[0] == [entry.name for entry in zoo.entries()]
    assert len(names[2]) == len(set(names[2])) and "Feedback-Magnitude-Pruning" in names[2]
    assert results.FRONTIER.read_bytes().startswith(b"\x89PNG")
    rows = "\n".join(results.frontier_table(results.frontier(zoo.entries(), facts)))
    assert "Team Velocity" not in rows  # others are cheaper and better
    assert "| AaronNet128 | 0.5563 | 62.6 %" in rows
