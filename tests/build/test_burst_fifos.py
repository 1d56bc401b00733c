"""FIFOs in front of nodes that pause: which, how deep, and that a build then keeps its pace."""

import pytest
from onnx import helper
from qonnx.custom_op.registry import getCustomOp
from torch import nn

from tests.build.foreign import SMALL, conv, export, linear, quantized_input, relu
from tests.build.small_network import DOMAIN

pytestmark = pytest.mark.usefixtures("finn")


def operator(kind: str, **attributes):
    made = helper.make_node(kind, ["x"], ["y"], domain=DOMAIN, backend="fpgadataflow", **attributes)
    return getCustomOp(made)


def matrix_unit(**folding: int):
    types = {"inputDataType": "INT4", "weightDataType": "INT4", "outputDataType": "INT16"}
    return operator("MVAU", MW=96, MH=32, noActivation=1, **types, **folding)


def padding(simd: int):
    types = {"inputDataType": "INT4", "ImgDim": [16, 1], "Padding": [1, 0, 2, 0]}
    return operator("FMPadding", NumChannels=8, SIMD=simd, **types)


@pytest.mark.parametrize(
    ("node", "period", "depth"),
    [
        (lambda: matrix_unit(PE=8, SIMD=12), 1024, 8),  # a vector
        (lambda: matrix_unit(PE=32, SIMD=12), 1024, 0),  # reads all the time
        (lambda: padding(1), 256, 12),  # 24 of 256 clocks, 128 words a frame
        (lambda: padding(8), 256, 1),
    ],
)
def test_a_fifo_holds_what_comes_while_a_node_does_not_read(node, period, depth):
    from build.steps.burst_fifos import waiting_words

    assert waiting_words(node(), period) == depth


def test_only_depths_of_those_in_front_of_pauses_change(tmp_path):
    from build.flow import build
    from build.steps.burst_fifos import HELD

    def network():
        return [
            *(quantized_input(), conv(3, 8, 3, padding=1), relu(), conv(8, 8, 3), relu()),
            *(nn.MaxPool1d(5), nn.Flatten(), linear(48, 16), relu(), linear(16, 5)),
        ]

    path = export(tmp_path / "m.onnx", network, frame=SMALL)
    model = build(path, "ZCU104", tmp_path / "out", to="hdl").load()
    deep = {}
    for node in model.get_nodes_by_op_type("StreamingFIFO_rtl"):
        depth = getCustomOp(node).get_nodeattr("depth")
        consumer = model.find_consumer(node.output[0])
        if depth > 2:
            deep[consumer.op_type] = max(depth, deep.get(consumer.op_type, 0))
    assert "MVAU_rtl" in deep
    assert set(deep) <= {"MVAU_rtl", "FMPadding_rtl", "ConvolutionInputGenerator_rtl"}
    assert min(deep.values()) > HELD
