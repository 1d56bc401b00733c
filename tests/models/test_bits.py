"""Bits by kind and by layer: what a user may say, and what becomes of it."""

import json

import pytest
import torch

from models import checkpoint as checkpoints
from models.bits import read_bits
from models.config import CONFIGS, NetConfig
from models.cost import inference_cost
from models.errors import BadInput
from models.networks import build_network
from models.quantizers import bits_of
from tests.tiny import TINY, ready

FILE = """
input: 4
weights: 4
relus: 5
blocks: 6
scale: channel
steps: learned
layers:
  "feats.*.block.0": 6
  feats.3.block.0: 3
  classifier.1.5: 8
"""


def bits(tmp_path, text: str, config: NetConfig = TINY):
    path = tmp_path / "bits.yaml"
    path.write_text(text)
    return read_bits(str(path), config).of(config)


def test_a_file_says_bits_by_kind_and_layer(tmp_path):
    config = bits(tmp_path, FILE)
    assert (config.input_bits, config.act_bits, config.block_bits) == (4, 5, 6)
    network = build_network(config)
    found = {name: bits_of(layer) for name, layer in network.named_modules() if name in LAYERS}
    assert found == LAYERS
    assert NetConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


LAYERS = {
    "expand.0": 4, "expand.2": 5, "expand.5": 6, "feats.0.block.0": 6, "feats.3.block.0": 3,
    "feats.3.block.3": 4, "classifier.1.2": 5, "classifier.1.5": 8, "classifier.1.6": 4,
}  # fmt: skip


def test_a_number_says_them_all():
    config = read_bits("3", TINY).of(TINY)
    assert (config.input_bits, config.weight_bits, config.act_bits, config.block_bits) == (3,) * 4
    assert config.layer_bits == () and config.weight_scale == "tensor"
    vgg = CONFIGS["vgg10"]
    assert read_bits("3", vgg).of(vgg).block_bits is None


def test_new_bits_leave_nothing_of_former_ones_by_layer(tmp_path):
    config = TINY.changed(layer_bits={"classifier.2": 3})
    assert read_bits("4", config).of(config).layer_bits == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("weights: 1", "weights: Input should be greater than or equal to 2"),
        ("weights: 17", "weights: Input should be less than or equal to 16"),
        ("weights: 4.5", "weights: Input should be a valid integer"),
        ("weight: 4", "weight: Extra inputs are not permitted"),
        ("scale: row", "scale: Input should be 'tensor' or 'channel'"),
        ("layers: {feats.9.block.0: 4}", "has no layer 'feats.9.block.0'"),
        ("layers: [4]", "layers: Input should be a valid dictionary"),
        ("narrow: false", "need learned steps"),
        ("[", "cannot be read"),
        ("4: 4", "4"),
        ("- 4", "Input should be a valid dictionary"),
        ("", "Input should be a valid dictionary"),
    ],
)
def test_other_words_are_refused_in_a_line(text, told, tmp_path):
    with pytest.raises(BadInput, match=".+") as error:
        bits(tmp_path, text)
    assert told in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["1", "99", "four", "-4", "", "nowhere.yaml"])
def test_what_is_no_number_of_bits_is_a_file(text):
    with pytest.raises(BadInput):
        read_bits(text, TINY)


def test_vgg10_has_no_blocks(tmp_path):
    with pytest.raises(BadInput, match="has no blocks"):
        bits(tmp_path, "blocks: 4", CONFIGS["vgg10"])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"layer_bits": {"classifier.2": 1}}, "between 2 and 16"),
        ({"layer_bits": 4}, "maps layers to bits"),
        ({"layer_bits": {4: 4}}, "names of layers"),
        ({"weight_scale": "row"}, "'row' is not tensor or channel"),
        ({"weight_steps": "fixed"}, "'fixed' is not largest or learned"),
        ({"narrow": 1}, "true or false"),
        ({"narrow": False}, "need learned steps"),
    ],
)
def test_impossible_bits_are_refused(changes, told):
    with pytest.raises(BadInput, match=told):
        NetConfig.from_dict({**TINY.to_dict(), **changes})


def test_published_configurations_look_as_before():
    assert set(TINY.to_dict()) == {
        *("name", "family", "filters", "dense", "input_bits", "weight_bits", "act_bits"),
        "block_bits",
    }


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(BadInput, match="has no layer 'expand.0'"):  # the hardware form has
        build_network(TINY.changed(layer_bits={"expand.0": 4}))


def test_a_checkpoint_keeps_its_bits_and_steps(tmp_path):
    config = TINY.changed(
        weight_steps="learned", weight_scale="channel", layer_bits={"feats.0.block.0": 3}
    )
    network = ready(config).eval()
    checkpoints.save(tmp_path / "a.pth", network, config, {})
    loaded = checkpoints.load(tmp_path / "a.pth")
    frames = torch.randn(4, 2, 1024)
    assert loaded.config == config
    assert torch.equal(loaded.network(frames), network(frames))
    layers = {layer.name: layer for layer in inference_cost(loaded).layers}
    wide, narrow = layers["feats.1.block.0.Conv"], layers["feats.0.block.0.Conv"]
    assert wide.weight_bits / wide.nonzero_weights == 6
    assert narrow.weight_bits / narrow.nonzero_weights == 3
