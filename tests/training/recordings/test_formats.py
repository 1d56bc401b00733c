"""The same samples in every format; and files that are none."""

import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import wavfile

from models.errors import BadInput
from tests.training.radioml_files import grid, write
from tests.training.recordings.wrong_files import RATE, sigmf_pair, stored, wrong_files
from training.recordings.formats import open_recording
from training.recordings.raw import TYPES, sample_type
from training.recordings.recording import Recording


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    rng = np.random.default_rng(5)
    x = rng.uniform(-0.9, 0.9, (3000, 2)).astype(np.float32)
    return x.view(np.complex64)[:, 0]


def same(recording: Recording, samples: np.ndarray, tolerance: float = 0.0) -> None:
    source = recording.source
    assert source.samples == len(samples)
    assert np.abs(source.read(0, len(samples)) - samples).max() <= tolerance
    assert np.abs(source.read(1021, 77) - samples[1021:1098]).max() <= tolerance


@pytest.mark.parametrize("name", [f"{t}{o}" for t in TYPES for o in ("_le", "_be")])
def test_every_raw_type(tmp_path: Path, samples: np.ndarray, name: str) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(stored(samples, name))
    bits = int(sample_type(name).name[2:4].rstrip("_"))
    tolerance = 0.0 if name.startswith("cf") else 1.01 / 2 ** (bits - 1)
    same(open_recording(path, name, RATE), samples, max(tolerance, 1e-7))


@pytest.mark.parametrize("name", ["cf32_le", "ci16_be", "cu8"])
def test_sigmf_is_read_as_its_own_package_reads_it(
    tmp_path: Path, samples: np.ndarray, name: str
) -> None:
    import sigmf

    meta = sigmf_pair(tmp_path, samples, name)
    opened = open_recording(meta)
    theirs = sigmf.fromfile(str(meta)).read_samples()
    assert np.allclose(opened.source.read(0, 3000), theirs, atol=1e-6)
    assert (opened.source.rate, opened.centre, opened.rate_known) == (RATE, 1e8, True)


def test_sigmf_archive(tmp_path: Path, samples: np.ndarray) -> None:
    meta = sigmf_pair(tmp_path, samples)
    archive = tmp_path / "r.sigmf"
    with tarfile.open(archive, "w") as tar:
        for path in (meta, meta.with_suffix(".sigmf-data")):
            tar.add(path, f"r/{path.name}")
    same(open_recording(archive), samples)


def test_headers_and_trailers_are_no_samples(tmp_path: Path, samples: np.ndarray) -> None:
    meta = sigmf_pair(tmp_path, samples, **{"core:trailing_bytes": 5})
    content = json.loads(meta.read_text())
    content["captures"][0]["core:header_bytes"] = 12
    content["global"]["core:dataset"] = "x.raw"
    meta.write_text(json.dumps(content))
    (tmp_path / "x.raw").write_bytes(b"h" * 12 + samples.tobytes() + b"t" * 5)
    same(open_recording(meta), samples)


def test_a_real_recording_becomes_its_positive_half(tmp_path: Path) -> None:
    n = np.arange(20_000)
    tone = np.cos(2 * np.pi * 0.17 * n).astype(np.float32)
    (tmp_path / "x.bin").write_bytes(tone.tobytes())
    opened = open_recording(tmp_path / "x.bin", "rf32", RATE)
    assert opened.source.rate == RATE / 2
    x = opened.source.read(200, 4096) * np.hanning(4096)
    spectrum = np.abs(np.fft.fft(x))
    found = np.fft.fftfreq(4096)[spectrum.argmax()] * RATE / 2
    assert abs(found - (0.17 - 0.25) * RATE) < 10
    image = spectrum[int(round((-found / RATE * 2) * 4096)) % 4096]
    assert image < 1e-3 * spectrum.max()


@pytest.mark.parametrize(
    "layout",
    [
        lambda x: x,
        lambda x: x.astype(np.complex128),
        lambda x: x.view(np.float32).reshape(-1, 2),
        lambda x: x.reshape(6, 500),
        lambda x: x.view(np.float32).reshape(6, 500, 2),
        lambda x: np.ascontiguousarray(x.view(np.float32).reshape(6, 500, 2).swapaxes(1, 2)),
    ],
)
def test_arrays(
    tmp_path: Path, samples: np.ndarray, layout: Callable[[np.ndarray], np.ndarray]
) -> None:
    array = layout(samples)
    np.save(tmp_path / "x.npy", array)
    np.savez_compressed(tmp_path / "x.npz", iq=array, other=np.arange(3))
    for name in ("x.npy", "x.npz"):
        opened = open_recording(tmp_path / name)
        same(opened, samples)
        assert opened.row == (500 if 500 in array.shape else None)
        assert not opened.rate_known


def test_wav(tmp_path: Path, samples: np.ndarray) -> None:
    pairs = samples.view(np.float32).reshape(-1, 2)
    for number, values in enumerate((pairs, np.round(pairs * 32768).astype(np.int16))):
        path = tmp_path / f"{number}.wav"
        wavfile.write(path, 48_000, values)
        opened = open_recording(path)
        same(opened, samples, 2.2e-5)
        assert opened.source.rate == RATE


def test_radioml(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    old = {
        (m, s): rng.standard_normal((3, 2, 128)).astype(np.float32)
        for m in ("QPSK", "8PSK")
        for s in (0, 10)
    }
    (tmp_path / "RML2016.10a_dict.pkl").write_bytes(pickle.dumps(old, 2))
    opened = open_recording(tmp_path / "RML2016.10a_dict.pkl")
    first = old[("8PSK", 0)][0]
    assert opened.row == 128 and opened.source.samples == 12 * 128
    assert np.array_equal(opened.source.read(0, 128), (first[0] + 1j * first[1]) * 128)
    assert opened.scaled  # as `data convert` makes them

    write(tmp_path / "x.h5", *grid(1))
    opened = open_recording(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        frame = file["X"][1]
    assert opened.row == 1024
    assert np.array_equal(opened.source.read(1024, 1024), frame[:, 0] + 1j * frame[:, 1])


def test_wrong_files_get_one_line(
    tmp_path: Path, samples: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = wrong_files(tmp_path, samples)
    wrong = {}
    for name, (path, says) in made.items():
        with pytest.raises(BadInput) as refused:
            opened = open_recording(path)
            opened.source.read(0, opened.source.samples)
        message = str(refused.value)
        if says not in message or "\n" in message:
            wrong[name] = message
    assert wrong == {}
    assert len(made) >= 20
    assert not (tmp_path / "pwned").exists()
    print(f"wrong recordings refused: {len(made)}")
