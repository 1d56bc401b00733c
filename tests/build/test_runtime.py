"""Verilator's runtime, compiled once: lent as it was kept, and never a damaged one."""

from build.simulation.runtime import OBJECTS, keep, lend


def test_what_a_build_compiled_is_lent_to_the_next(tmp_path):
    kept, first, second = tmp_path / "kept", tmp_path / "first", tmp_path / "second"
    assert lend(kept, first) == [] and first.is_dir()
    for name in OBJECTS[:2]:
        (first / name).write_bytes(name.encode())
    keep(kept, first)
    assert lend(kept, second) == [
        "-MAKEFLAGS",
        f"-o {OBJECTS[0]}",
        "-MAKEFLAGS",
        f"-o {OBJECTS[1]}",
    ]
    assert (second / OBJECTS[0]).read_bytes() == OBJECTS[0].encode()
    assert sorted(path.name for path in second.iterdir()) == sorted(OBJECTS[:2])


def test_a_damaged_object_is_not_lent_and_kept_anew(tmp_path):
    kept, work = tmp_path / "kept", tmp_path / "work"
    work.mkdir()
    (work / OBJECTS[0]).write_bytes(b"object")
    keep(kept, work)
    (kept / OBJECTS[0]).write_bytes(b"obj")
    assert lend(kept, tmp_path / "next") == []
    keep(kept, work)
    assert lend(kept, tmp_path / "next") == ["-MAKEFLAGS", f"-o {OBJECTS[0]}"]
