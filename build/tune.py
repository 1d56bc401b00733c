"""Regenerate the foldings that `--folding tuned` applies: `python -m build.tune`.

A folding depends on a network's shape, not on its weights, so one file serves all variants of an
architecture: aaronnet32-*.json fits 32, 32+ and 32++.
"""

import tempfile
from pathlib import Path

import torch
from qonnx.core.modelwrapper import ModelWrapper

from build import flow
from build.layout import graph_after
from build.stimuli import synthetic_frames
from models.checkpoint import Checkpoint
from models.config import FRAME_LENGTH, named_config
from models.console import out
from models.errors import BadInput
from models.files import write_json
from models.networks import build_network

FOLDER = Path(__file__).parent / "foldings"

POLICIES: dict[str, tuple[float, int]] = {
    # Share of the board's resources that may be used, clocks a frame that suffice.
    "Pynq-Z2": (1.0, FRAME_LENGTH),
    "ZCU104": (0.7, FRAME_LENGTH),
    "RFSoC4x2": (0.8, 1),
}


def untrained(name: str) -> Checkpoint:
    """Return an architecture's hardware form with random weights."""
    torch.manual_seed(0)
    config = named_config(name).changed(block_bits=8)
    network = build_network(config)
    with torch.no_grad():
        network.train()(torch.from_numpy(synthetic_frames()))
    return Checkpoint(network.eval(), config, {"data_label": "untrained"})


def tune(name: str, board: str) -> dict:
    """Return the folding of an architecture for a board under its policy, as FINN's JSON."""
    frames = synthetic_frames()[::26]
    with tempfile.TemporaryDirectory() as folder:
        result = flow.build(untrained(name), board, folder, frames=frames)
        from build.boards import find_board
        from build.folding import fastest_fitting, units

        model = ModelWrapper(str(graph_after(result.folder, "step_specialize_for_rtl")))
        device = find_board(board)
        folding = fastest_fitting(units(model, device), device, *POLICIES[board])
    if folding is None:
        raise BadInput(f"no folding of {name} fits its share of {board}")
    fps = device.clock * 1e6 / folding.cycles
    out.print(f"{name} on {board}: {folding.cycles} clocks, {fps:,.0f} frames/s")
    out.print(
        {kind: f"{used} of {device.resources[kind]}" for kind, used in folding.resources.items()}
    )
    return {"Defaults": {}, **folding.attributes}


def main() -> None:
    """Write all foldings."""
    for name in ("aaronnet32", "aaronnet48"):
        for board in POLICIES:
            write_json(FOLDER / f"{name}-{board}.json", tune(name, board))


if __name__ == "__main__":
    main()
