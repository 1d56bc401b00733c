"""Windows and pooling at one sample a clock: executed before and after, and when they are used."""

import numpy as np
import pytest
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from torch import nn

from build.layout import graph_after
from tests.build.foreign import SMALL, conv, export, linear, quantized_input, relu

pytestmark = pytest.mark.usefixtures("finn")

LENGTH = SMALL[1]


def first(channels: int, kernel: int, ahead: tuple[nn.Module, ...] = (), **options):
    """Return a first layer over all samples, the pooling behind it, and a dense layer."""

    def layers() -> list[nn.Module]:
        dilation, pads = options.get("dilation", 1), 2 * options.get("padding", 0)
        length = LENGTH + 3 * bool(ahead) + pads - (kernel - 1) * dilation
        positions = -(-length // options.get("stride", 1))
        return [
            *(quantized_input(), *ahead, conv(3, channels, kernel, **options), relu()),
            *(nn.MaxPool1d(2), nn.Flatten(), linear(positions // 2 * channels, 5)),
        ]

    return layers


WINDOW, POOL = "PaddedWindow_rtl", "PositionMax_rtl"
FIRST = {
    "padded": (first(6, 3, padding=1), {WINDOW, POOL}),
    "dilated": (first(6, 3, padding=2, dilation=2), {WINDOW, POOL}),
    "strided": (first(6, 5, padding=2, stride=2), {WINDOW}),
    "two_sides": (first(6, 5, (nn.ConstantPad1d((1, 2), 0.0),)), {WINDOW, POOL}),
    "depthwise": (first(3, 3, padding=1, groups=3), {WINDOW, POOL}),
    "unpadded": (first(6, 5), {WINDOW}),
    "pointwise": (first(6, 1), {POOL}),
    "half_rate": (first(6, 2, stride=2), set()),
}
"""First layers over 32 samples, and what keeps their rate. Where few positions come to a pooling,
FINN's generator is quick enough; a stride that divides kernel and samples needs none."""


FAR = first(6, 3, padding=3)


@pytest.fixture(scope="module")
def specialized(tmp_path_factory):
    """Give the graph of a kind in front of the step, and the one behind the whole build."""
    from build.flow import build

    def graphs(name: str) -> tuple[ModelWrapper, ModelWrapper]:
        folder = tmp_path_factory.mktemp(name)
        layers = FAR if name == "far" else FIRST[name][0]
        made = build(export(folder / "m.onnx", layers, frame=SMALL), "ZCU104", folder / "o")
        before = ModelWrapper(str(graph_after(made.folder, "step_specialize_for_rtl")))
        return before, made.load()

    return graphs


@pytest.mark.parametrize("name", FIRST)
def test_the_kernels_compute_what_the_nodes_did(specialized, name):
    from build.execute import execute
    from build.steps.line_rate import PoolPositions, SlideWholeWindows

    before, built = specialized(name)
    frames = np.random.default_rng(0).integers(-32, 32, (40, LENGTH, 1, 3)).astype(np.float64)
    (expected,) = execute(before, frames).values()
    after = ModelWrapper(before.model, make_deepcopy=True)
    after = after.transform(SlideWholeWindows(LENGTH)).transform(PoolPositions(LENGTH))
    (found,) = execute(after, frames).values()
    assert len(np.unique(expected)) > 1
    assert np.array_equal(found, expected)
    kinds = {node.op_type for node in after.graph.node}
    assert kinds & {WINDOW, POOL} == FIRST[name][1]
    slowest = max(getCustomOp(node).get_exp_cycles() for node in built.graph.node)
    assert slowest <= LENGTH, "all of it fits ZCU104 at one sample a clock"


def test_windows_that_lie_in_the_padding_stay_finns(specialized):
    from build.steps.line_rate import SlideWholeWindows

    before, _ = specialized("far")
    after = ModelWrapper(before.model, make_deepcopy=True).transform(SlideWholeWindows(LENGTH))
    assert [n.op_type for n in after.graph.node] == [n.op_type for n in before.graph.node]


def test_the_kernels_execute_alone_as_in_the_flow(specialized):
    from finn.core.onnx_exec import execute_onnx

    from build.execute import execute

    _, built = specialized("padded")
    frames = np.random.default_rng(1).integers(-32, 32, (4, LENGTH, 1, 3)).astype(np.float32)
    (expected,) = execute(built, frames).values()
    for node in built.graph.node:
        getCustomOp(node).set_nodeattr("exec_mode", "cppsim")
    name = built.graph.output[0].name
    shape = built.get_tensor_shape(built.graph.input[0].name)
    given = built.graph.input[0].name
    found = [execute_onnx(built, {given: x.reshape(shape)})[name].item() for x in frames]
    assert found == expected.reshape(-1).tolist()


def test_slower_frames_keep_finns_nodes(specialized):
    from build.steps.line_rate import PoolPositions, SlideWholeWindows

    before, _ = specialized("padded")
    enough = 2 * LENGTH
    after = before.transform(SlideWholeWindows(enough)).transform(PoolPositions(enough))
    assert [n.op_type for n in after.graph.node] == [n.op_type for n in before.graph.node]
