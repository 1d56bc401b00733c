"""The kernels as FINN ops: chosen for every board, same numbers as FINN's abstract ops."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from qonnx.core.datatype import DataType
from qonnx.custom_op.registry import getCustomOp

from tests.build.small_network import DOMAIN, frames, small_network

ZCU104, PYNQ_Z2 = "xczu7ev-ffvc1156-2-e", "xc7z020clg400-1"


@pytest.fixture(autouse=True)
def finn(tmp_path, monkeypatch):
    import finn.util.settings

    monkeypatch.setenv("FINN_BUILD_DIR", str(tmp_path / "finn"))
    (tmp_path / "finn").mkdir()
    monkeypatch.setattr(finn.util.settings, "_SETTINGS", None)


def execute(model, batch):
    from finn.core.onnx_exec import execute_onnx

    for node in model.graph.node:
        getCustomOp(node).set_nodeattr("exec_mode", "cppsim")
    name = model.graph.output[0].name
    return np.array([execute_onnx(model, {"frame": frame})[name] for frame in batch])


def fold(model):
    """Give the nodes a folding that exercises PE and SIMD."""
    for node in model.graph.node:
        op = getCustomOp(node)
        kind = node.op_type.removesuffix("_rtl").removesuffix("_hls")
        if kind in ("VVAU", "Pool"):
            op.set_nodeattr("PE", 2)
        if kind == "ConvolutionInputGenerator" and op.get_nodeattr("depthwise"):
            op.set_nodeattr("SIMD", 2)
    return model


@pytest.mark.parametrize("part", [ZCU104, PYNQ_Z2])
def test_no_node_stays_hls_and_no_number_changes(part):
    from build.rtl.specialize import RTL_DOMAIN, SpecializeForRTL, hls_nodes

    abstract = small_network(label_select=False)
    batch = frames(3)
    expected = execute(abstract, batch)
    assert len(np.unique(expected)) > 6, "the network should not be constant"
    model = fold(abstract.transform(SpecializeForRTL(part)))
    assert [node.domain for node in model.graph.node] == [RTL_DOMAIN] * len(abstract.graph.node)
    assert hls_nodes(model) == {}
    np.testing.assert_array_equal(execute(model, batch), expected)


def test_hls_nodes_become_kernels_and_keep_their_folding():
    from build.rtl.specialize import HLS_DOMAIN, UseKernels

    model = small_network()
    for node in model.graph.node:  # as SpecializeLayers leaves them without our kernels
        if node.op_type in ("VVAU", "Pool", "LabelSelect"):
            node.op_type, node.domain = f"{node.op_type}_hls", HLS_DOMAIN
    model = fold(model).transform(UseKernels())
    chosen = {n.op_type: getCustomOp(n) for n in model.graph.node if n.op_type.endswith("_rtl")}
    assert set(chosen) == {"VVAU_rtl", "Pool_rtl", "LabelSelect_rtl", "ChannelAdd_rtl"}
    assert chosen["VVAU_rtl"].get_nodeattr("PE") == 2
    assert chosen["Pool_rtl"].get_nodeattr("PE") == 2


def test_nodes_beyond_a_kernel_stay_hls_and_say_why():
    from build.rtl.specialize import SpecializeForRTL, hls_nodes

    model = small_network()
    changed = {"Pool": ("Function", "AccPool"), "LabelSelect": ("K", 2)}
    for node in model.graph.node:
        if node.op_type in changed:
            getCustomOp(node).set_nodeattr(*changed[node.op_type])
        if node.op_type == "VVAU":
            getCustomOp(node).set_nodeattr("mem_mode", "external")
    left = hls_nodes(model.transform(SpecializeForRTL(ZCU104)))
    reasons = " / ".join(left.values())
    assert len(left) == 4  # two pools
    for words in ("AccPool", "2 best", "external"):
        assert words in reasons


@pytest.mark.parametrize(
    ("part", "low", "expected"),
    [(ZCU104, -8, "INT4"), (PYNQ_Z2, -8, "INT5"), (PYNQ_Z2, -7, "INT4"), (ZCU104, 0, "INT5")],
)
def test_mvau_weights_are_widened_only_where_rtl_needs_it(part, low, expected):
    from build.rtl.specialize import AdaptWeights

    model = small_network()
    node = next(n for n in model.graph.node if n.op_type == "MVAU")
    weights = np.clip(model.get_initializer(node.input[1]), low, 7)
    weights[0, 0] = low
    model.set_initializer(node.input[1], weights)
    datatype = "INT4" if low < 0 else "UINT4"
    getCustomOp(node).set_nodeattr("weightDataType", datatype)
    model.set_tensor_datatype(node.input[1], DataType[datatype])
    model = model.transform(AdaptWeights(part))
    node = next(n for n in model.graph.node if n.op_type == "MVAU")
    assert getCustomOp(node).get_nodeattr("weightDataType") == expected
    assert model.get_tensor_datatype(node.input[1]).name == expected


@pytest.mark.parametrize("kind", ["MVAU", "VVAU"])
def test_weights_of_minus_one_alone_are_integers(kind):
    from build.execute import trace
    from build.rtl.specialize import SpecializeForRTL, hls_nodes

    model = small_network()
    node = next(n for n in model.graph.node if n.op_type == kind)
    model.set_initializer(node.input[1], -np.ones_like(model.get_initializer(node.input[1])))
    *_, (_, wanted) = trace(model, frames(3))
    # As FINN's minimizing of bit widths has it.
    getCustomOp(node).set_nodeattr("weightDataType", "BIPOLAR")
    model.set_tensor_datatype(node.input[1], DataType["BIPOLAR"])
    model = model.transform(SpecializeForRTL(ZCU104))
    assert hls_nodes(model) == {}
    node = next(n for n in model.graph.node if n.op_type == f"{kind}_rtl")
    assert getCustomOp(node).get_nodeattr("weightDataType") == "INT2"
    assert model.get_tensor_datatype(node.input[1]).name == "INT2"
    *_, (_, found) = trace(model, frames(3))
    np.testing.assert_array_equal(found, wanted)


def test_accumulators_hold_any_product_of_their_types():
    from finn.transformation.fpgadataflow.minimize_accumulator_width import (
        MinimizeAccumulatorWidth,
    )
    from qonnx.transformation.infer_datatypes import InferDataTypes

    from build.execute import trace
    from build.rtl.specialize import SpecializeForRTL, WidenAccumulators

    model = small_network().transform(SpecializeForRTL(ZCU104))
    node = next(n for n in model.graph.node if n.op_type == "MVAU_rtl")
    # FINN's minimizing leaves an accumulator of few bits for weights that are small.
    weights = np.zeros_like(model.get_initializer(node.input[1]))
    weights[0] = 1
    model.set_initializer(node.input[1], weights)
    model = model.transform(MinimizeAccumulatorWidth()).transform(InferDataTypes())
    wanted = list(trace(model, frames(3)))
    model = model.transform(WidenAccumulators())
    for node in model.graph.node:
        if node.op_type == "MVAU_rtl":
            op = getCustomOp(node)
            activations, kind = op.get_input_datatype(0), op.get_input_datatype(1)
            least = kind.bitwidth() + activations.bitwidth() - activations.signed()
            assert op.get_output_datatype().bitwidth() >= least
            assert model.get_tensor_datatype(node.output[0]) == op.get_output_datatype()
            (behind,) = model.find_direct_successors(node)
            assert getCustomOp(behind).get_input_datatype(0) == op.get_output_datatype()
    for before, after in zip(wanted, trace(model, frames(3)), strict=True):
        np.testing.assert_array_equal(before[1], after[1])


def test_depthwise_memory_has_the_weight_of_every_channel_and_tap(tmp_path):
    from build.rtl.specialize import SpecializeForRTL

    model = small_network().transform(SpecializeForRTL(ZCU104))
    node = next(n for n in model.graph.node if n.op_type == "VVAU_rtl")
    op = getCustomOp(node)
    weights = model.get_initializer(node.input[1])[:, 0, :, 0]  # channels, taps
    op.set_nodeattr("code_gen_dir_ipgen", str(tmp_path))
    for pe, simd in ((1, 1), (2, 1), (4, 3)):
        op.set_nodeattr("PE", pe)
        op.set_nodeattr("SIMD", simd)
        memory = op.constants(model).reshape(4 // pe, 3 // simd, pe, simd)
        for channel in range(4):
            for tap in range(3):
                found = memory[channel // pe, tap // simd, channel % pe, tap % simd]
                assert found == weights[channel, tap]


def test_estimates_come_from_the_kernels():
    from build.rtl.specialize import SpecializeForRTL

    model = fold(small_network().transform(SpecializeForRTL(ZCU104)))
    for node in model.graph.node:
        if node.op_type in ("VVAU_rtl", "Pool_rtl", "LabelSelect_rtl", "ChannelAdd_rtl"):
            op = getCustomOp(node)
            assert op.get_exp_cycles() == op.kernel().cycles()
            assert op.lut_estimation(ZCU104) > 0
    vvau = getCustomOp(next(n for n in model.graph.node if n.op_type == "VVAU_rtl"))
    assert vvau.node_res_estimation(ZCU104)["DSP"] == 2


def test_width_converters_are_ours(tmp_path):
    from build.rtl.ops import StreamingDataWidthConverter_rtl
    from build.rtl.specialize import UseKernels

    model = small_network()
    node = model.graph.node[0]
    converter = helper.make_node(
        "StreamingDataWidthConverter", ["frame"], ["wide"], domain=DOMAIN, backend="fpgadataflow",
        inShape=[1, 16, 1, 2], outShape=[1, 16, 1, 2], inWidth=12, outWidth=6, dataType="INT6",
    )  # fmt: skip
    node.input[0] = "wide"
    model.graph.node.insert(0, converter)
    model = model.transform(UseKernels())
    op = getCustomOp(model.graph.node[0])
    assert isinstance(op, StreamingDataWidthConverter_rtl)
    assert op.get_exp_cycles() == 32
    op.set_nodeattr("code_gen_dir_ipgen", str(tmp_path))
    op.generate_hdl(model, ZCU104, 4.0)
    for file in op.get_rtl_file_list(abspath=True):
        assert Path(file).parent == tmp_path and Path(file).read_text()
