"""FIFO depths in the flow: set without changing the graph's numbers, found by simulation."""

import numpy as np
import pytest
from qonnx.custom_op.registry import getCustomOp

from build.flow import build
from models.errors import BadInput
from tests.build.small_aaronnet import frames_for, small_checkpoint


def depths(model) -> dict[str, int]:
    nodes = (node for node in model.graph.node if node.op_type == "StreamingFIFO_rtl")
    return {node.name: getCustomOp(node).get_nodeattr("depth") for node in nodes}


def test_setting_depths_changes_nothing_else(built):
    from build.execute import execute
    from build.steps.fifos import SetFIFODepths
    from build.verify import graph_input

    model = built.load()
    found = depths(model)
    wanted = dict.fromkeys(list(found)[::2], 32)
    frames = graph_input(model, frames_for(8))
    before = execute(model, frames)
    changed = model.transform(SetFIFODepths(wanted))
    assert depths(changed) == {**found, **wanted}
    for name, value in execute(changed, frames).items():
        assert np.array_equal(value, before[name])


def test_sizing_needs_hdl(tmp_path):
    with pytest.raises(BadInput, match="--to hdl"):
        build(small_checkpoint(), "ZCU104", tmp_path / "out", size_fifos=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_flow_sizes_fifos_by_simulation(tmp_path):
    result = build(
        *(small_checkpoint(), "ZCU104", tmp_path / "out"),
        to="hdl",
        frames=frames_for(26),
        size_fifos=True,
    )
    sizing = result.report.fifos
    assert {name: row["depth"] for name, row in sizing["depths"].items()} == depths(result.load())
    assert sizing["endless"] <= sizing["cycles_per_frame"] <= 1.01 * sizing["endless"]
