import json
from pathlib import Path

import pytest

from models.errors import BadInput
from models.files import atomic, existing_file, sha256, writable_folder, write_json


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
