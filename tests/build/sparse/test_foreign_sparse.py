"""Somebody else's networks as sparse hardware: known layers are built, the others named."""

import numpy as np
import pytest

from models.errors import BadInput
from tests.build.foreign import KINDS, SMALL, export_kind, some_frames
from tests.build.sparse.test_assemble import simulated

pytestmark = pytest.mark.usefixtures("finn")

QUICK = ("kernel_7", "dense_layers", "bipolar_activations", "mean_of_33", "quantized_scores")
KNOWN = {
    *QUICK,
    *("per_channel", "float_bias", "scaled_bias", "pointwise", "hard_tanh", "narrow", "two_bits"),
    *("eight_bits", "bipolar_weights", "two_quantizers", "float_relu", "convolved_scores"),
    *("one_row", "truncated_mean"),
}
UNKNOWN = {
    "per_channel_scores": r"factors \(Mul\): .*need one step for all classes",
    "groups": r"/4/Conv \(Conv\): .* padded by one, at stride 1, not 3 padded by 0",
    "stride_beyond_kernel": r"/1/Conv \(Conv\): .*whole multiples of the stride 3",
    "dense_first": r"/2/Gemm .*: sparse hardware starts with a convolution",
    "pools_with_gaps": r"/4/MaxPool \(MaxPool\): .*windows side by side",
    "norm_behind_pooling": r"/1/Conv \(Conv\): .*quantizer behind a convolution",
}


def lifted(name, folder):
    """A kind's source and its integer network."""
    from build.source import open_source
    from build.sparse.from_graph import network_of

    source = open_source(export_kind(name, folder / f"{name}.onnx"), integers=True)
    return source, network_of(source.model)


def assert_exact(name, folder):
    """Every phase computes what the file does; the network as folded, and frames for it."""
    from build.sparse.assemble import compile_network
    from build.sparse.compose import compose
    from build.sparse.fold import fold
    from build.sparse.phases import check_composed, check_constants, check_folded, check_lifted

    source, network = lifted(name, folder)
    frames = some_frames(26, SMALL)
    integers = network.quantize(frames)
    folded = fold(network)
    composed = fold(compose(folded))
    check_lifted(network, source, frames)
    check_folded(network, folded, integers)
    check_composed(folded, composed, integers)
    check_constants(composed, integers, compile_network(composed).clocks)
    assert len(set(network.classes(integers).tolist())) > 1
    return composed, integers


@pytest.mark.parametrize("name", QUICK)
def test_known_layers_are_lifted_exactly(name, tmp_path):
    assert_exact(name, tmp_path)


@pytest.mark.parametrize("name", UNKNOWN)
def test_others_are_refused_by_node_and_operator(name, tmp_path):
    with pytest.raises(BadInput, match=UNKNOWN[name]) as raised:
        lifted(name, tmp_path)
    assert "\n" not in str(raised.value)


def test_a_refused_network_leaves_no_folder(tmp_path):
    from build.sparse.sparse_build import build_sparse

    path = export_kind("groups", tmp_path / "groups.onnx")
    with pytest.raises(BadInput, match="/4/Conv"):
        build_sparse(path, "ZCU104", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def assert_simulated(network, frames, **settings):
    made, simulation, wrong = simulated(network, frames, **settings)
    assert len(wrong) > 1 and set(wrong.values()) == {0}
    np.testing.assert_array_equal(
        simulation.outputs["classes"].reshape(-1), network.classes(frames)
    )
    return made, simulation


def test_gathered_positions_are_simulated_bit_for_bit(tmp_path):
    """The dense layer behind takes all positions at once, with stalls too."""
    network, frames = assert_exact("dense_layers", tmp_path)
    made, simulation = assert_simulated(network, frames)
    assert simulation.cycles_per_frame == made.clocks == 33
    assert simulation.latency_cycles == made.latency
    assert_simulated(network, frames, stall=0.2, burst=20, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_simulated_or_refused(name, tmp_path):
    if name not in KNOWN:
        with pytest.raises(BadInput, match="cannot build|--style dense"):
            lifted(name, tmp_path)
        return
    network, frames = assert_exact(name, tmp_path)
    assert_simulated(network, frames)
    assert_simulated(network, frames, stall=0.2, burst=20, seed=1)
