"""Does the board compute what the network computes, and how fast?

    python -m deploy.board.validate PACKAGE [--data FILE] [-n FRAMES] [--json FILE] [--report FILE]

Runs the package's sample frames, whose classes by the network are known, then the data: all SNRs of
RadioML's official test split, or every frame of a file that carries the network's classes
(`aaronnet board expect` writes one). Every frame that comes out otherwise is listed and run again,
alone. Exit code 0: the board agrees; 1: it does not, or stopped answering; 2: bad input.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deploy.board.console import BOARD_FAILURES, end, leave, progress
from deploy.board.data_file import Frames, open_frames, rows_to_test
from deploy.board.driver import Driver, Timing
from deploy.board.errors import BadInput, CheckFailed
from deploy.board.files import check_apart, check_target, write_json, write_text
from deploy.board.package import Package, read_package
from deploy.board.power import PowerMeter
from deploy.board.radioml import SNRS
from deploy.board.validation import (
    Accuracy,
    BoardFound,
    Disagreement,
    Expected,
    Throughput,
    Validated,
    Validation,
)
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
) -> Validation:
    """Run everything; `agrees` says whether all classes were the network's.

    Args:
        package: what to validate; the board is pynq's active device.
        data: frames to test on besides the package's samples.
        count: take about that many of them (without `data`: of the samples), evenly over classes
            and SNRs.
        batch: most frames a transfer.
        sweep: batch sizes to measure the throughput at.
        told: called with what is being done, frames done and frames in all.

    Raises:
        BadInput: package, board or data are unusable.
        CheckFailed: the board stopped answering.
    """
    samples = open_frames(package.samples, len(package.classes), package.input.frame)
    if samples.predicted is None:
        raise BadInput(f"{package.samples} does not say what the network predicts")
    # Before the board is touched: a count or file that is of no use should not cost a run.
    runs = {"samples": (samples, rows_to_test(samples, count if data is None else None))}
    if data is not None:
        runs["data"] = (data, rows_to_test(data, count))
    with Driver(package, batch) as driver:
        tested = {
            name: _accuracy(driver, frames, rows, name, told)
            for name, (frames, rows) in runs.items()
        }
        speed = _speed(driver, samples, sweep, told)
        board = BoardFound(driver.board, driver.virtual, driver.own_dmas)
    disagreements = sum(len(one.disagreeing or []) for one in tested.values())
    return Validation(
        package=Validated(
            package.folder.name,
            package.digest,
            package.network.name,
            package.network.score,
            package.board,
            package.clock_mhz,
            package.input.frame[0],
        ),
        board=board,
        expected=_expected(package),
        samples=tested["samples"],
        data=tested.get("data"),
        times=speed.times,
        throughput=speed.throughput,
        frames_per_second=speed.frames_per_second,
        samples_per_second=speed.frames_per_second
        and package.input.frame[0] * speed.frames_per_second,
        latency_seconds=speed.latency_seconds,
        power_watts=speed.power_watts,
        disagreements=disagreements,
        compared=sum(one.compared for one in tested.values()),
        agrees=disagreements == 0,
    )


def _expected(package: Package) -> Expected:
    performance, clock = package.performance, package.clock_mhz * 1e6
    return Expected(
        performance.source,
        clock / performance.cycles_per_frame,
        performance.latency_cycles / clock,
        package.network.accuracy,
        package.network.label,
    )


def _accuracy(
    driver: Driver,
    frames: Frames,
    rows: np.ndarray,
    name: str,
    told: Callable[[str, int, int], object],
) -> Accuracy:
    """Return accuracy over the rows, and where the board and the network differ."""
    found = np.empty(len(rows), np.int64)
    done = 0
    for outputs in driver.stream(frames.read(rows)):
        found[done : done + len(outputs)] = driver.classes(outputs)
        done += len(outputs)
        told(name, done, len(rows))
    tested = Accuracy(frames.label, len(rows), None, {}, [], compared=0)
    labels = snrs = None
    if frames.index is not None:
        labels, snrs = frames.index.labels[rows], frames.index.snrs[rows]
        tested = replace(
            tested,
            accuracy=float((found == labels).mean()),
            by_snr=_by_snr(found == labels, snrs),
            confusion=_confusion(labels, found, frames.classes),
        )
    if frames.predicted is None:
        return tested
    predicted = frames.predicted[rows]
    disagreeing = [
        Disagreement(
            int(rows[i]),
            None if snrs is None else int(snrs[i]),
            None if labels is None else int(labels[i]),
            int(predicted[i]),
            int(found[i]),
        )
        for i in np.flatnonzero(found != predicted)
    ]
    for entry in disagreeing[:MAX_RERUN_FRAMES]:
        (frame,) = frames.read(np.array([entry.row]))
        entry.again = [int(driver.predict(frame)[0]) for _ in range(RERUNS)]
    tested = replace(tested, compared=len(rows), disagreeing=disagreeing)
    if labels is None or snrs is None:
        return tested
    return replace(
        tested,
        network_accuracy=float((predicted == labels).mean()),
        network_by_snr=_by_snr(predicted == labels, snrs),
    )


def _by_snr(right: np.ndarray, snrs: np.ndarray) -> dict[str, float]:
    return {str(snr): float(right[snrs == snr].mean()) for snr in SNRS if (snrs == snr).any()}


def _confusion(labels: np.ndarray, found: np.ndarray, classes: int) -> list[list[int]]:
    """Return counts, rows true classes, columns found ones."""
    counts = np.bincount(labels * classes + found, minlength=classes**2)
    return counts.reshape(classes, classes).tolist()


@dataclass(frozen=True)
class _Speed:
    """See `Validation`."""

    times: str
    throughput: list[Throughput]
    frames_per_second: float | None
    latency_seconds: float | None
    power_watts: dict[str, float] | None


def _speed(
    driver: Driver,
    samples: Frames,
    sweep: Sequence[int],
    told: Callable[[str, int, int], object],
) -> _Speed:
    """Measure throughput at every batch size, and the latency of a single frame."""
    frames = next(iter(samples.read(np.arange(min(len(samples), max(sweep))))))
    repeats = 1 if driver.virtual else 20
    timings: dict[int, Timing] = {}
    with PowerMeter() as meter:
        for index, size in enumerate(sweep):
            timings[size] = _timed(driver, frames, size, repeats)
            told("throughput", index + 1, len(sweep))
        single = timings.get(1) or _timed(driver, frames, 1, repeats)
    steady = timings[max(sweep)]
    interval = steady.interval_seconds or steady.accelerator_seconds / steady.frames
    return _Speed(
        steady.source,
        [_throughput(size, timings[size], samples.frame[0]) for size in sweep],
        # Of single frames each waits for the one before it.
        None if max(sweep) == 1 else 1 / interval,
        single.latency_seconds,
        meter.watts or None,
    )


def _timed(driver: Driver, frames: np.ndarray, size: int, repeats: int) -> Timing:
    """Return how long batches of `size` take; the frames are repeated as needed."""
    # Each size has buffers of its own: a transfer moves whole ones.
    with driver.resized(size) as sized:
        batch = np.concatenate([frames] * -(-size // len(frames)))[:size]
        list(sized.stream([batch] * repeats))
        return sized.timing


def _throughput(size: int, timing: Timing, samples: int) -> Throughput:
    accelerator, host = (
        timing.frames / seconds for seconds in (timing.accelerator_seconds, timing.seconds)
    )
    return Throughput(size, accelerator, samples * accelerator, host, samples * host)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.board.validate", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("package", type=Path, help="folder of an accelerator package")
    parser.add_argument("--data", type=Path, help="HDF5 file in RadioML 2018.01A's layout")
    parser.add_argument(
        "-n", "--frames", type=int, help="about this many of its frames, or of the samples"
    )
    parser.add_argument(
        "--batch-size", "--batch", type=int, default=256, help="most frames a transfer"
    )
    parser.add_argument("--sweep", default=",".join(map(str, SWEEP)), help="batch sizes to time")
    parser.add_argument("--json", type=Path, help="write the facts to this file")
    parser.add_argument("--report", type=Path, help="write the report to this file (Markdown)")
    given = parser.parse_args(arguments)
    try:
        for path in (given.json, given.report):
            check_target(path)
            check_apart(path, given.package, given.data)
        sweep = _sizes(given.sweep)
        package = read_package(given.package)
        data = (
            None
            if given.data is None
            else open_frames(given.data, len(package.classes), package.input.frame)
        )
        found = validate(package, data, given.frames, given.batch_size, sweep, progress)
        report = render(found, package.classes)
        print(report)
        if given.json is not None:
            write_json(given.json, found.facts())
        if given.report is not None:
            write_text(given.report, report)
        if not found.agrees:
            raise CheckFailed(
                f"the board disagrees with the network in {found.disagreements} of "
                f"{found.compared} frames"
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
