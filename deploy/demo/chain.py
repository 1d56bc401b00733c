"""The whole chain in a few minutes: synthesise, train, prune, score, build, run, report.

Every result is labelled with the data it came from. A network trained for two minutes on two cores
is there to show that each stage feeds the next, not to compete.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from build.boards import find_board
from build.finished import open_build, record_simulation
from build.flow import build
from build.simulation.against_network import check, simulate_build
from deploy.board.radioml import SNRS, data_label
from deploy.board.records import read_json, record
from deploy.demo.demo_report import write_report
from deploy.demo.journal import Journal
from deploy.doctor import tools
from models import checkpoint as checkpoints
from models.config import named_config
from models.console import Bar, err
from models.cost import inference_cost
from models.errors import BadInput
from models.export import export
from models.files import writable_folder, write_json
from models.fuse import to_hardware
from training.data import RadioMLData, calibration_frames
from training.evaluate import evaluate
from training.module import Recipe
from training.prune import pruned
from training.synthesis import write_dataset
from training.train import train

CALIBRATION_FRAMES = 1024
VERIFIED_PER_SNR = 2  # after each step of the build
DEVICE_PER_SNR = 20


@dataclass(frozen=True)
class Settings:
    """What the demo does; the defaults take about five minutes on two cores.

    Attributes:
        model: configuration to train.
        frames_per_cell: of each of the 24 x 26 (modulation, SNR).
        min_snr: dB; nothing can be learned in two minutes from frames below.
        float_epochs, quantized_epochs: of training.
        prune: share of the weights that one pruning step removes.
        retrain_epochs: after pruning.
        block_bits: bits between the blocks in the hardware form.
        board: FINN+'s name of it.
        seed: of the data and the training.
    """

    model: str = "aaronnet32"
    frames_per_cell: int = 64
    min_snr: int = 0
    float_epochs: int = 5
    quantized_epochs: int = 4
    prune: float = 0.4
    retrain_epochs: int = 2
    block_bits: int = 8
    board: str = "ZCU104"
    seed: int = 2018


class Demo:
    """The steps, each from the artefacts of those before it to its own."""

    def __init__(self, folder: Path, settings: Settings):
        self.folder, self.settings = folder, settings
        self.data = folder / "data.h5"
        self.trained = folder / "train" / "best.pth"
        self.pruned = folder / "prune" / "best.pth"
        self.hardware = folder / "hardware.pth"
        self.model = folder / "hardware.onnx"
        self.build = folder / "build"

    def synthesise(self) -> dict[str, Any]:
        """Write frames in RadioML's own layout."""
        with Bar("synthesising frames") as told:
            return write_dataset(
                self.data,
                self.settings.frames_per_cell,
                self.settings.seed,
                progress=told,
            )

    def train(self) -> dict[str, Any]:
        """Train in floating point first, then quantized: most of the accuracy for the time."""
        epochs = self.settings.float_epochs + self.settings.quantized_epochs
        recipe = Recipe(
            epochs, lr=0.01, t0=0, float_epochs=self.settings.float_epochs, quantized_lr=0.004
        )
        config = named_config(self.settings.model)
        train(config, self._frames(), self.trained.parent, recipe, seed=self.settings.seed)
        return self._scored(self.trained)

    def prune(self) -> dict[str, Any]:
        """Remove the smallest weights of all layers, once, and train the rest again."""
        start = pruned(checkpoints.load(self.trained), self.settings.prune)
        recipe = Recipe(self.settings.retrain_epochs, lr=0.002, t0=0)
        train(start, self._frames(), self.pruned.parent, recipe, seed=self.settings.seed)
        return self._scored(self.pruned)

    def quantize(self) -> dict[str, Any]:
        """Make the form that dataflow hardware can run, calibrated on training frames."""
        frames = self._frames()
        frames.setup()
        chosen = calibration_frames(frames, CALIBRATION_FRAMES, self.settings.seed)
        hardware = to_hardware(checkpoints.load(self.pruned), self.settings.block_bits, chosen)
        checkpoints.save(self.hardware, hardware.network, hardware.config, hardware.info)
        export(checkpoints.load(self.hardware), self.model)
        return self._scored(self.hardware)

    def compile(self) -> dict[str, Any]:
        """Build HDL with FINN+, comparing the graph with the network after every step."""
        x, _, _ = self.test_frames(per_snr=VERIFIED_PER_SNR)
        built = build(self.hardware, self.settings.board, self.build, to="hdl", frames=x.numpy())
        return built.report.to_dict()

    def run(self) -> dict[str, Any]:
        """Run the accelerator's RTL on test frames, cycle by cycle, in place of a board.

        Raises:
            CheckFailed: a class differs from the network's.
        """
        x, y, _ = self.test_frames(per_snr=DEVICE_PER_SNR)
        opened = open_build(self.build)
        with Bar("simulating the RTL", len(x)) as progress:
            found = simulate_build(opened, x.numpy(), y.numpy(), advance=progress.advance)
        check(found)
        record_simulation(opened, found)
        facts = found.to_dict()
        kept = ("frames", "mismatches", "accuracy", "cycles_per_frame", "latency_us", "clock_mhz")
        return {
            "device": "the accelerator's RTL, simulated with Verilator, in place of a board",
            "data": data_label(self.data),
            **{key: facts[key] for key in (*kept, "fps_at_clock", "simulated_frames_per_second")},
        }

    def test_frames(self, per_snr: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draw `per_snr` frames of the test split at each SNR: (x, y, snr)."""
        data = self._frames()
        data.setup("test")
        rng = np.random.default_rng(self.settings.seed)
        rows = [
            rng.choice(data.split.test[data.index.snrs[data.split.test] == snr], per_snr, False)
            for snr in SNRS
        ]
        return data.frames[np.sort(np.concatenate(rows))]

    def _frames(self) -> RadioMLData:
        return RadioMLData(self.data, 256, min_snr=self.settings.min_snr, seed=self.settings.seed)

    def _scored(self, path: Path) -> dict[str, Any]:
        """Return accuracy and cost of a checkpoint."""
        loaded = checkpoints.load(path)
        with Bar(f"testing {loaded.config.name}") as told:
            accuracy = evaluate(loaded, self.data, progress=told)
        return {"accuracy": accuracy.to_dict(), "cost": inference_cost(loaded).to_dict()}


def run_demo(folder: Path, settings: Settings) -> dict[str, Any]:
    """Run all steps that are not finished yet and write report.json and report.html.

    Raises:
        BadInput: the folder cannot be written or holds something else, the model or the board is
            unknown, or there is no compiler; nothing is touched then.
        CheckFailed: the accelerator disagrees with the network.
    """
    s = asdict(settings)
    named_config(settings.model)
    find_board(settings.board)
    for finding in tools():
        if not finding.found:
            raise BadInput(f"there is no working {finding.tool}; {finding.get}")
    _claim(folder, settings)
    journal = Journal(folder / "steps.json", err.print)
    demo = Demo(folder, settings)

    def chosen(*names: str) -> dict[str, Any]:
        return {name: s[name] for name in names}

    data = journal.step(
        "synthesise data", chosen("frames_per_cell", "seed"), [demo.data], demo.synthesise
    )
    trained = journal.step(
        "train",
        chosen("model", "min_snr", "float_epochs", "quantized_epochs"),
        [demo.trained],
        demo.train,
    )
    pruned_facts = journal.step(
        "prune", chosen("prune", "retrain_epochs"), [demo.pruned], demo.prune
    )
    hardware = journal.step(
        "quantize", chosen("block_bits"), [demo.hardware, demo.model], demo.quantize
    )
    built = journal.step("build", chosen("board"), [demo.build], demo.compile)
    device = journal.step("simulate", {"frames_per_snr": DEVICE_PER_SNR}, [], demo.run)
    report = {
        "settings": s,
        "data": data,
        "networks": {"trained": trained, "pruned": pruned_facts, "hardware form": hardware},
        "build": built,
        "device": device,
        "seconds": journal.seconds,
    }
    write_json(folder / "report.json", report)
    write_report(folder / "report.html", report)
    return report


def _claim(folder: Path, settings: Settings) -> None:
    """Make sure that what is in `folder` belongs to a demo of these settings."""
    path = folder / "settings.json"
    if folder.is_dir() and any(folder.iterdir()):
        try:
            facts = read_json(path)
            if facts.keys() != asdict(settings).keys():
                raise ValueError("it says something else")
            found = record(Settings, facts)
        except (BadInput, ValueError) as error:
            raise BadInput(
                f"{folder} is neither empty nor a demo's; choose another with --out"
            ) from error
        if found != settings:
            raise BadInput(
                f"{folder} holds a demo with other settings; delete it or choose another with --out"
            )
    write_json(writable_folder(folder) / "settings.json", asdict(settings))
