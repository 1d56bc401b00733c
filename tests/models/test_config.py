import pytest

from models.config import CONFIGS, NetConfig, named_config
from models.errors import BadInput


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_survives_its_plain_form(name):
    assert NetConfig.from_dict(CONFIGS[name].to_dict()) == CONFIGS[name]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"filters": (32, 32, 32, 32, 32, 40)}, "multiple of 3"),
        ({"filters": (33, 32)}, "takes 6 filter counts"),
        ({"filters": (33, 32, 0, 32, 32, 40)}, "whole numbers from 1 to 1024"),
        ({"weight_bits": 1}, "between 2 and 16"),
        ({"family": "resnet"}, "unknown family"),
    ],
)
def test_impossible_configurations_are_refused(changes, message):
    with pytest.raises(BadInput, match=message):
        CONFIGS["aaronnet32"].changed(**changes)


def test_a_foreign_dictionary_is_refused():
    with pytest.raises(BadInput, match="no network configuration: 'depth' is unknown"):
        NetConfig.from_dict({"filters": [1], "depth": 3})


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(BadInput, match="aaronnet48"):
        named_config("aaronnet64")
