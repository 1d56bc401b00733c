"""FIFO depths from cycle-accurate simulation, where the least depth slows a pipeline down."""

from pathlib import Path

from finn.builder.build_dataflow_config import DataflowBuildConfig
from finn.transformation.fpgadataflow.prepare_ip import PrepareIP
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.base import Transformation

from build.layout import GENERATED, NETWORK, finn_report
from build.source import read_graph, task_of
from build.stimuli import usual_frames
from build.verify import graph_input
from models.files import write_json

SIZING = "fifo_sizing.json"  # in the build's report folder


class SetFIFODepths(Transformation):
    """Give FIFOs their depths.

    Args:
        depths: name of the FIFO's node -> words.
    """

    def __init__(self, depths: dict[str, int]) -> None:
        super().__init__()
        self.depths = depths

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Set the attribute; generated HDL of other depths is not valid any more."""
        for node in model.graph.node:
            if node.name in self.depths:
                getCustomOp(node).set_nodeattr("depth", self.depths[node.name])
        return model, False


def step_size_fifos(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """Simulate the accelerator and give every FIFO the least depth that keeps the pace.

    Generates HDL of its own to simulate; `step_hw_codegen` comes after.

    Raises:
        CheckFailed: the accelerator deadlocks.
    """
    # Verilator is not needed for a build without this step.
    from build.simulation.sizing import size_fifos
    from build.simulation.stitch import stitch

    trial = ModelWrapper(model.model, make_deepcopy=True)
    trial = trial.transform(PrepareIP(cfg._resolve_fpga_part(), cfg._resolve_hls_clk_period()))
    task = task_of(read_graph(Path(cfg.output_dir) / NETWORK))
    frames = graph_input(trial, usual_frames(task)[::13])
    folder = Path(cfg.output_dir)
    sizing = size_fifos(stitch(trial, folder / GENERATED, fast=True), frames)
    write_json(finn_report(folder, SIZING), sizing.facts())
    return model.transform(SetFIFODepths(sizing.depths))
