"""FINN's RTL MVAU with one result a clock, which our patch keeps from losing some."""

import numpy as np
import pytest
from qonnx.custom_op.registry import getCustomOp

from models.errors import CheckFailed
from tests.build.hardware import generate
from tests.build.small_network import Builder


@pytest.fixture
def accelerator(tmp_path, monkeypatch):
    import finn.util.settings

    from build.simulation.stitch import stitch

    monkeypatch.setenv("FINN_BUILD_DIR", str(tmp_path))
    monkeypatch.setattr(finn.util.settings, "_SETTINGS", None)

    def make(inputs):
        builder = Builder((1, 64, 1, inputs), "INT6")
        weights = np.random.default_rng(0).integers(-7, 7, size=(inputs, 2))
        builder.add(
            "MVAU", (1, 64, 1, 2), "INT14", (weights, "INT4"), MW=inputs, MH=2, SIMD=1, PE=1,
            inputDataType="INT6", weightDataType="INT4", outputDataType="INT14",
            accDataType="INT14", noActivation=1, ActVal=0, binaryXnorMode=0,
            numInputVectors=[1, 64, 1],
        )  # fmt: skip

        def unfold(model):
            getCustomOp(model.graph.node[0]).set_nodeattr("SIMD", inputs)
            getCustomOp(model.graph.node[0]).set_nodeattr("PE", 2)

        return stitch(generate(builder.model(), fold=unfold)), weights

    return make


def frames(inputs):
    return np.random.default_rng(1).integers(-32, 31, size=(20, 64, 1, inputs))


@pytest.mark.parametrize("inputs", [pytest.param(4, marks=pytest.mark.slow), 3])
def test_a_fully_unfolded_mvau_loses_nothing_under_back_pressure(accelerator, inputs):
    from build.simulation.simulate import simulate

    stitched, weights = accelerator(inputs)
    batch = frames(inputs)
    for stall, burst in ((0.05, 200), (0.3, 30)):
        simulation = simulate(stitched, batch, stall=stall, burst=burst)
        (output,) = simulation.outputs.values()
        np.testing.assert_array_equal(output.reshape(batch.shape[:3] + (2,)), batch @ weights)


@pytest.mark.slow
@pytest.mark.parametrize("inputs", [4, 3])
def test_as_it_comes_finns_mvau_overflows(accelerator, inputs, monkeypatch):
    """When this fails, FINN has repaired its queue: drop mvu_vvu_axi.patch."""
    from build.rtl import patches
    from build.simulation.simulate import simulate

    kept = tuple(p for p in patches.patches() if p.file != "mvu/mvu_vvu_axi.sv")
    monkeypatch.setattr(patches, "patches", lambda: kept)
    stitched, _ = accelerator(inputs)
    with pytest.raises(CheckFailed, match="Overflowing output queue"):
        simulate(stitched, frames(inputs), stall=0.05, burst=200)
