"""A wide recording with known emitters, by the recipe's modulators: what a test can hold us to.

Each emitter is one long frame of the recipe, brought to its symbol rate, shifted to its centre, and
added to the others. Noise is white; an emitter's SNR is that in a band of `SAMPLES_A_SYMBOL` symbol
rates, which is what a network sees, and is labelled as RadioML labels it (`recipe.synthesise`).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from deploy.board.radioml import CLASSES, FRAME, class_index
from models.console import Progress
from models.errors import BadInput
from models.files import atomic, existing_file
from training.recordings.annotations import write_annotations
from training.recordings.prepared import SAMPLES_A_SYMBOL
from training.recordings.recording import InMemory, resampled
from training.recordings.sigmf_files import DATA
from training.synthesis.modulations import MODULATIONS, SPS
from training.synthesis.recipe import RECIPE_VERSION

_BLOCK = 1 << 18
_MOST_SAMPLES = 1 << 31


@dataclass(frozen=True)
class Emitter:
    """One emitter of a plan.

    Attributes:
        modulation: name of one of the 24 classes.
        symbol_rate: a second; an analogue modulation has a "symbol" of 8 samples of the recipe.
        centre: Hz from the recording's middle.
        snr: as RadioML labels it: its true dB are twice that and 1.5, in a band of 8 symbol rates.
        start, stop: seconds.
    """

    modulation: str
    symbol_rate: float
    centre: float
    snr: float
    start: float
    stop: float


@dataclass(frozen=True)
class Plan:
    """A recording to make.

    Attributes:
        rate: samples a second.
        seconds: how long.
        frequency: Hz, centre of the receiver.
        emitters: who sends.
        dc: added to all samples, of full scale.
        imbalance_db, imbalance_degrees: of Q against I.
        clock_ppm: error of the receiver's clock, parts in a million.
    """

    rate: float
    seconds: float
    emitters: tuple[Emitter, ...]
    frequency: float = 0.0
    dc: float = 0.0
    imbalance_db: float = 0.0
    imbalance_degrees: float = 0.0
    clock_ppm: float = 0.0


_PLAN = {
    "rate": True,
    "seconds": True,
    "emitters": True,
    "frequency": False,
    "dc": False,
    "imbalance_db": False,
    "imbalance_degrees": False,
    "clock_ppm": False,
}
_EMITTER = ("modulation", "symbol_rate", "centre", "snr", "start", "stop")


def read_plan(path: str | Path) -> Plan:
    """Read a plan (YAML).

    Raises:
        BadInput: it is no plan, or an emitter does not fit into it.
    """
    path = existing_file(path, "plan")
    try:
        content = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"plan {path} is no YAML: {' '.join(str(error).split())}"[:300]) from error
    if not isinstance(content, dict) or not isinstance(content.get("emitters"), list):
        raise BadInput(f"plan {path} is no mapping with a list of emitters")
    _check_keys(content, _PLAN, [key for key, needed in _PLAN.items() if needed], f"plan {path}")
    numbers = {
        key: _number(value, key, path) for key, value in content.items() if key != "emitters"
    }
    emitters = []
    for number, given in enumerate(content["emitters"]):
        what = f"plan {path}, emitter {number}"
        if not isinstance(given, dict):
            raise BadInput(f"{what} is no mapping")
        given = {"start": 0, "stop": numbers["seconds"], **given}
        _check_keys(given, _EMITTER, _EMITTER, what)
        name = CLASSES[class_index(str(given["modulation"]))]
        rest = {key: _number(given[key], key, path) for key in _EMITTER[1:]}
        emitters.append(Emitter(name, **rest))
    plan = Plan(emitters=tuple(emitters), **numbers)
    _check(plan, path)
    return plan


def _check_keys(given: dict, known: Any, needed: Any, what: str) -> None:
    unknown = [str(key) for key in given if key not in known]
    missing = [key for key in needed if key not in given]
    if unknown or missing:
        said = f"has no {missing[0]}" if missing else f"has the unknown key {unknown[0]!r}"
        raise BadInput(f"{what} {said}; known: {', '.join(known)}")


def _number(value: object, key: str, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise BadInput(f"plan {path}: {key} is {value!r}, not a number")
    return float(value)


def _check(plan: Plan, path: Path) -> None:
    if not (0 < plan.rate < 1e12 and 0 < plan.rate * plan.seconds <= _MOST_SAMPLES):
        raise BadInput(
            f"plan {path}: rate and seconds are above 0, and at most {_MOST_SAMPLES} samples in all"
        )
    if abs(plan.clock_ppm) > 1000 or abs(plan.dc) > 1 or not plan.emitters:
        raise BadInput(f"plan {path}: at least one emitter, |clock_ppm| <= 1000, |dc| <= 1")
    for number, emitter in enumerate(plan.emitters):
        what = f"plan {path}, emitter {number}"
        if not 0 <= emitter.start < emitter.stop <= plan.seconds:
            raise BadInput(f"{what}: start and stop lie in 0..{plan.seconds:g} s, in this order")
        if not 0 < emitter.symbol_rate <= plan.rate / 2:
            raise BadInput(f"{what}: the symbol rate lies in 0..{plan.rate / 2:g}")
        if abs(emitter.centre) + emitter.symbol_rate / 2 > plan.rate / 2:
            raise BadInput(f"{what}: its band leaves the recording's +-{plan.rate / 2:g} Hz")


def render(plan: Plan, seed: int, progress: Progress | None = None) -> np.ndarray:
    """Make the samples of a plan.

    Args:
        plan: what to make.
        seed: of symbols, phases and noise.
        progress: told (emitters done, emitters in all).

    Returns:
        complex64 (N,), with a peak of at most 1.
    """
    rng = np.random.default_rng(seed)
    samples: np.ndarray = np.zeros(round(plan.rate * plan.seconds), np.complex64)
    # Noise of unit power: an emitter's power is SNR times what of it lies in its band.
    for number, emitter in enumerate(plan.emitters):
        first, last = round(emitter.start * plan.rate), round(emitter.stop * plan.rate)
        stream = _stream(emitter, plan, last - first, rng)
        band = min(SAMPLES_A_SYMBOL * emitter.symbol_rate / plan.rate, 1.0)
        stream *= np.float32(np.sqrt(10 ** ((2 * emitter.snr + 1.5) / 10) * band))
        samples[first : first + len(stream)] += stream
        if progress:
            progress(number + 1, len(plan.emitters))
    for first in range(0, len(samples), _BLOCK):
        part = samples[first : first + _BLOCK]
        noise = rng.standard_normal((len(part), 2), np.float32).view(np.complex64)[:, 0]
        part += noise * np.float32(np.sqrt(0.5))
    gain = 10 ** (plan.imbalance_db / 20)
    angle = np.deg2rad(plan.imbalance_degrees)
    if plan.imbalance_db or plan.imbalance_degrees:
        samples.imag = gain * (samples.imag * np.cos(angle) + samples.real * np.sin(angle))
    samples *= np.float32(0.9 / max(np.abs(samples.view(np.float32)).max(), 1e-12))
    samples += np.complex64(plan.dc)
    return samples


def _stream(emitter: Emitter, plan: Plan, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return complex64 (about count,) of an emitter at the recording's rate and its centre."""
    # A receiver whose clock is fast sees everything slower.
    clock = 1 + plan.clock_ppm * 1e-6
    own_rate = SAMPLES_A_SYMBOL * emitter.symbol_rate / clock
    length = int(count * own_rate / plan.rate) // SPS * SPS + FRAME
    signal = MODULATIONS[emitter.modulation](rng, 1, length)
    base = signal.samples[0] / np.float32(np.sqrt(np.asarray(signal.power).reshape(-1)[0]))
    x = resampled(InMemory(base, own_rate), plan.rate).read(FRAME // 4, count)
    turns = emitter.centre / plan.rate / clock * np.arange(count) + rng.random()
    return x * np.exp(2j * np.pi * (turns % 1)).astype(np.complex64)


def write_recording(path: Path, plan: Plan, seed: int, progress: Progress | None = None) -> str:
    """Write a plan's recording as a SigMF pair, its emitters as annotations; return its label.

    Args:
        path: the .sigmf-meta file; the samples (cf32_le) go beside it.
        plan: what to make.
        seed: of everything random.
        progress: as `render`.

    Raises:
        BadInput: `path` has another suffix or cannot be written.
    """
    label = f"synthetic (recipe {RECIPE_VERSION}, seed {seed})"
    samples = render(plan, seed, progress)
    annotations = [
        {
            "core:sample_start": round(emitter.start * plan.rate),
            "core:sample_count": round((emitter.stop - emitter.start) * plan.rate),
            "core:freq_lower_edge": plan.frequency + emitter.centre - emitter.symbol_rate / 2,
            "core:freq_upper_edge": plan.frequency + emitter.centre + emitter.symbol_rate / 2,
            "core:label": emitter.modulation,
            "core:comment": f"{emitter.symbol_rate:g} symbols/s, {emitter.snr:g} dB",
        }
        for emitter in sorted(plan.emitters, key=lambda emitter: emitter.start)
    ]
    with atomic(path.with_suffix(DATA)) as temporary:
        samples.tofile(temporary)
    digest = hashlib.sha512(samples.data).hexdigest()
    metadata = {
        "global": {
            "core:datatype": "cf32_le",
            "core:version": "1.2.0",
            "core:num_channels": 1,
            "core:sample_rate": plan.rate,
            "core:sha512": digest,
            "core:description": label,
        },
        "captures": [{"core:sample_start": 0, "core:frequency": plan.frequency}],
        "annotations": annotations,
    }
    write_annotations(path, metadata)
    return label
