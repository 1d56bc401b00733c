"""How honest a synthetic file is: networks trained on the real data, asked about it.

A network that was trained on RadioML 2018.01A has a published accuracy at every SNR. On frames that
are like the real ones it should score the same; nothing here is tuned per network.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deploy.board.radioml import CLASSES, SNRS, Index, open_file, read_index, read_rows, snr_index
from deploy.board.split import official_split
from models.checkpoint import Checkpoint, load
from models.console import Progress
from models.errors import BadInput
from models.published import CURVE_SNRS, CURVES, DATA_LABEL, OTHERS, RESULTS
from training.data_info import sample_rows
from training.twin import Twin

MEAN_TOLERANCE = 0.02
SNR_TOLERANCE = 0.04
_HIGH = snr_index(10)  # from 10 dB on the curves are flat
_BATCH = 64

PUBLISHED = {row.network: row.accuracy for row in (*RESULTS, *OTHERS)}
"""Accuracy over all SNRs of each published network on the real test split."""

DIGESTS = {
    "ae99b02ffa2e0e9b5e4eb6e38a46fd74b0bf06c312b164345c1143dc9f6e541d": "VGG10",
    "b30c6dc66acbcb046772e8d6b12504379e948f1c80f2c1d6ba1b1ae4b7fafa52": "AaronNet32",
    "c87d9211234c403a2f0aff1e265810840d2f1e901c07c2a0578ba61828826d00": "AaronNet32++",
}
"""SHA-256 of checkpoints as their authors published them."""


def fidelity(
    path: str | Path,
    checkpoints: Sequence[str],
    frames_per_cell: int | None = 64,
    progress: Progress | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Compare accuracies on a file with those published for the real data.

    Args:
        path: data file in RadioML's layout. Of a real one only the official test frames are used,
            since the networks were trained on the others.
        checkpoints: files; `FILE=NAME` says under which name one was published (`PUBLISHED`), where
            its digest is not among `DIGESTS`.
        frames_per_cell: frames of each (class, SNR). None takes all there are.
        progress: told (frames classified, frames in all).
        device: torch's name of where to compute.

    Returns:
        Facts: path, data_label, frames, `networks` (see `compare`), `ok` (all within tolerance).

    Raises:
        BadInput: the file or a checkpoint is unusable, or a name unknown.
    """
    if not checkpoints:
        raise BadInput("no checkpoint given; fidelity needs networks trained on the real data")
    named = [_published_as(text) for text in checkpoints]
    index = read_index(path)
    rows = _rows(index, frames_per_cell)
    total, done = len(rows) * len(named), 0
    networks = []
    for checkpoint, file, name in named:
        counts = np.zeros((len(SNRS), len(CLASSES), len(CLASSES)), np.int64)
        for part, guessed in _classify(checkpoint, path, rows, device):
            np.add.at(counts, (snr_index(index.snrs[part]), index.labels[part], guessed), 1)
            done += len(part)
            if progress:
                progress(done, total)
        networks.append(
            {
                "checkpoint": file,
                "sha256": checkpoint.info["sha256"],
                "network": name or checkpoint.config.name,
                "trained_on": DATA_LABEL if name else checkpoint.data_label,
                **compare(counts, name),
            }
        )
    return {
        "path": str(path),
        "data_label": index.label,
        "frames": len(rows),
        "snrs": list(SNRS),
        "classes": list(CLASSES),
        "tolerance": {"mean": MEAN_TOLERANCE, "snr": SNR_TOLERANCE},
        "networks": networks,
        "ok": all(network["ok"] is not False for network in networks),
    }


def compare(counts: np.ndarray, name: str | None) -> dict[str, Any]:
    """Set what was counted beside what was published.

    Args:
        counts: int64 (26, 24, 24), frames by SNR, class and answer.
        name: of the published network, None if it is none.

    Returns:
        accuracy and per SNR, per class (all SNRs and from 10 dB on); `mistaken_for` (each class's
        most frequent wrong answer from 10 dB on); `published`: name, accuracy, curve (SNR to
        accuracy, None where there is none), `deviation` from it (mean; snr: the largest, at which
        dB, and what sampling alone makes of so few frames, one standard error), `ok` (None
        without anything to compare with); the `counts`.
    """
    right = counts.diagonal(axis1=1, axis2=2)  # (26, 24)
    frames = counts.sum(axis=2)
    high = counts[_HIGH:].sum(axis=0)
    wrong = high - np.diag(high.diagonal())
    facts: dict[str, Any] = {
        "accuracy": float(right.sum() / frames.sum()),
        "accuracy_per_snr": _shares(right.sum(axis=1), frames.sum(axis=1)),
        "accuracy_per_class": _shares(right.sum(axis=0), frames.sum(axis=0)),
        "accuracy_per_class_high": _shares(high.diagonal(), high.sum(axis=1)),
        "mistaken_for": [CLASSES[row.argmax()] if row.any() else None for row in wrong],
        "counts": counts.tolist(),
        "published": None,
        "deviation": None,
        "ok": None,
    }
    if name is None:
        return facts
    curve = dict(zip(CURVE_SNRS, CURVES[name], strict=True)) if name in CURVES else None
    mean = facts["accuracy"] - PUBLISHED[name]
    deviation: dict[str, Any] = {
        "mean": mean,
        "snr": None,
        "at": None,
        "standard_error": None,
    }
    ok = abs(mean) <= MEAN_TOLERANCE
    if curve:
        measured = facts["accuracy_per_snr"]
        off = {
            snr: measured[snr_index(snr)] - published
            for snr, published in curve.items()
            if measured[snr_index(snr)] is not None
        }
        if off:
            at = max(off, key=lambda snr: abs(off[snr]))
            share, total = measured[snr_index(at)], frames[snr_index(at)].sum()
            error = float(np.sqrt(share * (1 - share) / total))
            deviation |= {"snr": off[at], "at": at, "standard_error": error}
            ok = ok and abs(off[at]) <= SNR_TOLERANCE
    published = {"name": name, "accuracy": PUBLISHED[name], "curve": curve}
    return facts | {"published": published, "deviation": deviation, "ok": ok}


def _shares(right: np.ndarray, total: np.ndarray) -> list[float | None]:
    return [int(r) / int(t) if t else None for r, t in zip(right, total, strict=True)]


def _published_as(text: str) -> tuple[Checkpoint, str, str | None]:
    file, _, name = text.rpartition("=")
    if name in PUBLISHED:
        return load(file, only_ours="data fidelity"), file, name
    if file and not Path(text).exists():
        raise BadInput(f"no network was published as {name!r}; known: {', '.join(PUBLISHED)}")
    checkpoint = load(text, only_ours="data fidelity")
    return checkpoint, text, DIGESTS.get(checkpoint.info["sha256"])


def _rows(index: Index, frames_per_cell: int | None) -> np.ndarray:
    if index.synthetic:
        return sample_rows(index, frames_per_cell, spread=False)
    tested = np.sort(official_split(index).test)
    kept = Index(index.path, index.labels[tested], index.snrs[tested], index.label, False)
    return tested[sample_rows(kept, frames_per_cell)]


def _classify(
    checkpoint: Checkpoint, path: str | Path, rows: np.ndarray, device: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (rows, answers) for all rows; rows must be ascending."""
    # The twin gives the same numbers as the network, several times faster.
    network = Twin(checkpoint.network.to(device)).eval()
    with open_file(path) as file, torch.inference_mode():
        for part, frames in read_rows(file["X"], rows, _BATCH):
            x = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 2, 1)))
            yield part, network(x.to(device)).argmax(1).cpu().numpy()
