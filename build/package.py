"""The accelerator package: what `deploy/` needs on a board, as deploy/board/package.py reads it."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from finn.util.data_packing import finnpy_to_packed_bytearray
from qonnx.core.datatype import BaseDataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from build.build_report import BuildReport
from build.finn_config import Request
from build.input_norm import norm_of
from build.layout import BITFILES, PACKAGE, VIVADO
from build.simulation.rtl_folder import write_rtl
from build.source import Source
from build.steps.class_output import OUTPUT_PROPERTY
from build.steps.integer_input import INPUT_PROPERTY
from build.stimuli import sample_frames
from build.verify import classes_of, graph_classes, network_logits
from deploy.board.package import (
    FORMAT,
    GRAPH,
    MANIFEST,
    RTL,
    SAMPLES,
    SETTINGS,
    read_package,
    seal,
)
from deploy.board.records import read_json
from models.files import sha256, write_json

if TYPE_CHECKING:
    from build.simulation.stitch import Accelerator


@dataclass(frozen=True)
class Ends:
    """The accelerator's two ends as a driver has to know them.

    Attributes:
        input: dma, datatype, and the shapes normal, folded and packed (in bytes) of what goes in.
        output: the same of what comes out.
        quantizer: step, minimum and maximum of the integers that go in.
        scale: what one of the integers that come out stands for.
    """

    input: dict[str, Any]
    output: dict[str, Any]
    quantizer: dict[str, Any]
    scale: float


def ends_of(model: ModelWrapper) -> Ends:
    """Return the ends of a graph in FINN's hardware layers."""
    quantizer = json.loads(model.get_metadata_prop(INPUT_PROPERTY))
    return Ends(
        _port(model, True),
        _port(model, False),
        {key: quantizer[key] for key in ("step", "minimum", "maximum")} | norm_of(model),
        json.loads(model.get_metadata_prop(OUTPUT_PROPERTY))["scale"],
    )


def samples_of(source: Source) -> tuple[dict[str, np.ndarray], str]:
    """Return `stimuli.sample_frames` with the network's own classes as `predicted` (N,)."""
    samples, label = sample_frames(source.task)
    frames = samples["X"].transpose(0, 2, 1)
    if source.network is None:
        predicted = graph_classes(source.model, frames)
    else:
        predicted = classes_of(network_logits(source.network, frames))
    return {**samples, "predicted": predicted}, label


