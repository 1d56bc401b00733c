"""docs/dependencies.md lists what is really installed, in the versions that are pinned."""

import re
import tomllib

from tests.conftest import ROOT


def listed(sections: set[str]) -> dict[str, str]:
    """Return library -> version of the tables under these headings."""
    found, heading = {}, ""
    for line in (ROOT / "docs" / "dependencies.md").read_text().splitlines():
        heading = line[3:] if line.startswith("## ") else heading
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if heading in sections and line.startswith("|") and cells[1][:1].isdigit():
            assert all(cells) and len(cells) == 5, line
            found[key(cells[0])] = cells[1]
    return found


def pinned(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text().splitlines()
    return {key(name): version for name, _, version in (line.partition("==") for line in lines)}


def key(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def test_every_dependency_is_listed_with_its_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    names = {key(name) for group in (project["dependencies"], *extras) for name in group}
    versions = pinned("constraints.txt")
    expected = {name: versions[name] for name in names}
    assert listed({"Toolchain", "Tests", "Notebooks"}) == expected


def test_what_the_boards_environment_installs_is_listed():
    recipe = re.search(
        r"pip install .*-c constraints-board.txt (.+)", (ROOT / "Makefile").read_text()
    )
    versions = pinned("constraints-board.txt")
    assert listed({"Board"}) == {name: versions[name] for name in map(key, recipe[1].split())}
