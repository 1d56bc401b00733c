"""The fast matrix-vector core against FINN's: same results in the same clock cycles."""

import numpy as np
import pytest
from qonnx.custom_op.registry import getCustomOp

from build.simulation.verilate import Collect, Feed, build, run
from tests.build.hardware import generate
from tests.build.small_network import Builder


@pytest.fixture
def make(tmp_path, monkeypatch):
    import finn.util.settings

    monkeypatch.setenv("FINN_BUILD_DIR", str(tmp_path))
    monkeypatch.setattr(finn.util.settings, "_SETTINGS", None)

    def chain(fast):
        from build.simulation.stitch import stitch

        rng = np.random.default_rng(0)
        builder = Builder((1, 12, 1, 6), "INT6")
        shapes = [(6, 4, "INT6", "INT10"), (4, 6, "INT10", "INT13"), (6, 2, "INT13", "INT17")]
        for inputs, outputs, taken, given in shapes:
            weights = rng.integers(-1, 1, size=(inputs, outputs), endpoint=True)
            builder.add(
                "MVAU", (1, 12, 1, outputs), given, (weights, "INT2"), MW=inputs, MH=outputs,
                SIMD=1, PE=1, inputDataType=taken, weightDataType="INT2", outputDataType=given,
                accDataType=given, noActivation=1, ActVal=0, binaryXnorMode=0,
                numInputVectors=[1, 12, 1],
            )  # fmt: skip

        def fold(model):
            nodes = [n for n in model.graph.node if n.op_type == "MVAU_rtl"]
            for node, (simd, pe) in zip(nodes, [(3, 2), (1, 6), (6, 1)], strict=True):
                getCustomOp(node).set_nodeattr("SIMD", simd)
                getCustomOp(node).set_nodeattr("PE", pe)

        return stitch(generate(builder.model(), fold=fold), fast=fast)

    return chain


@pytest.mark.slow
def test_fast_model_has_finns_results_and_cycles(make):
    frames = np.random.default_rng(1).integers(-32, 31, size=(20, 12, 1, 6), endpoint=True)
    runs = []
    for fast in (False, True):
        accelerator = make(fast)
        assert ("Stand-in" in accelerator.design.sources["mvu.sv"]) == fast
        (source,), (sink,) = accelerator.inputs, accelerator.outputs
        data = source.stream.pack(source.to_words(frames))
        for stall, burst in ((0.0, 1), (0.3, 9), (0.05, 200)):
            result = run(
                build(accelerator.design),
                {source.name: Feed(data, stall, burst)},
                {sink.name: Collect(20 * sink.words, stall, burst)},
                widths={sink.name: sink.stream.width},
                files=accelerator.files,
            )
            assert result.failure == ""
            runs.append((result.data[sink.name], result.arrivals[sink.name]))
    half = len(runs) // 2
    for (data, arrivals), (fast_data, fast_arrivals) in zip(runs[:half], runs[half:], strict=True):
        np.testing.assert_array_equal(data, fast_data)
        np.testing.assert_array_equal(arrivals, fast_arrivals)
    assert not np.array_equal(runs[0][1], runs[1][1]), "stalls should move the results"
