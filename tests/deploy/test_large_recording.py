"""A recording of 2 GB (a sparse file) is classified in little memory; prints the docs' figures.

Run with: python -m pytest -s -m slow tests/deploy/test_large_recording.py
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from models import checkpoint
from tests.conftest import ROOT
from training.recordings.formats import open_recording
from training.recordings.prepared import Preparation, Prepared

pytestmark = pytest.mark.slow

BYTES = 1 << 31
LARGEST_OWN = 500  # MB that the process itself holds; libraries' files are mapped besides
PICTURES = 50  # MB more while a report's are drawn (docs/recordings.md says what was measured)
NETWORK = "aaronnet32++"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """2 GiB of cf32 samples, noise at the begin and zeros after it, which take no disk."""
    path = tmp_path / "large.cf32"
    rng = np.random.default_rng(0)
    rng.standard_normal(1 << 22, np.float32).tofile(path)
    with path.open("r+b") as file:
        file.truncate(BYTES)
    return path


@pytest.mark.parametrize(
    ("decimate", "reports"),
    [(16, ()), (256, ("--report", "r.html", "--sigmf", "r.sigmf-meta", "--json", "r.json"))],
)
def test_memory_stays_small(
    large: Path, tmp_path: Path, decimate: int, reports: tuple[str, ...]
) -> None:
    out = tmp_path / "rows.csv"
    command = [sys.executable, ROOT / "aaronnet.py", "classify", large, "--decimate", decimate]
    rest = ["--network", NETWORK, "--csv", out, "--device", "cpu"]
    begin = time.monotonic()
    words = [str(part) for part in (*command, *rest, *reports)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, cwd=tmp_path)
    own = mapped = 0.0
    while process.poll() is None:
        now = _memory(process.pid)
        own, mapped = max(own, now.get("RssAnon", 0)), max(mapped, now.get("RssFile", 0))
        time.sleep(0.1)
    seconds = time.monotonic() - begin
    assert process.returncode == 0
    frames = sum(1 for _ in out.open()) - 1
    assert frames == BYTES // 8 // decimate // 1024
    print(
        f"\n2 GiB decimated by {decimate}, {reports}: {frames} frames in {seconds:.0f} s; at most "
        f"{own:.0f} MB of its own, {mapped:.0f} MB of mapped files (libraries)"
    )
    assert own < LARGEST_OWN + (PICTURES if reports else 0)


def _memory(pid: int) -> dict[str, float]:
    """Return the lines of /proc's status that count kB, in MB."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    rows = (line.split() for line in text.splitlines())
    return {row[0][:-1]: int(row[1]) / 1000 for row in rows if row[-1] == "kB"}


def test_pace_of_each_part(large: Path) -> None:
    threads = torch.get_num_threads()
    recording = open_recording(large)
    count = 2048
    begin = time.perf_counter()
    for first in range(0, count, 256):
        recording.source.read(first * 1024, 256 * 1024)
    reading = count / (time.perf_counter() - begin)
    paces = {}
    for name, how in (
        ("preparation", Preparation()),
        ("preparation, decimated by 4", Preparation(decimate=4)),
    ):
        prepared, begin, done = Prepared(recording, how, 1024), time.perf_counter(), 0
        for block in prepared:
            done += len(block.frames)
            if done >= count:
                break
        paces[name] = done / (time.perf_counter() - begin)
    frames = torch.randn(256, 2, 1024)
    network = checkpoint.load(NETWORK).network
    with torch.inference_mode():
        network(frames)
        begin = time.perf_counter()
        network(frames)
        paces[f"network {NETWORK}"] = len(frames) / (time.perf_counter() - begin)
    print(f"\nframes/s, the network on {threads} threads: reading {reading:,.0f}")
    for name, pace in paces.items():
        print(f"{name} {pace:,.0f}")
    assert reading > paces["preparation"] > paces["preparation, decimated by 4"]
