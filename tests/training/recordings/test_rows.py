"""The rows of a long recording: kept small, and joined into runs."""

import csv
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

from training.recordings.rows import Row, Rows, Run, runs, write_csv


def row(number: int, answer: str, centre: float = 5.0, sure: float | None = 0.5) -> Row:
    return Row(700 * number, 1024, 700 * number / 1e6, centre, answer, sure, None, -3.0)


def test_kept_rows_are_those_that_came(tmp_path: Path) -> None:
    made = [row(0, "QPSK"), row(1, "unknown", sure=0.25), row(2, "rejected", sure=None)]
    kept = Rows(made, 1e6)
    assert list(kept) == list(kept) == made and len(kept) == 3
    assert [each.time for each in Rows(made, None)] == [None] * 3
    write_csv(tmp_path / "r.csv", kept)
    lines = (tmp_path / "r.csv").read_text().splitlines()
    assert len(lines) == 4
    assert [each["answer"] for each in csv.DictReader(lines)] == ["QPSK", "unknown", "rejected"]
    assert lines[3].split(",")[5:] == ["", "", "-3.0"]


def test_a_million_frames_are_few_bytes_each() -> None:
    count = 100_000

    def rows() -> Iterator[Row]:
        for number in range(count):
            yield row(number, "QPSK" if number < 50_000 else "rejected")

    tracemalloc.start()
    kept = Rows(rows(), 1e6)
    joined = runs(kept)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * count
    assert [(run.answer, run.frames) for run in joined] == [("QPSK", 50_000), ("rejected", 50_000)]


def test_runs_join_a_channels_neighbours() -> None:
    made = [row(0, "QPSK", sure=0.5), row(1, "QPSK", sure=1.0), row(2, "rejected", sure=None)]
    made += [row(0, "rejected", 9.0, sure=None), row(1, "OOK", 9.0)]
    assert runs(made) == [
        Run(0, 1400, 5.0, "QPSK", 2, 0.75),  # frames overlap: the later one counts
        Run(1400, 2424, 5.0, "rejected", 1, None),
        Run(0, 700, 9.0, "rejected", 1, None),
        Run(700, 1724, 9.0, "OOK", 1, 0.5),
    ]
    assert runs([]) == []
