"""Does the board compute what the network computes, and how fast?

    python -m deploy.board.validate PACKAGE [--data FILE] [-n FRAMES] [--json FILE] [--report FILE]

Runs the package's sample frames, whose classes by the network are known, then the data: all SNRs of
RadioML's official test split, or every frame of a file that carries the network's classes
(`aaronnet board expect` writes one). Every frame that comes out otherwise is listed and run again,
alone. Exit code 0: the board agrees; 1: it does not, or stopped answering; 2: bad input.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deploy.board.console import BOARD_FAILURES, check_folder, end, leave, progress
from deploy.board.data_file import Frames, open_frames, rows_to_test
from deploy.board.driver import Driver, Timing
from deploy.board.errors import BadInput, CheckFailed
from deploy.board.files import write_json, write_text
from deploy.board.package import Package, read_package
from deploy.board.power import PowerMeter
from deploy.board.radioml import SNRS
from deploy.board.validation_report import render

SWEEP = (1, 16, 64, 256)
RERUNS = 3
MAX_RERUN_FRAMES = 20


def validate(
    package: Package,
    data: Frames | None = None,
    count: int | None = None,
    batch: int = 256,
    sweep: Sequence[int] = SWEEP,
    told: Callable[[str, int, int], object] = lambda what, done, total: None,
) -> dict[str, Any]:
    """Run everything and return the facts; `agrees` says whether all classes were the network's.

    Args:
        package: what to validate; the board is pynq's active device.
        data: frames to test on besides the package's samples.
        count: take about that many of them, evenly over classes and SNRs.
        batch: most frames a transfer.
        sweep: batch sizes to measure the throughput at.
        told: called with what is being done, frames done and frames in all.

    Raises:
        BadInput: package, board or data are unusable.
        CheckFailed: the board stopped answering.
    """
    classes = len(package.classes)
    samples = open_frames(package.samples, classes)
    if samples.predicted is None:
        raise BadInput(f"{package.samples} does not say what the network predicts")
    runs = [("samples", samples, rows_to_test(samples))]
    if data is not None:
        # Before the board is touched: a count or file that is of no use should not cost a run.
        runs.append(("data", data, rows_to_test(data, count)))
    with Driver(package, batch) as driver:
        facts: dict[str, Any] = {
            "package": {
                "folder": package.folder.name,
                "digest": package.digest,
                "network": package.network.name,
                "score": package.network.score,
                "board": package.board,
                "clock_mhz": package.clock_mhz,
            },
            "board": {"name": driver.board, "virtual": driver.virtual},
            "expected": _expected(package),
        }
        for name, frames, rows in runs:
            facts[name] = _accuracy(driver, frames, rows, name, told)
        facts |= _speed(driver, samples, sweep, told)
    facts["disagreements"] = sum(len(facts[name].get("disagreeing", [])) for name, _, _ in runs)
    facts["compared"] = sum(facts[name]["compared"] for name, _, _ in runs)
    facts["agrees"] = facts["disagreements"] == 0
    return facts


def _expected(package: Package) -> dict[str, Any]:
    performance, clock = package.performance, package.clock_mhz * 1e6
    accuracy, label = package.network.accuracy, package.network.label
    return {
        "source": performance.source,
        "frames_per_second": clock / performance.cycles_per_frame,
        "latency_seconds": performance.latency_cycles / clock,
        **({} if accuracy is None else {"accuracy": accuracy}),
        **({} if label is None else {"label": label}),
    }


def _accuracy(
    driver: Driver,
    frames: Frames,
    rows: np.ndarray,
    name: str,
    told: Callable[[str, int, int], object],
) -> dict[str, Any]:
    """Return accuracy over the rows, and where the board and the network differ."""
    found = np.empty(len(rows), np.int64)
    done = 0
    for outputs in driver.stream(frames.read(rows)):
        found[done : done + len(outputs)] = driver.classes(outputs)
        done += len(outputs)
        told(name, done, len(rows))
    labels, snrs = frames.labels[rows], frames.snrs[rows]
    facts: dict[str, Any] = {
        "label": frames.label,
        "frames": len(rows),
        "accuracy": float((found == labels).mean()),
        "by_snr": _by_snr(found == labels, snrs),
        "confusion": _confusion(labels, found, len(driver.package.classes)),
        "compared": 0,
    }
    if frames.predicted is not None:
        predicted = frames.predicted[rows]
        wrong = np.flatnonzero(found != predicted)
        facts |= {
            "compared": len(rows),
            "network_accuracy": float((predicted == labels).mean()),
            "network_by_snr": _by_snr(predicted == labels, snrs),
            "disagreeing": [
                {
                    "row": int(rows[i]),
                    "snr": int(snrs[i]),
                    "label": int(labels[i]),
                    "network": int(predicted[i]),
                    "board": int(found[i]),
                }
                for i in wrong
            ],
        }
        for entry in facts["disagreeing"][:MAX_RERUN_FRAMES]:
            (frame,) = frames.read(np.array([entry["row"]]))
            entry["again"] = [int(driver.predict(frame)[0]) for _ in range(RERUNS)]
    return facts


def _by_snr(right: np.ndarray, snrs: np.ndarray) -> dict[str, float]:
    return {str(snr): float(right[snrs == snr].mean()) for snr in SNRS if (snrs == snr).any()}


def _confusion(labels: np.ndarray, found: np.ndarray, classes: int) -> list[list[int]]:
    """Return counts, rows true classes, columns found ones."""
    counts = np.bincount(labels * classes + found, minlength=classes**2)
    return counts.reshape(classes, classes).tolist()


def _speed(
    driver: Driver,
    samples: Frames,
    sweep: Sequence[int],
    told: Callable[[str, int, int], object],
) -> dict[str, Any]:
    """Measure throughput at every batch size, and the latency of a single frame."""
    largest = max(sweep)
    rows = np.arange(len(samples.labels))
    frames = next(iter(samples.read(rows[:largest])))
    repeats = 1 if driver.virtual else 20
    frames = np.concatenate([frames] * -(-largest // len(frames)))[:largest]
    results = []
    with PowerMeter() as meter:
        for index, size in enumerate(sweep):
            # Each size has buffers of its own: a transfer moves whole ones.
            with driver.resized(size) as sized:
                list(sized.stream([frames[:size]] * repeats))
                results.append(_throughput(size, sized.timing))
                if size == 1:
                    single = sized.timing
            told("throughput", index + 1, len(sweep))
        if 1 not in sweep:
            with driver.resized(1) as sized:
                list(sized.stream([frames[:1]] * repeats))
                single = sized.timing
    steady = results[-1]["timing"]
    for result in results:
        del result["timing"]
    interval = steady.interval_seconds
    if interval is None:
        interval = steady.accelerator_seconds / steady.frames
    return {
        "times": steady.source,
        "throughput": results,
        "frames_per_second": 1 / interval,
        "samples_per_second": 1024 / interval,
        "latency_seconds": single.latency_seconds,
        "power_watts": meter.watts or None,
    }


def _throughput(size: int, timing: Timing) -> dict[str, Any]:
    frames = timing.frames
    return {
        "batch": size,
        "accelerator_frames_per_second": frames / timing.accelerator_seconds,
        "accelerator_samples_per_second": 1024 * frames / timing.accelerator_seconds,
        "host_frames_per_second": frames / timing.seconds,
        "host_samples_per_second": 1024 * frames / timing.seconds,
        "timing": timing,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.board.validate", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("package", type=Path, help="folder of an accelerator package")
    parser.add_argument("--data", type=Path, help="HDF5 file in RadioML 2018.01A's layout")
    parser.add_argument("-n", "--frames", type=int, help="test on about this many of its frames")
    parser.add_argument(
        "--batch-size", "--batch", type=int, default=256, help="most frames a transfer"
    )
    parser.add_argument("--sweep", default=",".join(map(str, SWEEP)), help="batch sizes to time")
    parser.add_argument("--json", type=Path, help="write the facts to this file")
    parser.add_argument("--report", type=Path, help="write the report to this file (Markdown)")
    given = parser.parse_args(arguments)
    try:
        check_folder(given.json)
        check_folder(given.report)
        sweep = _sizes(given.sweep)
        package = read_package(given.package)
        data = None if given.data is None else open_frames(given.data, len(package.classes))
        facts = validate(package, data, given.frames, given.batch_size, sweep, progress)
        report = render(facts, package.classes)
        print(report)
        if given.json is not None:
            write_json(given.json, facts)
        if given.report is not None:
            write_text(given.report, report)
        if not facts["agrees"]:
            raise CheckFailed(
                f"the board disagrees with the network in {facts['disagreements']} of "
                f"{facts['compared']} frames"
            )
    except BOARD_FAILURES as error:
        return leave("validate", error)
    return 0


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise BadInput(f"--sweep {text}: expected batch sizes such as 1,16,256")
    return sizes


if __name__ == "__main__":
    end(main())
