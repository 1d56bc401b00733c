import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.errors import BadInput
from models.files import (
    atomic,
    check_target,
    existing_file,
    regular_target,
    sha256,
    special,
    writable_folder,
    write_json,
)
from tests.conftest import ROOT


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "report.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    with pytest.raises(KeyboardInterrupt), atomic(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize("folder", ["/proc/aaronnet", "{file}/sub"])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path, folder):
    (tmp_path / "file").touch()
    folder = folder.format(file=tmp_path / "file")
    with pytest.raises(BadInput, match="cannot write to folder"):
        writable_folder(folder)
    with pytest.raises(BadInput, match="cannot write"), atomic(Path(folder) / "x.json"):
        pytest.fail("the block must not run")


def test_a_full_disk_is_said_in_one_line(tmp_path):
    # /dev/full fails each write the way a full disk does.
    with pytest.raises(BadInput, match="No space left"), atomic(tmp_path / "x") as temporary:
        temporary.symlink_to("/dev/full")
        temporary.write_text("text")
    assert list(tmp_path.iterdir()) == []


def test_missing_files_are_named(tmp_path):
    with pytest.raises(BadInput, match=r"checkpoint .*none\.pth does not exist"):
        existing_file(tmp_path / "none.pth", "checkpoint")
    with pytest.raises(BadInput, match="is a folder"):
        existing_file(tmp_path)


def test_the_digest_is_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x").startswith("ba7816bf8f01cfea")


def test_a_device_is_written_to_and_stays(tmp_path):
    null, full = tmp_path / "null.json", tmp_path / "full.json"
    null.symlink_to("/dev/null")
    full.symlink_to("/dev/full")
    write_json(null, {"a": 1})
    with pytest.raises(BadInput, match="cannot write .*full.json: No space left on device"):
        write_json(full, {"a": 1})
    assert null.is_char_device() and full.is_char_device()
    assert null.is_symlink() and full.is_symlink()
    assert len(list(tmp_path.iterdir())) == 2
    assert special(null) and not special(tmp_path) and not special(tmp_path / "none")
    with pytest.raises(BadInput, match="no regular file"):
        regular_target(null, "data file")


def test_a_pipe_gets_what_is_written_once_it_is_whole(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_target(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_text)
        write_json(pipe, {"a": 1})
        assert json.loads(read.result(timeout=10)) == {"a": 1}
    assert pipe.is_fifo()
    with pytest.raises(BadInput, match="is no regular file"):
        existing_file(pipe)


def test_an_open_file_is_written_where_it_stands(tmp_path):
    # As /dev/stdout is when a shell sent it to a file: a new file in its place would be lost.
    path = tmp_path / "log"
    with path.open("w") as file:
        print("before", file=file, flush=True)
        write_json(f"/dev/fd/{file.fileno()}", {"a": 1})
        print("after", file=file)
    lines = path.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert json.loads("".join(lines[1:-1])) == {"a": 1}


def test_a_link_keeps_pointing_to_what_is_written(tmp_path):
    link, target = tmp_path / "link.json", tmp_path / "new" / "target.json"
    link.symlink_to(target)
    for value in (1, 2):
        write_json(link, {"a": value})
        assert link.is_symlink() and json.loads(target.read_text()) == {"a": value}
    assert [file.name for file in target.parent.iterdir()] == ["target.json"]


def test_a_target_is_looked_at_without_touching_anything(tmp_path):
    (tmp_path / "file").touch()
    check_target(tmp_path / "new" / "folder" / "x.json")
    for path, problem in ((tmp_path, "is a folder"), (tmp_path / "file" / "x", "is no folder")):
        with pytest.raises(BadInput, match=problem):
            check_target(path)
    with pytest.raises(BadInput, match="is a folder"):
        write_json(tmp_path, {})
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_commands_write_facts_and_artefacts_to_devices(tmp_path, cli, refused):
    for name in ("null", "full", "stdout"):
        (tmp_path / name).symlink_to(f"/dev/{name}")
    shown = cli("cost", "aaronnet32++", "--json", tmp_path / "stdout").stdout
    assert json.loads(shown[: shown.index("\n}") + 2])["network"] == "aaronnet32++"
    assert "No space left" in refused("cost", "aaronnet32++", "--json", tmp_path / "full")
    assert "No space left" in refused("export", "aaronnet32++", "-o", tmp_path / "full")
    cli("export", "aaronnet32++", "-o", tmp_path / "null", "--json", tmp_path / "facts.json")
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert len(facts["model_sha256"]) == 64
    synthesised = ("data", "synth", tmp_path / "null", "--frames-per-cell", 1, "--force")
    assert "no regular file" in refused(*synthesised)
    assert all(path.is_symlink() for path in tmp_path.iterdir() if path.name != "facts.json")
    assert "is a folder" in refused("cost", "nosuch.pth", "--json", tmp_path)


def test_output_that_nobody_can_take_is_one_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, ROOT / "aaronnet.py", "boards"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "aaronnet: No space left on device: the output; free some space and run it again"
    ]
