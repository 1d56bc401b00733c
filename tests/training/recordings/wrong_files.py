"""Recordings that are none: truncated, of another type, lying about themselves, dangerous."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from tests.training.radioml_files import grid, write
from training.recordings.raw import sample_type

RATE = 48_000.0


def stored(samples: np.ndarray, name: str) -> bytes:
    """Samples as a receiver would write them: full scale 1, unsigned ones around the middle."""
    type_ = sample_type(name)
    numbers = samples.view(np.float32).astype(np.float64)
    if type_.number.kind != "f":
        half = 2.0 ** (8 * type_.number.itemsize - 1)
        numbers = np.round(numbers * half) + (half if type_.number.kind == "u" else 0)
    return numbers.astype(type_.number).tobytes()


def sigmf_pair(folder: Path, samples: np.ndarray, name: str = "cf32_le", **more: object) -> Path:
    meta = folder / "r.sigmf-meta"
    meta.with_suffix(".sigmf-data").write_bytes(stored(samples, name))
    about = {"core:datatype": name, "core:version": "1.2.0", "core:sample_rate": RATE, **more}
    captures = [{"core:sample_start": 0, "core:frequency": 1e8}]
    meta.write_text(json.dumps({"global": about, "captures": captures, "annotations": []}))
    return meta


class Attack:
    """What a pickle can do to whoever loads it with pickle.load."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("__import__('pathlib').Path('pwned').touch()",)


def change(path: Path, part: str, **changes: object) -> None:
    content = json.loads(path.read_text())
    target = content["captures"][0] if part == "captures" else content[part]
    for key, value in changes.items():
        name = f"core:{key}"
        if value is None:
            del target[name]
        else:
            target[name] = value
    path.write_text(json.dumps(content))


def wrong_files(folder: Path, samples: np.ndarray) -> dict[str, tuple[Path, str]]:
    """Name -> (file, what the message is to say)."""
    made: dict[str, tuple[Path, str]] = {}

    def raw(name: str, content: bytes, says: str) -> None:
        (folder / name).write_bytes(content)
        made[name] = (folder / name, says)

    def meta(name: str, says: str, part: str = "global", **changes: object) -> None:
        (folder / name).mkdir()
        path = sigmf_pair(folder / name, samples)
        change(path, part, **changes)
        made[name] = (path, says)

    raw("empty.cfile", b"", "no samples")
    raw("odd.cfile", samples.tobytes()[:-3], "truncated")
    nan = samples.copy()
    nan[7] = np.nan
    raw("nan.cfile", nan.tobytes(), "sample 7 is not finite")
    raw("what.xyz", b"1234", "--type")
    raw("no.npy", b"nothing", "no .npy file")
    np.save(folder / "good.npy", samples)
    raw("short.npy", (folder / "good.npy").read_bytes()[:-8], "truncated")
    np.save(folder / "object.npy", np.array([{}]), allow_pickle=True)
    made["object.npy"] = (folder / "object.npy", "holds object")
    np.save(folder / "shape.npy", np.zeros((4, 5, 6, 2), np.float32))
    made["shape.npy"] = (folder / "shape.npy", "shape")
    raw("no.npz", b"PK\x03\x04 nothing", "no .npz file")
    np.savez(folder / "two.npz", a=samples, b=samples)
    made["two.npz"] = (folder / "two.npz", "call the one to read iq")
    header = io.BytesIO()
    shape = {"descr": "<c8", "fortran_order": False, "shape": (10**13,)}
    np.lib.format.write_array_header_1_0(header, shape)
    raw("lies.npy", header.getvalue() + bytes(99), "not its header's")
    with zipfile.ZipFile(folder / "lies.npz", "w") as archive:
        archive.writestr("iq.npy", header.getvalue() + bytes(99))
    made["lies.npz"] = (folder / "lies.npz", "damaged: Unable to allocate")
    np.savez(folder / "evil.npz", iq=np.array([Attack()], object))
    made["evil.npz"] = (folder / "evil.npz", "Object arrays")
    raw("no.wav", b"RIFF____WAVE", "no WAV file")
    wavfile.write(folder / "mono.wav", 8000, np.zeros(100, np.int16))
    made["mono.wav"] = (folder / "mono.wav", "1 channels")
    wavfile.write(folder / "good.wav", 8000, samples.view(np.float32).reshape(-1, 2))
    good = (folder / "good.wav").read_bytes()
    raw("short.wav", good[:-9], "no WAV file")
    raw("still.wav", good[:24] + bytes(4) + good[28:], "0 samples/s")
    raw("no.h5", b"nothing", "HDF5")
    write(folder / "good.h5", *grid(1))
    raw("short.h5", (folder / "good.h5").read_bytes()[:9999], "truncated")
    frames = np.ones((24, 1024, 2), np.float32)
    frames[3, 7] = np.inf
    write(folder / "inf.h5", range(24), [30] * 24, frames)
    made["inf.h5"] = (folder / "inf.h5", "sample 3079 is not finite")
    write(folder / "lies.h5", range(23), [30] * 24, frames)
    made["lies.h5"] = (folder / "lies.h5", "Y has shape")
    raw("evil.pkl", pickle.dumps({("QPSK", 0): Attack()}), "it asks for builtins.eval")
    raw("list.pkl", pickle.dumps([1, 2]), "no dictionary")
    raw("cut.pkl", pickle.dumps({("QPSK", 0): np.zeros((1, 2, 128))})[:-9], "truncated")
    raw("no.sigmf", b"nothing", "tar file")
    with zipfile.ZipFile(folder / "zip.sigmf", "w") as archive:
        archive.writestr("r.sigmf-meta", "{}")
    made["zip.sigmf"] = (folder / "zip.sigmf", "tar file")
    meta("type", "no SigMF metadata", datatype="cf16_le")
    meta("huge", "greater than the maximum", sample_rate=1e300)
    meta("negative", "no SigMF metadata", sample_rate=-5)
    meta("channels", "2 channels", num_channels=2)
    meta("path", "no plain file name", dataset="../../etc/hostname")
    meta("late", "truncated or belongs", "captures", sample_start=999_999)
    meta("hash", "core:sha512", sha512="0" * 128)
    meta("version", "no SigMF metadata", version=None)
    meta("nan", "NaN is no number", "captures", frequency=float("nan"))
    meta("header", "no samples", "captures", header_bytes=1e9)
    meta("integer", "truncated or of another type", trailing_bytes=3.0)
    (folder / "text.sigmf-meta").write_text("{")
    made["text"] = (folder / "text.sigmf-meta", "no JSON")
    (folder / "alone.sigmf-meta").write_text((folder / "hash" / "r.sigmf-meta").read_text())
    made["alone"] = (folder / "alone.sigmf-meta", "does not exist")
    return made
