import math
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections import namedtuple

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.cache_folder import cache_folder
from models.errors import BadInput
from models.quantizers import input_quantizer
from tests.conftest import ROOT
from tests.training.radioml_files import grid, write
from training.cache import STEP, cache_of, open_cache, round_to_odd

BITS = (2, 4, 6, 8, 12, 14)


def through(bits: int, samples: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        quantized = input_quantizer(bits).eval()(torch.from_numpy(samples)[None])
    return quantized.value.numpy()[0]


def awkward_samples() -> np.ndarray:
    """Every value at which a quantizer's answer changes, its neighbours in float32, and others."""
    edges = np.arange(-(2**15) - 4, 2**15 + 5, dtype=np.float32) * np.float32(STEP)
    near = [np.nextafter(edges, np.float32(way)) for way in (-np.inf, np.inf)]
    random = np.random.default_rng(0)
    normal = random.normal(size=200_000).astype(np.float32)
    huge = np.float32([-1e30, -2.5, 2.5, 1e30, 0.0, -0.0, 1e-30, -1e-30])
    tiny = random.normal(scale=STEP, size=50_000).astype(np.float32)
    return np.concatenate([edges, *near, normal, 100 * normal[:1000], tiny, huge])


@pytest.mark.parametrize("bits", BITS)
def test_networks_see_the_same_numbers(bits):
    samples = awkward_samples()
    restored = round_to_odd(samples).astype(np.float32) * np.float32(STEP)
    assert np.array_equal(through(bits, restored), through(bits, samples))


def test_rounding_to_nearest_would_not_do():
    samples = awkward_samples()
    nearest = np.clip(np.rint(samples / STEP), -(2**15), 2**15 - 1).astype(np.float32) * STEP
    assert (through(6, nearest.astype(np.float32)) != through(6, samples)).any()


@settings(max_examples=300, deadline=None)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_round_to_odd_by_its_definition(value):
    fixed = int(round_to_odd(np.float32([value]))[0])
    exact = float(np.float32(value)) / STEP
    if exact >= 2**15 - 1:
        assert fixed == 2**15 - 1
    elif exact <= -(2**15):
        assert fixed == -(2**15)
    elif exact == int(exact):
        assert fixed == exact
    else:
        assert fixed % 2 == 1
        assert fixed in (math.floor(exact), math.ceil(exact))


@pytest.fixture
def source(tmp_path):
    random = np.random.default_rng(0)
    labels, snrs = grid(2, (0, 30))
    order = random.permutation(len(labels))
    frames = random.normal(size=(len(labels), 1024, 2)).astype(np.float32)
    return write(tmp_path / "data.h5", labels[order], snrs[order], frames)


def test_a_cache_holds_the_file(source):
    cache = open_cache(source)
    with h5py.File(source) as file:
        frames = file["X"][:].transpose(0, 2, 1)
        assert np.array_equal(cache.index.labels, file["Y"][:].argmax(axis=1))
        assert np.array_equal(cache.index.snrs, file["Z"][:, 0])
    rows = np.array([5, 90, 0, 5])
    found = cache.frames(rows)
    assert found.dtype == np.float32
    assert found.shape == (4, 2, 1024)
    inside = np.abs(frames[rows]) < 2
    assert np.abs(found - frames[rows])[inside].max() < STEP
    assert np.array_equal(found, round_to_odd(frames[rows]) * np.float32(STEP))
    assert not cache.index.in_order


def test_frames_of_several_reads_keep_their_places(source, monkeypatch):
    whole = open_cache(source).frames(np.arange(96))
    shutil.rmtree(cache_of(source))
    monkeypatch.setattr("training.cache._ROWS", 20)
    monkeypatch.setattr("training.cache._TILE", 7)
    seen = []
    cache = open_cache(source, progress=lambda done, total: seen.append((done, total)))
    assert np.array_equal(cache.frames(np.arange(96)), whole)
    assert seen == [(20, 96), (40, 96), (60, 96), (80, 96), (96, 96)]


def test_it_is_made_once(source):
    first = open_cache(source)
    made = (cache_of(source) / "frames.i16").stat()
    second = open_cache(source)
    assert (cache_of(source) / "frames.i16").stat() == made
    assert first.index.label == second.index.label
    assert np.array_equal(first.index.labels, second.index.labels)


def overwrite_frame(path, value):
    with h5py.File(path, "a") as file:
        file["X"][3] = value


def test_it_is_made_again_when_the_file_changed(source):
    old = open_cache(source)
    before = source.stat()
    overwrite_frame(source, 1)
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert (open_cache(source).frames(np.array([3])) == 1).all()
    assert not (old.frames(np.array([3])) == 1).all()  # who reads the old one still can


def test_a_change_that_hides_its_time_is_found_in_the_sample(source):
    open_cache(source)
    before = source.stat()
    # One of the 64 places that are looked at.
    place = int(np.linspace(0, before.st_size - 4096, 64)[30])
    with source.open("r+b") as file:
        file.seek(place)
        file.write(bytes(4096))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    again = open_cache(source)
    with h5py.File(source) as file:
        row = np.array([(place - file["X"].id.get_offset()) // 8192])
        frames = file["X"][row].transpose(0, 2, 1)
    assert (frames == 0).any()
    assert np.array_equal(again.frames(row), round_to_odd(frames) * np.float32(STEP))


def damaged(part, how):
    data = part.read_bytes()
    part.unlink()
    if how == "folder":
        part.mkdir()
    elif how != "missing":
        contents = {
            "cut": data[:100],
            "empty": b"",
            "foreign": b"PK\x03\x04 something else",
            "flipped": bytes([*data[:-3], data[-3] ^ 4, *data[-2:]]),
            "huge": data.replace(b"(96,)", b"(1e9,)").replace(b"96", b"9999999999999999"),
        }
        part.write_bytes(contents[how])


@pytest.mark.parametrize("how", ["cut", "empty", "foreign", "flipped", "huge", "missing", "folder"])
@pytest.mark.parametrize("name", ["frames.i16", "labels.npy", "snrs.npy", "cache.json"])
def test_it_is_made_again_when_damaged(source, name, how):
    if name == "frames.i16" and how in ("flipped", "huge"):
        pytest.skip("frames have no digest: reading all of them takes a minute")
    first = open_cache(source)
    labels, snrs = first.index.labels, first.index.snrs
    whole = first.frames(np.arange(96))
    damaged(cache_of(source) / name, how)
    again = open_cache(source)
    assert np.array_equal(again.index.labels, labels)
    assert np.array_equal(again.index.snrs, snrs)
    assert np.array_equal(open_cache(source).frames(np.arange(96)), whole)


def beside(source):
    return {path.name for path in source.parent.iterdir()}


def test_what_a_killed_process_left_goes(source):
    left = source.with_name(".data.h5.cache.tmp")
    left.mkdir()
    (left / "frames.i16").write_bytes(bytes(10))
    open_cache(source)
    assert beside(source) == {"data.h5", "data.h5.cache", ".data.h5.cache.lock"}
    inside = {path.name for path in cache_of(source).iterdir()}
    assert inside == {"frames.i16", "labels.npy", "snrs.npy", "cache.json"}


def test_nothing_is_replaced_that_is_no_cache(source):
    place = cache_of(source)
    place.mkdir()
    (place / "thesis.tex").write_text("mine")
    with pytest.raises(BadInput, match="holds thesis.tex, which is not of a cache; move it away"):
        open_cache(source)
    assert (place / "thesis.tex").read_text() == "mine"
    shutil.rmtree(place)
    place.write_text("mine")
    with pytest.raises(BadInput, match="is no folder; move it away"):
        open_cache(source)
    assert place.read_text() == "mine"


MANY = """
import sys, time
import numpy as np
from training.cache import open_cache
path, value, until = sys.argv[1], float(sys.argv[2]), time.time() + 4
rounds = 0
while time.time() < until:
    # Another process has told us nothing of what it put there: either is whole.
    frames = open_cache(path, sys.argv[3]).frames(np.array([0, 47]))
    assert set(frames.ravel().tolist()) == {value}, set(frames.ravel().tolist())
    rounds += 1
print(rounds)
"""


def test_processes_that_replace_one_cache_in_turns_leave_a_whole_one(tmp_path):
    """Two files of one path, as two containers see them, and one folder for caches."""
    labels, snrs = grid(1, (0, 30))
    here, there = tmp_path / "here", tmp_path / "there"
    for place, value in ((here, 1), (there, -1)):
        place.mkdir()
        frames = np.full((len(labels), 1024, 2), value, np.float32)
        write(place / "data.h5", labels, snrs, frames)
    start = [sys.executable, "-c", PRELUDE + MANY]
    processes = [
        subprocess.Popen(
            [*start, str(place / "data.h5"), str(value), str(tmp_path / "caches")],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for place, value in ((here, 1), (there, -1))
    ]
    said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert min(int(out) for out, _ in said) > 5
    (place,) = (path for path in (tmp_path / "caches").iterdir() if path.suffix == ".cache")
    assert {path.name for path in place.iterdir()} == {
        *("frames.i16", "labels.npy", "snrs.npy", "cache.json")
    }


# The name of a cache comes from the file's path.
PRELUDE = """from pathlib import Path
import training.cache as module
real = module.cache_of
module.cache_of = lambda path, named=None, kind=module.OURS: real("/data/data.h5", named)
"""


def test_elsewhere(source, tmp_path):
    other = tmp_path / "sub" / "data.h5"
    other.parent.mkdir()
    write(other, [1, 2], [0, 0])
    place = tmp_path / "caches"
    assert len(open_cache(source, place)) == 96
    assert len(open_cache(other, place)) == 2
    assert len([path for path in place.iterdir() if path.is_dir()]) == 2
    assert not cache_of(source).exists()


def test_elsewhere_by_the_environment(source, tmp_path, monkeypatch):
    monkeypatch.setenv("AARONNET_CACHE", str(tmp_path / "caches"))
    open_cache(source)
    assert cache_of(source).is_dir()
    assert cache_of(source).parent == tmp_path / "caches"


def test_processes_at_once_make_it_once(source):
    code = f"""
import numpy as np
from training.cache import open_cache
made = []
cache = open_cache({str(source)!r}, progress=lambda done, total: made.append(done))
print(len(made), cache.frames(np.arange(96)).sum())
"""
    start = [sys.executable, "-c", code]
    processes = [
        subprocess.Popen(start, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    said = [process.communicate()[0].split() for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert sorted(made for made, _ in said) == ["0", "0", "0", "1"]
    assert len({total for _, total in said}) == 1


def test_no_room(source, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(0, 0, 64 << 20))
    with pytest.raises(BadInput, match=r"needs 0\.0 GB.*AARONNET_CACHE"):
        open_cache(source)
    assert beside(source) == {"data.h5", ".data.h5.cache.lock"}


def test_a_disk_that_fills_up_loses_nothing(source):
    open_cache(source)
    overwrite_frame(source, 1)
    old = (cache_of(source) / "frames.i16").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(BadInput, match="cannot write the cache .* too large"):
            open_cache(source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (cache_of(source) / "frames.i16").read_bytes() == old
    assert beside(source) == {"data.h5", "data.h5.cache", ".data.h5.cache.lock"}


def test_no_permission(source, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot write to folder"):
        open_cache(source, tmp_path / "file")


def test_all_of_it_is_fetched_where_there_is_room(source, monkeypatch):
    import training.cache as module

    memory = namedtuple("memory", "available")
    fetched = []
    original = module._read_through
    monkeypatch.setattr(module, "_read_through", lambda *given: fetched.append(given))
    cache = open_cache(source)
    before = set(threading.enumerate())
    for available in (96 * 4096, 96 * 4096 * 2):
        monkeypatch.setattr(module.psutil, "virtual_memory", lambda a=available: memory(a))
        cache.fetch()
        for thread in set(threading.enumerate()) - before:
            thread.join()
    assert [path for path, _ in fetched] == [cache_of(source) / "frames.i16"]
    original(*fetched[0])
    original(cache_of(source) / "gone", fetched[0][1])


def test_a_relative_folder_and_a_tilde(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for named, place in (("caches", tmp_path), ("~/caches", tmp_path / "home")):
        monkeypatch.setenv("AARONNET_CACHE", named)
        assert cache_of(source).parent == cache_folder() == place / "caches"
        assert cache_folder("x", default="y") == tmp_path / "x"
    monkeypatch.delenv("AARONNET_CACHE")
    assert cache_folder(default="y") == tmp_path / "y"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "aaronnet"
    monkeypatch.setenv("AARONNET_CACHE", "~nobody-of-that-name/caches")
    with pytest.raises(BadInput, match="cannot tell where ~nobody"):
        cache_folder()


def test_it_travels_to_worker_processes(source):
    import pickle

    cache = open_cache(source)
    other = pickle.loads(pickle.dumps(cache))
    assert np.array_equal(other.frames(np.array([7])), cache.frames(np.array([7])))
    overwrite_frame(source, 1)
    packed = pickle.dumps(cache)
    open_cache(source)
    with pytest.raises(BadInput, match="changed by someone else; start again"):
        pickle.loads(packed)
