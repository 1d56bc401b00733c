"""Folding in place of FINN's `step_target_fps_parallelization`: least resources, not first fit."""

import json
from pathlib import Path

from finn.builder.build_dataflow_config import DataflowBuildConfig
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.base import Transformation
from qonnx.transformation.general import GiveUniqueNodeNames

from build.boards import Board, find_board
from build.folding import (
    COMFORTABLE,
    COUNTED,
    Folding,
    Unit,
    cheapest,
    check_folding,
    fastest_fitting,
    units,
)
from build.folding_file import read_folding
from build.steps.integer_input import INPUT_PROPERTY
from models.config import FRAME_LENGTH
from models.errors import BadInput
from models.files import write_json


class ApplyFolding(Transformation):
    """Set the attributes of a folding."""

    def __init__(self, folding: Folding):
        super().__init__()
        self.folding = folding

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Set them in place."""
        for node in model.graph.node:
            for name, value in self.folding.attributes.get(node.name, {}).items():
                getCustomOp(node).set_nodeattr(name, value)
        return model, False


def choose(
    chain: list[Unit], board: Board, clock: float, fps: float | None, line_rate: int = FRAME_LENGTH
) -> Folding:
    """Return the cheapest folding that reaches `fps`, or the fastest that fits comfortably.

    Without `fps` nothing faster than the line rate is looked for.

    Args:
        chain: the units of the network.
        board: what must hold it.
        clock: MHz.
        fps: frames/s, or None.
        line_rate: clocks that a frame takes at one sample a clock.

    Raises:
        BadInput: the rate cannot be reached, or not on this board; says the best that can.
    """
    if fps is None:
        return (
            fastest_fitting(chain, board, COMFORTABLE, line_rate)
            or fastest_fitting(chain, board, 1.0, line_rate)
            or _does_not_fit(chain, board)
        )
    cycles = int(clock * 1e6 / fps)
    slowest = max(chain, key=lambda unit: unit.fastest)
    if cycles < slowest.fastest:
        raise BadInput(
            f"{fps:,.0f} frames/s at {clock:g} MHz leave {cycles} clocks a frame, but "
            f"{slowest.name} takes {slowest.fastest} at its most parallel; "
            f"the best is {clock * 1e6 / slowest.fastest:,.0f} frames/s"
        )
    folding = cheapest(chain, board, cycles)
    if not folding.fits(board):
        best = fastest_fitting(chain, board, 1.0) or _does_not_fit(chain, board)
        raise BadInput(
            f"{fps:,.0f} frames/s need {_over(folding, board)}; "
            f"the best that fits is {clock * 1e6 / best.cycles:,.0f} frames/s"
        )
    return folding


def _does_not_fit(chain: list[Unit], board: Board) -> Folding:
    slowest = max(option.cycles for unit in chain for option in unit.options)
    smallest = cheapest(chain, board, slowest)
    raise BadInput(f"the network does not fit {board.name}: it needs {_over(smallest, board)}")


def _over(folding: Folding, board: Board) -> str:
    share = {kind: folding.resources[kind] / board.resources[kind] for kind in COUNTED}
    worst = max(share, key=share.__getitem__)
    return f"{folding.resources[worst]:,} of the {board.resources[worst]:,} {worst} of {board.name}"


def step_search_folding(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """After specialisation: search a folding for cfg.target_fps and save it.

    With cfg.folding_config_file nothing is searched; the file is checked, and FINN's
    `step_apply_folding_config`, which comes next, applies it.
    """
    model = model.transform(GiveUniqueNodeNames())
    if cfg.folding_config_file is not None:
        path = Path(cfg.folding_config_file)
        check_folding(model, read_folding(path), str(path))
        return model
    board = find_board(cfg.board)
    chain = units(model, board)
    _, samples = json.loads(model.get_metadata_prop(INPUT_PROPERTY))["frame"]
    folding = choose(chain, board, 1000 / cfg.synth_clk_period_ns, cfg.target_fps, samples)
    content = {"Defaults": {}, **folding.attributes}
    write_json(cfg.get_report_directory() / "auto_folding_config.json", content)
    return model.transform(ApplyFolding(folding))
