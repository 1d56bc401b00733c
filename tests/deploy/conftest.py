"""Fixtures of the deployment tests."""

import pytest

from deploy.board.package import Package
from deploy.virtual_board.overlay import write_overlay
from tests.deploy.packages import make_package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """A small package with the virtual board's overlay; copy it to change it."""
    made = make_package(tmp_path_factory.mktemp("toy") / "package")
    write_overlay(made)
    return made
