"""The integer network against the network that it was made from."""

import numpy as np
import pytest

from build.stimuli import synthetic_frames
from models import zoo
from models.errors import BadInput
from tests.build.small_aaronnet import frames_for, mixed_checkpoint, small_checkpoint
from tests.build.sparse.test_passes import assert_same

pytestmark = pytest.mark.usefixtures("finn")


def assert_lifted(given, frames):
    """Every quantizer's values and the classes are the network's; folding keeps them."""
    from build.source import open_source
    from build.sparse.fold import fold
    from build.sparse.from_graph import network_of
    from build.sparse.network import Requantize
    from build.verify import classes_of, network_logits, observe

    source = open_source(given)
    network = network_of(source.model)
    observed = observe(source.model, frames)
    integers = network.quantize(frames)
    traced = list(network.trace(integers))
    quantizers = [(layer, x) for layer, x in traced if isinstance(layer, Requantize)]
    for (layer, x), levels in zip(quantizers, observed.levels, strict=True):
        lowest = x.min() - levels.min()
        np.testing.assert_array_equal(x - lowest, levels, layer.name)
    scores = traced[-2][1][:, :, 0]
    logits = network_logits(source.network, frames)
    step = np.abs(logits).max() / np.abs(scores).max()
    np.testing.assert_allclose(scores * step, logits, atol=np.abs(logits).max() * 1e-5)
    np.testing.assert_array_equal(network.classes(integers), classes_of(logits))
    assert_same(network, fold(network), integers)


@pytest.mark.parametrize("name", ["aaronnet32++-hw8", "aaronnet32++-hw6"])
def test_the_zoos_networks_are_lifted_exactly(name):
    assert_lifted(str(zoo.find(name)), synthetic_frames()[::4])


def test_a_random_network_is_lifted_exactly():
    assert_lifted(small_checkpoint(), frames_for(26))


@pytest.mark.parametrize("narrow", [True, False])
def test_bits_by_layer_and_steps_by_channel_are_lifted_exactly(narrow):
    assert_lifted(mixed_checkpoint(narrow), frames_for(26))


def test_a_graph_without_quantized_input_is_refused():
    from build.source import open_source
    from build.sparse.from_graph import network_of

    model = open_source(small_checkpoint()).model
    quantizer = model.find_consumer(model.graph.input[0].name)
    model.find_consumer(quantizer.output[0]).input[0] = model.graph.input[0].name
    model.graph.node.remove(quantizer)
    with pytest.raises(BadInput, match="quantize the input"):
        network_of(model)
