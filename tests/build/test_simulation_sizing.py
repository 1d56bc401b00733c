"""FIFO depths from simulation, and FINN's own RTL simulation through our simulator."""

import numpy as np
import pytest
from qonnx.custom_op.registry import getCustomOp

from tests.build.hardware import fold, generate
from tests.build.small_network import frames, small_network


@pytest.fixture
def model(tmp_path, monkeypatch):
    import finn.util.settings

    monkeypatch.setenv("FINN_BUILD_DIR", str(tmp_path))
    monkeypatch.setattr(finn.util.settings, "_SETTINGS", None)
    return generate(small_network(label_select=False), fold=fold)


@pytest.mark.slow
def test_depths_keep_the_pace_of_endless_fifos(model):
    from build.simulation.simulate import simulate
    from build.simulation.sizing import size_fifos, with_sized_fifos
    from build.simulation.stitch import stitch

    accelerator = stitch(model)
    batch = frames(8)
    sizing = size_fifos(accelerator, batch)
    assert set(sizing.depths) == set(accelerator.fifos)
    assert sizing.cycles_endless <= sizing.cycles <= 1.01 * sizing.cycles_endless
    assert sizing.cycles <= sizing.cycles_least
    assert all(depth >= 2 for depth in sizing.depths.values())
    assert sizing.config()["StreamingFIFO_rtl_0"] == {"depth": sizing.depths["StreamingFIFO_rtl_0"]}
    # The stand-in at five words behaves as FINN's FIFO at its least depth.
    sized, limits = with_sized_fifos(accelerator)
    files = {f"{name}.depth": b"5\n" for name in limits}
    sized.files.update(files)
    ours, finns = simulate(sized, batch, processes=1), simulate(accelerator, batch, processes=1)
    assert ours.cycles_per_frame == finns.cycles_per_frame == sizing.cycles_least
    assert ours.latency_cycles == finns.latency_cycles
    assert ours.fifos == finns.fifos


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["VVAU_rtl_0", "MVAU_rtl_0", "Thresholding_rtl_0", "ConvolutionInputGenerator_rtl_1",
     "StreamingDataWidthConverter_rtl_0", "ChannelAdd_rtl_0"],
)  # fmt: skip
def test_finns_rtl_simulation_runs_without_vivado(model, name, monkeypatch):
    import finn.xsi
    from finn.core.onnx_exec import execute_onnx

    from build.simulation import finn_xsi

    for function in finn.xsi._LAZY_NAMES:
        monkeypatch.setattr(finn.xsi, function, None, raising=False)
    finn_xsi.bind()
    for node in model.graph.node:
        getCustomOp(node).set_nodeattr("exec_mode", "cppsim")
    context = execute_onnx(model, {"frame": frames(1)[0]}, return_full_exec_context=True)
    node = model.get_node_from_name(name)
    op, output = getCustomOp(node), node.output[0]
    expected = context[output]
    op.prepare_rtlsim(False)
    op.set_nodeattr("exec_mode", "rtlsim")
    context[output] = np.zeros_like(expected)
    op.execute_node(context, model.graph)
    np.testing.assert_array_equal(context[output], expected)
    assert op.get_nodeattr("cycles_rtlsim") >= op.get_exp_cycles() - 1
