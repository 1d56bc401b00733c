"""What a data file holds, as facts and as a picture."""

from pathlib import Path
from typing import Any

import numpy as np

from deploy.board.radioml import (
    FULL_FRAMES_PER_CELL,
    SNRS,
    Index,
    Layout,
    layout_of,
    open_file,
    read_index,
    read_rows,
    snr_index,
)
from models.console import Progress
from models.errors import BadInput, CheckFailed
from training.frame_statistics import CLIP
from training.synthesis import radioml_2016

HUGE = 1e4
"""No sample of a signal scaled like RadioML's comes near; even the SSB classes stay far below."""


def describe(
    path: str | Path, frames_per_cell: int | None = 64, progress: Progress | None = None
) -> dict[str, Any]:
    """Look at a file's labels and at frames of every cell.

    Args:
        path: data file in RadioML's layout.
        frames_per_cell: frames of each (class, SNR) looked at, spread over the cell. None takes
            all of them, which also finds every NaN.
        progress: told (frames done, frames in all).

    Returns:
        Facts: path, data_label, frames, layout, in_order, cells (frames_min, frames_max, missing),
        balanced, complete (as many frames as the published file), frames_looked_at, classes (a row
        each: name, frames, power, clipped, clipped_top: at the highest SNR), clipped and
        clipped_top (shares over all classes but AM-SSB ones, whose scale is arbitrary), snrs (a
        row each: snr, clipped: over all classes, clipped_scaled: over all but AM-SSB ones),
        odd_frames (rows of those that are all `zero` or `huge`: beyond `HUGE`).

    Raises:
        BadInput: as `radioml.read_index`, or a frame that was looked at holds NaN or infinity.
    """
    sizes = _sizes(path)
    index = read_index(path, sizes.classes, sizes.frame)
    cells, names = index.cells, index.layout.class_names
    known, published = _as_published(index)
    counts, top = cells[:, known], known[-1:]
    rows = sample_rows(index, frames_per_cell)
    power = np.zeros(cells.shape)
    clipped = np.zeros(cells.shape)
    looked = np.zeros(cells.shape, np.int64)
    odd: dict[str, list[int]] = {"zero": [], "huge": []}
    with open_file(path, sizes.classes, sizes.frame) as file:
        layout = {key: f"{file[key].dtype} {file[key].shape}" for key in "XYZ"}
        done = 0
        for part, frames in read_rows(file["X"], rows):
            cell = index.labels[part], snr_index(index.snrs[part])
            # In float64: the square of what is far too large overflows float32.
            squares = np.einsum("bti,bti->b", *2 * [frames.astype(float)])
            np.add.at(power, cell, squares / sizes.samples)
            peak = np.abs(frames).max(axis=(1, 2))
            odd["zero"].extend(part[peak == 0].tolist())
            odd["huge"].extend(part[peak > HUGE].tolist())
            np.add.at(clipped, cell, (np.abs(frames) > CLIP).mean(axis=(1, 2)))
            np.add.at(looked, cell, 1)
            done += len(part)
            if progress:
                progress(done, len(rows))
    classes = [
        {
            "name": name,
            "frames": int(cells[i].sum()),
            "power": _mean(power[i], looked[i]),
            "clipped": _mean(clipped[i], looked[i]),
            "clipped_top": _mean(clipped[i, top], looked[i, top]),
        }
        for i, name in enumerate(names)
    ]
    scaled = [i for i, name in enumerate(names) if not name.startswith("AM-SSB")]
    return {
        "path": str(path),
        "data_label": index.label,
        "frames": len(index),
        "layout": layout,
        "in_order": index.in_order,
        "cells": {
            "frames_min": int(counts.min()),
            "frames_max": int(counts.max()),
            "missing": int((counts == 0).sum()),
        },
        "balanced": bool(counts.min() == counts.max()),
        "complete": bool((counts == published).all()),
        "frames_looked_at": int(looked.sum()),
        "classes": classes,
        "clipped": _mean(clipped[scaled], looked[scaled]),
        "clipped_top": _mean(clipped[scaled, top[0]], looked[scaled, top[0]]),
        "snrs": [
            {
                "snr": SNRS[i],
                "clipped": _mean(clipped[:, i], looked[:, i]),
                "clipped_scaled": _mean(clipped[scaled, i], looked[scaled, i]),
            }
            for i in known.tolist()
        ],
        "odd_frames": odd,
    }


