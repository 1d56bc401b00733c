import ast
from graphlib import TopologicalSorter

import pytest

from models.config import CONFIGS, NetConfig, named_config
from models.errors import BadInput
from tests.conftest import ROOT


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_survives_its_plain_form(name):
    assert NetConfig.from_dict(CONFIGS[name].to_dict()) == CONFIGS[name]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"filters": (32, 32, 32, 32, 32, 40)}, "multiple of 3"),
        ({"filters": (33, 32)}, "takes 6 filter counts"),
        ({"filters": (33, 32, 0, 32, 32, 40)}, "must be positive"),
        ({"weight_bits": 1}, "between 2 and 16"),
        ({"family": "resnet"}, "unknown family"),
    ],
)
def test_impossible_configurations_are_refused(changes, message):
    with pytest.raises(BadInput, match=message):
        CONFIGS["aaronnet32"].changed(**changes)


def test_a_foreign_dictionary_is_refused():
    with pytest.raises(BadInput, match="not a network configuration"):
        NetConfig.from_dict({"filters": [1], "depth": 3})


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(BadInput, match="aaronnet48"):
        named_config("aaronnet64")


def test_models_import_each_other_in_one_direction():
    # Imports inside functions count: they hide a circle, they do not open it.
    edges = {}
    for path in (ROOT / "models").glob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        named = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        # `from models import x` names modules, too.
        named += [
            f"{node.module}.{alias.name}"
            for node in nodes
            if isinstance(node, ast.ImportFrom) and node.module == "models"
            for alias in node.names
        ]
        stages = {name.split(".")[0] for name in named}
        assert not stages & {"training", "build", "aaronnet"}, path
        assert all(n.startswith("deploy.board.") for n in named if n.startswith("deploy")), path
        edges[path.stem] = {n.split(".")[1] for n in named if n.startswith("models.")}
    TopologicalSorter(edges).prepare()  # raises CycleError
