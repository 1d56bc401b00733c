"""Real frames beside synthetic ones: the same numbers of both, and whether they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy.board.radioml import SNRS, class_index, open_file, read_index, read_rows
from models.errors import BadInput
from models.files import existing_file
from training.data_info import sample_rows
from training.frame_statistics import CLIP, CLIPPED, Looks, fitted_roll_off, look_at
from training.page import write_page
from training.pictures import clipping, data_uri, distributions, eyes
from training.recordings.formats import open_recording
from training.synthesis import recipe_of, synthesise
from training.synthesis.modulations import SPS

TEMPLATE = Path(__file__).with_name("frame_comparison.html.jinja")
SHORTEST = 128  # samples
_RESAMPLED = 400  # times, for an interval
_MOST = 4096  # frames of either kind
_CLIPPED = 32  # frames drawn of each modulation and SNR to count clipped samples


@dataclass(frozen=True)
class Frames:
    """Frames to compare.

    Attributes:
        samples: complex64 (B, L).
        label: where they come from.
        clipped: SNR in dB to the share of samples beyond +-2, where the file has several.
    """

    samples: np.ndarray
    label: str
    clipped: dict[int, float]


def read_frames(
    path: str | Path, modulations: Sequence[str], snr: int, per_cell: int, seed: int = 0
) -> Frames:
    """Read frames of a file.

    Args:
        path: HDF5 in RadioML 2018.01A's layout, or .npy, complex (N, L) or with I and Q.
        modulations: classes to take of HDF5; a .npy file is taken as it is.
        snr: dB, of the frames to take of HDF5.
        per_cell: frames of each modulation, at most.
        seed: of the choice of frames of a .npy file that has more.

    Raises:
        BadInput: the file is unusable, or has no such frames.
    """
    path = existing_file(path, "data file")
    if path.suffix.lower() == ".npy":
        return _of_npy(path, per_cell * len(modulations), seed)
    if path.suffix.lower() not in (".h5", ".hdf5"):
        raise BadInput(f"{path}: frames are read from .npy, .h5 and .hdf5")
    index = read_index(path)
    wanted = [class_index(name) for name in modulations]
    rows = sample_rows(index, per_cell)
    rows = rows[np.isin(index.labels[rows], wanted)]
    at = np.flatnonzero(index.snrs[rows] == snr)
    if not len(at):
        raise BadInput(f"{path} has no frames of {', '.join(modulations)} at {snr} dB")
    kept, clipped = [], {}
    with open_file(path) as file:
        for each in SNRS:
            of_it = rows[index.snrs[rows] == each]
            if not len(of_it):
                continue
            frames = np.concatenate([part for _, part in read_rows(file["X"], of_it)])
            clipped[each] = float((np.abs(frames) > CLIP).mean())
            if each == snr:
                kept.append(frames.view(np.complex64)[..., 0])
    return Frames(np.concatenate(kept), f"{path.name}: {index.label}, {snr} dB", clipped)


def drawn_frames(
    version: int, modulations: Sequence[str], snr: int, count: int, length: int, seed: int
) -> Frames:
    """Draw frames by a recipe, `length` samples from the begin of each.

    Raises:
        BadInput: there is no such recipe or modulation.
    """
    number = recipe_of(version).version
    rng = np.random.default_rng(seed)
    parts = [synthesise(name, snr, count, rng, number)[:, :length] for name in modulations]
    clipped = {}
    for each in SNRS:
        few = [synthesise(name, each, _CLIPPED, rng, number) for name in modulations]
        clipped[each] = float((np.abs(np.concatenate(few)) > CLIP).mean())
    frames = np.ascontiguousarray(np.concatenate(parts)).view(np.complex64)[..., 0]
    return Frames(frames, f"synthetic (recipe {number}, seed {seed}), {snr} dB", clipped)


def _of_npy(path: Path, most: int, seed: int) -> Frames:
    recording = open_recording(path)
    row = recording.row
    if row is None:
        raise BadInput(f"{path} holds one stream, not frames; save (N, L) complex or (N, 2, L)")
    number = recording.source.samples // row
    chosen = np.sort(np.random.default_rng(seed).permutation(number)[:most])
    frames = np.stack([recording.source.read(int(i) * row, row) for i in chosen])
    return Frames(frames, f"{path.name}: unlabelled frames", {})


def look_at_both(real: Frames, synthetic: Frames) -> list[Looks]:
    """Measure frames of both, the longer ones cut to the length of the others.

    Raises:
        BadInput: they are too short.
    """
    length = min(real.samples.shape[1], synthetic.samples.shape[1]) // SPS * SPS
    if length < SHORTEST:
        raise BadInput(f"frames of {length} samples are too short; {SHORTEST} are needed")
    return [look_at(each.samples[:_MOST, :length]) for each in (real, synthetic)]


def compare_frames(
    real: Frames, synthetic: Frames, looks: Sequence[Looks], seed: int = 0
) -> dict[str, Any]:
    """Set both beside each other.

    Args:
        real: what is to be met.
        synthetic: what is to meet it.
        looks: of `look_at_both`.
        seed: of the bootstrap over frames.

    Returns:
        Facts: `labels`, `frames`, `length`, `on_a_line` (share), `clipped` of both, and `rows`:
        name, `real` and `synthetic` (value, low, high: 95 % by bootstrap over the frames), the
        `difference` (the same of synthetic less real) and whether it `differs` from 0.
        A row's value is the median over the frames, or half the width of their middle 68 %
        (`spread`); of the clipped samples it is the mean.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for name in looks[0].values:
        values = [look.values[name] for look in looks]
        if name == CLIPPED:
            rows.append(_row(name, [_mean(v, rng) for v in values]))
            continue
        for what, sampled in zip(("", ", spread"), _quantiles(values, rng), strict=True):
            rows.append(_row(name + what, sampled))
    rows.append(_row("pulse: roll-off by least squares", [_roll_offs(each, rng) for each in looks]))
    return {
        "labels": [real.label, synthetic.label],
        "frames": [len(look.on_a_line) for look in looks],
        "length": looks[0].spectra.shape[1],
        "on_a_line": [float(look.on_a_line.mean()) for look in looks],
        "clipped": [each.clipped for each in (real, synthetic)],
        "rows": rows,
    }


