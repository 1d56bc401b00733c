"""The whole chain in a few minutes: synthesise, train, prune, score, build, run, report.

Every result is labelled with the data it came from. A network trained for two minutes on two cores
is there to show that each stage feeds the next, not to compete.
"""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from build.boards import find_board
from build.build_report import SPARSE, DenseReport, SparseReport
from build.finished import open_build, record_simulation
from build.flow import build
from build.simulation.against_network import check, simulate_build
from build.sparse.sparse_build import build_sparse
from build.sparse.sparse_sim import simulate_sparse
from build.style import Choice, choose
from deploy.board.radioml import SNRS, data_label
from deploy.board.records import read_json, to_json
from deploy.cli import BOARD_PYTHON, ROOT
from deploy.cli_deploy import deploy
from deploy.demo.demo_report import (
    DemoReport,
    Device,
    Measured,
    OnBoard,
    Settings,
    write_report,
)
from deploy.demo.journal import Journal
from deploy.doctor import tools
from models import checkpoint as checkpoints
from models.config import named_config
from models.console import Bar, err
from models.cost import inference_cost
from models.errors import BadInput
from models.export import export
from models.files import writable_folder, write_json
from training.data import RadioMLData
from training.evaluate import evaluate
from training.module import Recipe
from training.prune import pruned
from training.quantize import quantize
from training.synthesis import Written, write_dataset
from training.train import train

CALIBRATION_FRAMES = 1024
VERIFIED_PER_SNR = 2  # after each step of the build
DEVICE_PER_SNR = 20
BOARD = "127.0.0.77"  # the virtual board's address: another one's is not taken away