def _sizes(path: str | Path) -> Layout:
    """Return the sizes of a file; what has as many classes as RadioML 2018.01A, has its frames."""
    found = layout_of(path)
    return Layout() if found.classes == Layout().classes else found


def _as_published(index: Index) -> tuple[np.ndarray, int]:
    """Return the indices of the published file's SNRs, and how many frames it has a cell.

    A file of other frames and classes is compared with RadioML 2018.01A.
    """
    if index.layout != Layout() and index.layout.class_names == radioml_2016.CLASSES:
        return snr_index(np.array(radioml_2016.SNRS)), radioml_2016.FRAMES_PER_CELL
    return np.arange(len(SNRS)), FULL_FRAMES_PER_CELL


def check_odd(facts: dict[str, Any]) -> None:
    """Complain of frames that hold no signal.

    Args:
        facts: from `describe`.

    Raises:
        CheckFailed: some are all zeros or far too large.
    """
    texts = {"zero": "hold nothing but zeros", "huge": f"have samples beyond +-{HUGE:g}"}
    found = [
        f"{len(rows)} of {facts['frames_looked_at']} frames looked at {texts[kind]}, "
        f"first in row {rows[0]}"
        for kind, rows in facts["odd_frames"].items()
        if rows
    ]
    if found:
        raise CheckFailed(f"{facts['path']}: {'; '.join(found)}")


def sample_rows(index: Index, frames_per_cell: int | None, spread: bool = True) -> np.ndarray:
    """Return the rows of up to so many frames of each cell, in file order.

    They are spread over the cell, or its first ones, which a disk reads faster.
    """
    if frames_per_cell is None:
        return np.arange(len(index))
    if frames_per_cell < 1:
        raise BadInput(f"{frames_per_cell} frames per cell: there must be at least one")
    cells = index.labels * len(SNRS) + snr_index(index.snrs)
    order = np.argsort(cells, kind="stable")
    counts = index.cells.ravel()
    ends = np.cumsum(counts)
    picked = [
        order[end - count + _picked(int(count), frames_per_cell, spread)]
        for count, end in zip(counts, ends, strict=True)
        if count
    ]
    return np.sort(np.concatenate(picked))


def _picked(count: int, wanted: int, spread: bool) -> np.ndarray:
    if spread:
        return np.linspace(0, count - 1, min(count, wanted)).astype(int)
    return np.arange(min(count, wanted))


def _mean(total: np.ndarray, count: np.ndarray) -> float | None:
    return float(total.sum() / count.sum()) if count.sum() else None


def draw(path: str | Path, picture: str | Path, snr: int = 30, seed: int = 0) -> dict[str, Any]:
    """Draw a frame of each modulation: I and Q over time, constellation, spectrum.

    The I/Q plane shows one frame as it is: all samples in grey, in green every eighth where the
    power is largest: the symbols of the linear modulations. The spectrum is the mean over up to
    32 frames.

    Args:
        path: data file in RadioML's layout.
        picture: file to write; its suffix gives the format (.png, .svg, .pdf).
        snr: dB, of the frames.
        seed: of the choice of frames.

    Returns:
        Facts: path, picture, data_label, snr, rows (class name to the row of its frame).

    Raises:
        BadInput: as `radioml.read_index`, the file has no frames at `snr`, or `picture` cannot be
            written.
    """
    from training.pictures import check_picture, modulations

    check_picture(picture)
    sizes = _sizes(path)
    index = read_index(path, sizes.classes, sizes.frame)
    random = np.random.default_rng(seed)
    chosen: dict[str, np.ndarray] = {}
    for i, name in enumerate(index.layout.class_names):
        rows = np.flatnonzero((index.labels == i) & (index.snrs == snr))
        if len(rows):
            chosen[name] = random.permutation(rows)[:32]
    if not chosen:
        there = sorted(set(index.snrs.tolist()))
        raise BadInput(f"{path} has no frames at {snr} dB; it has {', '.join(map(str, there))}")
    frames = {}
    with open_file(path, sizes.classes, sizes.frame) as file:
        for name, rows in chosen.items():
            frames[name] = next(read_rows(file["X"], np.sort(rows)))[1]
    modulations(frames, f"{index.label}, {snr} dB", picture)
    return {
        "path": str(path),
        "picture": str(picture),
        "data_label": index.label,
        "snr": snr,
        "rows": {name: int(rows.min()) for name, rows in chosen.items()},
    }
