"""Classify a file's frames on a board.

python -m deploy.board.predict PACKAGE --data FILE [-n FRAMES] [--batch N] [--json FILE]

Prints a line a frame: row in the file, SNR, true class, class found. Exit code 0: done; 1: the
board stopped answering; 2: bad input.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deploy.board.console import BOARD_FAILURES, end, leave, progress
from deploy.board.data_file import open_frames, rows_to_test
from deploy.board.driver import Driver
from deploy.board.files import check_apart, check_target, write_json
from deploy.board.package import read_package


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.board.predict", description="Classify a file's frames on a board."
    )
    parser.add_argument("package", type=Path, help="folder of an accelerator package")
    parser.add_argument("--data", type=Path, required=True, help="HDF5 in RadioML's layout")
    parser.add_argument("-n", "--frames", type=int, help="about this many test frames; default all")
    parser.add_argument(
        "--batch-size", "--batch", type=int, default=256, help="most frames a transfer"
    )
    parser.add_argument("--json", type=Path, help="write rows and classes to this file")
    given = parser.parse_args(arguments)
    try:
        check_target(given.json)
        check_apart(given.json, given.package, given.data)
        package = read_package(given.package)
        names = package.classes
        frames = open_frames(given.data, len(names), package.input.frame)
        index = frames.index
        rows = rows_to_test(frames, given.frames)
        found = np.empty(len(rows), np.int64)
        with Driver(package, given.batch_size) as driver:
            done = 0
            for outputs in driver.stream(frames.read(rows)):
                classes = driver.classes(outputs)
                found[done : done + len(classes)] = classes
                for row, name in zip(rows[done:], classes, strict=False):
                    true = "?" if index is None else names[index.labels[row]]
                    snr = "?" if index is None else f"{index.snrs[row]} dB"
                    print(f"{row}\t{snr}\t{true}\t{names[name]}")
                done += len(classes)
                progress("frames", done, len(rows))
        if given.json is not None:
            facts = {
                "rows": rows.tolist(),
                "classes": found.tolist(),
                "label": frames.label,
                "accuracy": (
                    None if index is None else float((found == index.labels[rows]).mean())
                ),
            }
            write_json(given.json, facts)
    except BOARD_FAILURES as error:
        return leave("predict", error)
    return 0


if __name__ == "__main__":
    end(main())
