"""Classify frames on a board: an array in, an array out.

python -m deploy.board.frames PACKAGE FRAMES.npy CLASSES.npy [--batch N]

FRAMES is float32 (N, 1024, 2), CLASSES becomes int64 (N,). Exit code 0: done; 1: the board stopped
answering; 2: bad input.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deploy.board.console import BOARD_FAILURES, end, leave, progress
from deploy.board.driver import Driver
from deploy.board.errors import BadInput
from deploy.board.files import atomic, check_apart, check_target
from deploy.board.package import read_package


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.board.frames", description="Classify frames on a board."
    )
    parser.add_argument("package", type=Path, help="folder of an accelerator package")
    parser.add_argument("frames", type=Path, help="float32 (N, 1024, 2), I and Q (.npy)")
    parser.add_argument("classes", type=Path, help="file to write (.npy)")
    parser.add_argument(
        "--batch-size", "--batch", type=int, default=256, help="most frames a transfer"
    )
    given = parser.parse_args(arguments)
    try:
        check_target(given.classes)
        check_apart(given.classes, given.package, given.frames)
        package = read_package(given.package)
        frames = _open(given.frames)
        found = np.empty(len(frames), np.int64)
        done = 0
        with Driver(package, given.batch_size) as driver:
            parts = (
                frames[first : first + given.batch_size]
                for first in range(0, len(frames), given.batch_size)
            )
            for outputs in driver.stream(parts):
                classes = driver.classes(outputs)
                found[done : done + len(classes)] = classes
                done += len(classes)
                progress("frames", done, len(frames))
        with atomic(given.classes) as temporary, temporary.open("wb") as file:
            np.save(file, found)
    except BOARD_FAILURES as error:
        return leave("frames", error)
    return 0


def _open(path: Path) -> np.ndarray:
    try:
        frames: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(f"{path} is no .npy file that can be read: {error}") from error
    if frames.dtype != np.float32 or frames.ndim != 3 or frames.shape[2] != 2 or not len(frames):
        raise BadInput(f"{path} holds {frames.dtype} {frames.shape}, not float32 (N, 1024, 2)")
    return frames


if __name__ == "__main__":
    end(main())
