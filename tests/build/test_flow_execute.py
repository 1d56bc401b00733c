"""Our batched execution against FINN's own, frame by frame, on the graphs of every step."""

import numpy as np
import pytest
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from build.layout import graph_after
from models.errors import BadInput
from models.export import to_qonnx
from tests.build.small_aaronnet import frames_for, small_checkpoint

pytestmark = pytest.mark.usefixtures("finn")

STEPS = [
    "step_integer_input",
    "step_tidy_up",
    "step_fold_stride",
    "step_streamline_exactly",
    "step_convert_to_hw",
    "step_minimize_bit_width",
    "step_insert_streams",
]


@pytest.mark.parametrize("step", STEPS)
def test_every_tensor_is_finns(built, step):
    from finn.core.onnx_exec import execute_onnx

    from build.execute import output_of, trace
    from build.verify import graph_input

    model = ModelWrapper(str(graph_after(built.folder, step)))
    for node in model.graph.node:
        if node.domain.startswith("finn"):
            getCustomOp(node).set_nodeattr("exec_mode", "cppsim")
    inputs = graph_input(model, frames_for(3)).astype(np.float32)
    ours = {output_of(node): value for node, value in trace(model, inputs)}
    name = model.graph.input[0].name
    compared = 0
    for index in range(len(inputs)):
        finns = execute_onnx(model, {name: inputs[index : index + 1]}, True)
        for tensor, value in ours.items():
            # Quantized weights have no batch.
            single = value[index] if len(value) == len(inputs) else value
            wanted = finns[tensor].reshape(single.shape)
            largest = max(1.0, np.abs(wanted).max())
            assert np.allclose(single, wanted, rtol=0, atol=2e-5 * largest), tensor
            compared += 1
    assert compared == 3 * len(model.graph.node)


def test_a_batch_is_its_frames_one_by_one(built):
    from build.verify import graph_logits

    model = built.load()
    together = graph_logits(model, frames_for(9))
    alone = [graph_logits(model, frames_for(9)[i : i + 1])[0] for i in range(9)]
    assert np.array_equal(together, np.stack(alone))


def test_unknown_operators_are_named():
    from build.verify import graph_logits

    model = to_qonnx(small_checkpoint())
    node = model.get_nodes_by_op_type("BatchNormalization")[0]
    node.op_type = "InstanceNormalization"
    with pytest.raises(BadInput, match=f"{node.name}: .* no operator InstanceNormalization"):
        graph_logits(model, frames_for(1))


def test_float64_network_is_the_exported_one():
    """Float32 rounds differently from run to run of operators; the reference must not."""
    from build.verify import graph_logits, in_float64, network_logits

    checkpoint = small_checkpoint()
    exported = graph_logits(to_qonnx(checkpoint), frames_for(26))
    found = network_logits(checkpoint.network, frames_for(26))
    assert np.abs(found - exported).max() < 1e-8 * np.abs(exported).max()
    assert (
        next(checkpoint.network.parameters()).dtype
        != next(in_float64(checkpoint.network).parameters()).dtype
    )
