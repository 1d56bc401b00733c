"""The other finalist's network: its published shape, trained, exported, counted and built."""

import numpy as np
import pytest
import torch

from models.bacalhaunet import BacalhauNet, Residual
from models.checkpoint import Checkpoint
from models.config import CONFIGS, NetConfig
from models.cost import inference_cost
from models.errors import BadInput
from models.export import to_qonnx
from tests.tiny import ready
from training.twin import Twin

SMALL = NetConfig("small-bacalhau", "bacalhaunet", (4, 4, 6, 6, 6), 0, 6, 6, 6)


def test_layers_are_the_published_ones():
    network = ready(CONFIGS["bacalhaunet"]).eval()
    assert isinstance(network, BacalhauNet)
    residual = [isinstance(layer, Residual) for layer in network.feats]
    assert residual == [False, True, False, True, False]
    depthwise = [m for m in network.modules() if getattr(m, "groups", 1) > 1]
    assert [m.kernel_size[0] for m in depthwise] == [27, 21, 15, 9, 9]
    assert [m.stride[0] for m in depthwise] == [2, 1, 2, 1, 2]


def test_its_twin_computes_the_same_and_trains():
    network = ready(SMALL)
    x = torch.randn(4, 2, 1024)
    with torch.inference_mode():
        assert torch.equal(network.eval()(x), Twin(network).eval()(x))
    Twin(network.train())(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_every_layer_counts_as_six_bits():
    cost = inference_cost(
        Checkpoint(ready(CONFIGS["bacalhaunet"]).eval(), CONFIGS["bacalhaunet"], {})
    )
    # The input's depthwise layer is of 6 bits too: no layer takes floats.
    assert all(layer.bit_ops == 36 * layer.macs for layer in cost.layers)
    weights = 54 + 48 + 504 + 576 + 360 + 1152 + 432 + 2304 + 432 + 2304 + 1152
    assert 0.97 * weights < cost.nonzero_weights <= weights


def test_exported_it_computes_the_same():
    from build.verify import graph_logits, network_logits

    network = ready(SMALL).eval()
    frames = np.random.default_rng(0).normal(0, 0.7, (8, 2, 1024)).astype(np.float32)
    exported = to_qonnx(Checkpoint(network, SMALL, {"data_label": "synthetic"}))
    expected = network_logits(network, frames)
    assert np.abs(graph_logits(exported, frames) - expected).max() < 1e-6 * np.abs(expected).max()


def test_hidden_dense_layers_are_refused():
    with pytest.raises(BadInput, match="no hidden dense layers"):
        NetConfig("x", "bacalhaunet", (4, 4, 6, 6, 6), 8, 6, 6, 6)


@pytest.mark.slow
def test_it_reaches_rtl_bit_by_bit(tmp_path):
    from build.finished import open_build
    from build.flow import build
    from build.simulation.against_network import simulate_build
    from build.stimuli import synthetic_frames

    config = CONFIGS["bacalhaunet"]
    made = Checkpoint(ready(config).eval(), config, {"data_label": "synthetic"})
    report = build(made, "ZCU104", tmp_path / "out", to="hdl").report
    assert list(report.hls_nodes) == []
    assert {(entry.mismatches, entry.frames) for entry in report.verification} == {(0, 104)}
    opened = open_build(tmp_path / "out")
    for stall in (0.0, 0.3):
        frames = synthetic_frames()[::26]
        facts = simulate_build(opened, frames, stall=stall, fast=True, per_node=True)
        assert facts.mismatches == 0 and not facts.differences
