"""What the network says of a file's frames, for a board to be compared with; runs on the host."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from deploy.board.data_file import open_frames, rows_to_test
from deploy.board.driver import quantize
from deploy.board.package import Package
from deploy.board.packing import pack, unpack
from deploy.virtual_board.accelerator import Accelerator
from models.files import atomic

BLOCK = 64


@dataclass(frozen=True)
class Expectation:
    """What was written: how many frames of which data, and what the network makes of them."""

    frames: int
    accuracy: float | None
    label: str
    predicted_by: str


def expect(
    package: Package,
    accelerator: Accelerator,
    data: Path,
    out: Path,
    count: int | None = None,
    told: Callable[[int, int], object] = lambda done, total: None,
) -> Expectation:
    """Write a file's test frames with the classes that the accelerator's model gives them.

    Args:
        package: of the accelerator.
        accelerator: its graph (or its RTL).
        data: HDF5 in RadioML's layout.
        out: file to write: X, Y, Z of the frames and `predicted`.
        count: take about that many frames of the official test split, evenly; None takes all.
        told: called with frames done and frames in all.

    Raises:
        BadInput: a file is unusable.
    """
    frames = open_frames(data, len(package.classes), package.input.frame)
    rows = rows_to_test(frames, count)
    predicted = np.empty(len(rows), np.int64)
    done, accuracy = 0, None
    with atomic(out) as temporary, h5py.File(temporary, "w") as file:
        samples = file.create_dataset("X", (len(rows), *frames.frame), np.float32)
        for block in frames.read(rows, BLOCK):
            part = slice(done, done + len(block))
            samples[part] = block
            predicted[part] = classes(package, accelerator, block)
            done += len(block)
            told(done, len(rows))
        if frames.index is not None:
            labels = frames.index.labels[rows]
            accuracy = float((predicted == labels).mean())
            file["Y"] = np.eye(len(package.classes), dtype=np.int8)[labels]
            file["Z"] = frames.index.snrs[rows][:, None]
        file["predicted"] = predicted
        file.attrs["label"] = frames.label
    return Expectation(len(rows), accuracy, frames.label, accelerator.source)


def classes(package: Package, accelerator: Accelerator, frames: np.ndarray) -> np.ndarray:
    """Return int64 (N,): the class of each of some frames, as `Driver.predict` would."""
    integers = quantize(frames, package.input)
    packed = pack(integers, package.input.datatype).reshape(len(frames), -1)
    port = package.output
    results = accelerator.run(packed).results.reshape(len(frames), *port.packed[1:])
    values = unpack(results, port.datatype, port.folded[-1]).reshape(len(frames), -1)
    return values.argmax(axis=1) if port.kind == "logits" else values[:, 0].astype(np.int64)