class Demo:
    """The steps, each from the artefacts of those before it to its own."""

    def __init__(self, folder: Path, settings: Settings):
        self.folder, self.settings = folder, settings
        self.data = folder / "data.h5"
        self.trained = folder / "train" / "best.pth"
        self.pruned = folder / "prune" / "best.pth"
        self.hardware = folder / "hardware.pth"
        self.model = folder / "hardware.onnx"
        self.build, self.dense = folder / "build", folder / "dense"

    def synthesise(self) -> Written:
        """Write frames in RadioML's own layout."""
        with Bar("synthesising frames") as told:
            return write_dataset(
                self.data,
                self.settings.frames_per_cell,
                self.settings.seed,
                progress=told,
            )

    def train(self) -> Measured:
        """Train in floating point first, then quantized: most of the accuracy for the time."""
        epochs = self.settings.float_epochs + self.settings.quantized_epochs
        recipe = Recipe(
            epochs, lr=0.01, t0=0, float_epochs=self.settings.float_epochs, quantized_lr=0.004
        )
        config = named_config(self.settings.model)
        train(config, self._frames(), self.trained.parent, recipe, seed=self.settings.seed)
        return self._measured(self.trained)

    def prune(self) -> Measured:
        """Remove the smallest weights of all layers, once, and train the rest again."""
        start = pruned(checkpoints.load(self.trained), self.settings.prune)
        recipe = Recipe(self.settings.retrain_epochs, lr=0.002, t0=0)
        train(start, self._frames(), self.pruned.parent, recipe, seed=self.settings.seed)
        return self._measured(self.pruned)

    def quantize(self) -> Measured:
        """Make the form that dataflow hardware can run, calibrated on training frames."""
        made = quantize(
            *(checkpoints.load(self.pruned), self._frames(), self.hardware),
            self.settings.block_bits,
            frames=CALIBRATION_FRAMES,
            seed=self.settings.seed,
        )
        export(checkpoints.load(self.hardware), self.model)
        return Measured(made.kept.evaluation, inference_cost(made.kept.checkpoint))

    def choose(self) -> Choice:
        """Choose the style of the accelerator as `aaronnet build` does."""
        return choose(self.hardware, self.settings.board)[1]

    def compile_dense(self, folder: Path, to: str) -> DenseReport:
        """Build with FINN+, comparing the graph with the network after every step."""
        x, _, _ = self.test_frames(per_snr=VERIFIED_PER_SNR)
        return build(*(self.hardware, self.settings.board, folder), to=to, frames=x.numpy()).report

    def compile_sparse(self, clocks: int | None) -> SparseReport:
        """Build as adders, every phase compared with the one before."""
        x, _, _ = self.test_frames(per_snr=VERIFIED_PER_SNR)
        how = (self.hardware, self.settings.board, self.build)
        return build_sparse(*how, clocks=clocks, frames=x.numpy()).report

    def serve(self) -> OnBoard:
        """Let the unmodified pynq drive a virtual board with the package.

        Raises:
            CheckFailed, typer.Exit: a class differs from the network's.
        """
        path = self.folder / "validation.json"
        deploy(self.build / "package", address=BOARD, json=path)
        facts = read_json(path)
        return OnBoard(
            facts["board"]["name"], facts["compared"], facts["disagreements"],
            facts["frames_per_second"], facts["latency_seconds"] * 1e6, facts["times"],
        )  # fmt: skip

    def run(self) -> Device:
        """Run the accelerator's RTL on test frames, cycle by cycle, in place of a board.

        Raises:
            CheckFailed: a class differs from the network's.
        """
        x, y, _ = self.test_frames(per_snr=DEVICE_PER_SNR)
        opened = open_build(self.build)
        simulate = simulate_sparse if opened.sparse else simulate_build
        with Bar("simulating the RTL", len(x)) as progress:
            found = simulate(opened, x.numpy(), y.numpy(), advance=progress.advance)
        check(found)
        record_simulation(opened, found)
        kept = {field.name for field in fields(Device)} - {"device", "data"}
        return Device(
            device="the accelerator's RTL, simulated with Verilator, in place of a board",
            data=data_label(self.data),
            **{name: getattr(found, name) for name in kept},
        )

    def test_frames(self, per_snr: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draw `per_snr` frames of the test split at each SNR: (x, y, snr)."""
        data = self._frames()
        data.setup("test")
        rng = np.random.default_rng(self.settings.seed)
        rows = [
            rng.choice(data.split.test[data.index.snrs[data.split.test] == snr], per_snr, False)
            for snr in SNRS
        ]
        x, y, snr = data.frames[np.sort(np.concatenate(rows))]
        return x, y, snr

    def _frames(self) -> RadioMLData:
        return RadioMLData(self.data, 256, min_snr=self.settings.min_snr, seed=self.settings.seed)

    def _measured(self, path: Path) -> Measured:
        loaded = checkpoints.load(path)
        with Bar(f"testing {loaded.config.name}") as told:
            accuracy = evaluate(loaded, self.data, progress=told)
        return Measured(accuracy, inference_cost(loaded))


def run_demo(folder: Path, settings: Settings) -> DemoReport:
    """Run all steps that are not finished yet and write report.json and report.html.

    Raises:
        BadInput: the folder cannot be written or holds something else, the model or the board is
            unknown, or there is no compiler; nothing is touched then.
        CheckFailed: the accelerator disagrees with the network.
    """
    named_config(settings.model)
    find_board(settings.board)
    for finding in tools():
        if not finding.found:
            raise BadInput(f"there is no working {finding.tool}; {finding.get}")
    _claim(folder, settings)
    journal = Journal(folder / "steps.json", err.print)
    demo = Demo(folder, settings)

    def chosen(*names: str) -> dict[str, Any]:
        return {name: getattr(settings, name) for name in names}

    recipe = chosen("model", "min_snr", "float_epochs", "quantized_epochs")
    data = journal.step(
        *("synthesise data", Written, chosen("frames_per_cell", "seed"), [demo.data]),
        demo.synthesise,
    )
    networks = {
        "trained": journal.step("train", Measured, recipe, [demo.trained], demo.train),
        "pruned": journal.step(
            *("prune", Measured, chosen("prune", "retrain_epochs"), [demo.pruned]), demo.prune
        ),
        "hardware form": journal.step(
            *("quantize", Measured, chosen("block_bits"), [demo.hardware, demo.model]),
            demo.quantize,
        ),
    }
    choice = journal.step("choose a style", Choice, chosen("board"), [], demo.choose)
    err.print(str(choice), soft_wrap=True)
    sparse, on_board = None, None

    def simulated() -> Device:
        grounds = {"frames_per_snr": DEVICE_PER_SNR}
        return journal.step("simulate", Device, grounds, [], demo.run)

    if choice.style == SPARSE:
        dense = journal.step(
            *("estimate the dense style", DenseReport, {}, [demo.dense]),
            lambda: demo.compile_dense(demo.dense, "estimate"),
        )
        sparse = journal.step(
            *("build", SparseReport, {"clocks": choice.clocks}, [demo.build]),
            lambda: demo.compile_sparse(choice.clocks),
        )
        device = simulated()
        if (ROOT / BOARD_PYTHON).exists():
            on_board = journal.step("serve", OnBoard, {}, [], demo.serve)
    else:
        dense = journal.step(
            *("build", DenseReport, {}, [demo.build]),
            lambda: demo.compile_dense(demo.build, "hdl"),
        )
        device = simulated()
    report = DemoReport(
        *(settings, data, networks, choice, dense, sparse, device, on_board),
        seconds=journal.seconds,
    )
    write_json(folder / "report.json", to_json(report))
    write_report(folder / "report.html", report)
    return report


def _claim(folder: Path, settings: Settings) -> None:
    """Make sure that what is in `folder` belongs to a demo of these settings."""
    path, wanted = folder / "settings.json", asdict(settings)
    if folder.is_dir() and any(folder.iterdir()):
        try:
            found = read_json(path)
        except BadInput:
            found = {}
        if found.keys() != wanted.keys():
            raise BadInput(f"{folder} is neither empty nor a demo's; choose another with --out")
        if found != wanted:
            raise BadInput(
                f"{folder} holds a demo with other settings; delete it or choose another with --out"
            )
    write_json(writable_folder(folder) / path.name, wanted)