def write_package(
    source: Source,
    request: Request,
    report: BuildReport,
    ends: Ends,
    out: Path,
    *,
    graph: Path | None = None,
    stitched: "Accelerator | None" = None,
) -> Path:
    """Write `OUT/package/`, manifest last.

    Args:
        source: the network.
        request: what was built.
        report: what came of it.
        ends: of the accelerator.
        out: the build's folder.
        graph: the last step's graph, in FINN's hardware layers, where there is one.
        stitched: the accelerator's RTL, where this build generated it.

    Returns:
        the package's folder.
    """
    folder = out / PACKAGE
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    samples, label = samples_of(source)
    with h5py.File(folder / SAMPLES, "w") as file:
        for name, values in samples.items():
            file[name] = values
        file.attrs["label"] = label
    if graph is not None:
        shutil.copy(graph, folder / GRAPH)
    write_json(folder / SETTINGS, _driver_settings(request, ends))
    bitfile = _copy_bitfile(out / VIVADO, folder)
    if stitched is not None:
        write_rtl(stitched, folder / RTL)
    checkpoint, task = source.checkpoint, source.task
    network: dict[str, Any] = {"name": source.name, "score": report.score}
    if checkpoint is not None:
        network |= {"label": checkpoint.data_label, "hash": checkpoint.info.get("sha256", "")}
        if "accuracy" in checkpoint.info:
            network["accuracy"] = checkpoint.info["accuracy"]
    manifest = {
        "format": FORMAT,
        "network": network,
        "classes": task.class_names,
        "board": request.board.name,
        "part": request.board.part,
        "clock_mhz": request.clock,
        "input": {
            **ends.input,
            "frame": [task.length, task.channels],
            "quantizer": ends.quantizer,
        },
        "output": {
            **ends.output,
            "kind": "logits" if request.logits else "class",
            "scale": ends.scale,
        },
        "performance": {
            "cycles_per_frame": report.performance.cycles_per_frame,
            "latency_cycles": report.performance.latency_cycles,
            "source": report.performance.source,
        },
        "samples": {"file": SAMPLES, "label": label},
        "bitfile": bitfile,
        "rtl": None if stitched is None else RTL,
        "graph": None if graph is None else GRAPH,
        "files": {
            path.relative_to(folder).as_posix(): sha256(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    }
    write_json(folder / MANIFEST, seal(manifest))
    read_package(folder)  # what we write must be what a board takes
    return folder


def expect_simulated(folder: Path, cycles_per_frame: float, latency_cycles: int) -> None:
    """Have a package's manifest expect the pace and latency of a simulation, not the estimates."""
    read_package(folder)  # a damaged one is not sealed anew
    manifest = read_json(folder / MANIFEST)
    manifest["performance"] = {
        "cycles_per_frame": cycles_per_frame,
        "latency_cycles": latency_cycles,
        "source": "simulated",
    }
    write_json(folder / MANIFEST, seal(manifest))


def _port(model: ModelWrapper, entering: bool) -> dict[str, Any]:
    """Return one end of the accelerator as FINN's driver describes it."""
    if entering:
        node = getCustomOp(model.find_consumer(model.graph.input[0].name))
        datatype, folded = node.get_input_datatype(), node.get_folded_input_shape()
        normal, name = node.get_normal_input_shape(), "idma0"
    else:
        node = getCustomOp(model.find_producer(model.graph.output[0].name))
        datatype, folded = node.get_output_datatype(), node.get_folded_output_shape()
        normal, name = node.get_normal_output_shape(), "odma0"
    return {
        "dma": name,
        "datatype": datatype.name,
        "normal": [int(size) for size in normal],
        "folded": [int(size) for size in folded],
        "packed": [int(size) for size in packed_shape(datatype, folded)],
    }


def packed_shape(datatype: BaseDataType, folded: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape in bytes of a folded tensor, as FINN's own packing gives it."""
    zeros = np.zeros([int(size) for size in folded], np.float32)
    return finnpy_to_packed_bytearray(zeros, datatype, True, True).shape


def _driver_settings(request: Request, ends: Ends) -> dict[str, Any]:
    """Return the accelerator as FINN's `MakePYNQDriver` describes it to its driver."""
    shapes: dict[str, Any] = {"num_inputs": 1, "num_outputs": 1}
    for letter, port in (("i", ends.input), ("o", ends.output)):
        shapes[f"{letter}dt"] = [f"DataType['{port['datatype']}']"]
        shapes[f"{letter}dma_names"] = [port["dma"]]
        for form in ("normal", "folded", "packed"):
            shapes[f"{letter}shape_{form}"] = [port[form]]
    shapes |= {"number_of_external_weights": 0, "external_weights_input_shapes": {}}
    information = {
        "driver_type": "FINNDMAOverlay",
        "io_shape_dict": shapes,
        "external_weights": False,
        "runtime_weights": False,
        "platform": "alveo" if request.board.shell == "alveo" else "zynq-iodma",
        "fclk_mhz": request.clock,
        "validation_dataset": "radioml",
    }
    return {"driver_information": information, "experiment_information": {}}


def _copy_bitfile(vivado: Path, folder: Path) -> str | None:
    """Copy what Vivado built, if it did; return the bitfile's name, or None."""
    if not (vivado / BITFILES[0]).exists():
        return None
    for name in BITFILES:
        shutil.copy(vivado / name, folder)
    return BITFILES[0]
