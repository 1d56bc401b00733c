"""Records of JSON files: a field of two types takes either, and no third."""

from dataclasses import dataclass

import pytest

from deploy.board.records import record, to_json


@dataclass(frozen=True)
class Recipe:
    version: int | str
    seed: int | None = None


@pytest.mark.parametrize("version", [2, "2016.10a"])
def test_a_field_of_two_types_comes_back(version):
    made = Recipe(version, 7)
    assert record(Recipe, to_json(made)) == made


@pytest.mark.parametrize("version", [None, 2.5, True, [2]])
def test_a_third_type_is_told(version):
    with pytest.raises(ValueError, match="version is .* expected a whole number"):
        record(Recipe, {"version": version})


def test_none_is_taken_where_it_is_named():
    assert record(Recipe, {"version": 1, "seed": None}) == Recipe(1)
