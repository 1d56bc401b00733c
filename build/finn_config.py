"""From what the user asked for to the configuration that FINN+'s builder reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from finn.builder.build_dataflow_config import (
    AutoFIFOSizingMethod,
    DataflowBuildConfig,
    DataflowOutputType,
    ShellFlowType,
)

from build.boards import Board

Target = Literal["estimate", "hdl", "stitched", "project", "bitfile"]
TARGETS: tuple[Target, ...] = ("estimate", "hdl", "stitched", "project", "bitfile")
GENERATING: tuple[Target, ...] = ("hdl", "project", "bitfile")
"""Those that end with our own HDL; the last two go on with a shell around it (build/shell/)."""

ESTIMATE_STEPS = (
    "build.steps.integer_input.step_integer_input",
    "build.steps.exact_thresholds.step_qonnx_to_finn_exactly",
    "step_tidy_up",
    "build.steps.branches.step_scales_past_joins",
    "build.steps.class_output.step_integer_logits",
    "build.steps.class_output.step_class_index",
    "build.steps.lift.step_lift_1d",
    "build.steps.integer_input.step_channels_last_input",
    "build.steps.fold_stride.step_fold_stride",
    "build.steps.exact_thresholds.step_streamline_exactly",
    "step_convert_to_hw",
    "step_minimize_bit_width_initial",
    "step_create_dataflow_partition",
    "build.rtl.specialize.step_specialize_for_rtl",
    "build.steps.line_rate.step_line_rate",
    "build.steps.search_folding.step_search_folding",
    "step_apply_folding_config",
    "step_minimize_bit_width",
    "build.rtl.specialize.step_adapt_types",
    "build.steps.branch_fifos.step_branch_fifos",
    "build.steps.burst_fifos.step_burst_fifos",
    "step_generate_estimate_reports",
)
SIZE_FIFOS = "build.steps.fifos.step_size_fifos"
HDL_STEPS = (
    "build.steps.streams.step_insert_streams",
    "build.rtl.patches.step_patch_rtllib",
    SIZE_FIFOS,
    "step_hw_codegen",
)
STITCHED_STEPS = (
    "build.rtl.patches.step_patch_rtllib",
    "step_generate_hardware",
    "step_create_stitched_ip",
)


@dataclass(frozen=True)
class Request:
    """What to build.

    Attributes:
        board: for which board.
        to: how far.
        clock: MHz.
        fps: frames/s to reach, or None.
        folding: folding JSON to apply, or None.
        logits: output the integer logits instead of the class index.
        size_fifos: give FIFOs the depths that simulation finds, not those of the folding.
    """

    board: Board
    to: Target
    clock: float
    fps: float | None = None
    folding: Path | None = None
    logits: bool = False
    size_fifos: bool = False


def step_names(to: Target, logits: bool, size_fifos: bool = False) -> list[str]:
    """Return the steps up to `to`, FINN's by their names, ours as importable names."""
    # FINN's own hardware generation inserts converters and FIFOs itself.
    following = {"estimate": (), "stitched": STITCHED_STEPS}
    steps = [*ESTIMATE_STEPS, *following.get(to, HDL_STEPS)]
    if logits:
        steps.remove("build.steps.class_output.step_class_index")
    if not size_fifos and SIZE_FIFOS in steps:
        steps.remove(SIZE_FIFOS)
    return steps


def builder_config(request: Request, out: Path) -> DataflowBuildConfig:
    """Return FINN's configuration; its `to_yaml` is what `finn build` takes."""
    board = request.board
    outputs = [DataflowOutputType.ESTIMATE_REPORTS]
    if request.to == "stitched":
        outputs.append(DataflowOutputType.STITCHED_IP)
    return DataflowBuildConfig(
        output_dir=str(out),
        board=board.name,
        fpga_part=board.part,
        shell_flow_type=(
            ShellFlowType.VITIS_ALVEO if board.shell == "alveo" else ShellFlowType.VIVADO_ZYNQ
        ),
        synth_clk_period_ns=1000 / request.clock,
        target_fps=None if request.fps is None else int(request.fps),
        folding_config_file=request.folding,
        generate_outputs=outputs,
        steps=step_names(request.to, request.logits, request.size_fifos),
        # Thresholds of their own: FINN's RTL matrix unit takes none, and RTL is what simulates.
        standalone_thresholds=True,
        # FINN sizes FIFOs with Vivado's simulator, `step_size_fifos` with ours. Without it they are
        # the smallest but where `step_burst_fifos` and `step_branch_fifos` say how deep.
        auto_fifo_strategy=AutoFIFOSizingMethod.FORCE_MINIMAL_FIFOS,
        # Kept for localisation of a deviation and for `finn build --start`.
        save_intermediate_models=True,
    )