def write_comparison(path: Path, facts: dict[str, Any], looks: Sequence[Looks]) -> None:
    """Write everything, pictures too, as one self-contained HTML page."""
    labels = facts["labels"]
    drawn = {
        "distributions": data_uri(distributions(looks, labels)),
        "eyes": data_uri(eyes(looks, labels)),
        "clipping": data_uri(clipping(facts["clipped"], labels)),
    }
    write_page(path, TEMPLATE, facts=facts, pictures=drawn)


def _row(name: str, sampled: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return a row of the table; sampled[i] is the value, then those of the bootstrap."""
    difference = sampled[1] - sampled[0]
    low, high = np.nanpercentile(difference[1:], [2.5, 97.5]) if _any(difference) else (0.0, 0.0)
    return {
        "name": name,
        "real": _interval(sampled[0]),
        "synthetic": _interval(sampled[1]),
        "difference": _interval(difference),
        "differs": bool(low > 0 or high < 0),
    }


def _any(values: np.ndarray) -> bool:
    return bool(np.isfinite(values[0]) and np.isfinite(values[1:]).any())


def _interval(sampled: np.ndarray) -> dict[str, float] | None:
    if not _any(sampled):
        return None
    low, high = np.nanpercentile(sampled[1:], [2.5, 97.5])
    return {"value": float(sampled[0]), "low": float(low), "high": float(high)}


def _draws(count: int, rng: np.random.Generator, times: int) -> np.ndarray:
    """Return int (1 + times, count): all frames, then as many drawn with replacement."""
    return np.concatenate([np.arange(count)[None], rng.integers(0, count, (times, count))])


def _mean(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return values[_draws(len(values), rng, _RESAMPLED)].mean(axis=1)


def _quantiles(values: Sequence[np.ndarray], rng: np.random.Generator) -> list[list[np.ndarray]]:
    """Return [median of each side, half the middle 68 % of each side]."""
    medians, spreads = [], []
    for side in values:
        known = side[np.isfinite(side)]
        if len(known) < 2:
            nothing = np.full(1 + _RESAMPLED, np.nan)
            medians.append(nothing)
            spreads.append(nothing)
            continue
        low, middle, high = np.percentile(
            known[_draws(len(known), rng, _RESAMPLED)], [16, 50, 84], axis=1
        )
        medians.append(middle)
        spreads.append((high - low) / 2)
    return [medians, spreads]


def _roll_offs(look: Looks, rng: np.random.Generator) -> np.ndarray:
    drawn = _draws(len(look.spectra), rng, 40)
    return np.array([fitted_roll_off(look.spectra[rows]) for rows in drawn])
