"""A build takes the place of the one before in the end, or not at all; nobody else's files go."""

import json
import os
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from build import staging
from build.staging import JOURNAL, check_ours, finish, staged
from models.errors import BadInput, CheckFailed


def make(out: Path, text: str, *more: str) -> None:
    """A build of a few files."""
    with staged(out) as new:
        (new / "report").mkdir()
        for name in ("report/a.json", "report.json", "network.onnx", *more):
            (new / name).parent.mkdir(exist_ok=True)
            (new / name).write_text(text)
        (new / "build.json").write_text(json.dumps({"to": text}))


def content(out: Path) -> dict[str, str]:
    return {
        path.relative_to(out).as_posix(): path.read_text()
        for path in out.rglob("*")
        if path.is_file() and path.name != "build.json"
    }


def test_the_new_build_takes_the_place_of_the_former_and_other_files_stay(tmp_path):
    out = tmp_path / "out"
    make(out, "one", "package/rtl", "stitched_ip/x")
    (out / "notes.txt").write_text("mine")
    make(out, "two", "driver/d")
    names = ("report/a.json", "report.json", "network.onnx", "driver/d")
    assert content(out) == dict.fromkeys(names, "two") | {"notes.txt": "mine"}
    marked = json.loads((out / "build.json").read_text())
    assert marked["to"] == "two" and {"build.json", "report", "report/a.json"} < set(
        marked["files"]
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert not [name for name in os.listdir(out) if name.startswith(".")]  # noqa: PTH208


@pytest.mark.parametrize("error", [BadInput, CheckFailed, OSError, KeyboardInterrupt, SystemExit])
def test_a_failed_build_changes_nothing(error, tmp_path):
    out = tmp_path / "deep" / "out"
    with pytest.raises(error), staged(out) as new:
        (new / "report.json").touch()
        raise error
    assert list(tmp_path.iterdir()) == []
    make(out, "one")
    before = content(out)
    with pytest.raises(error), staged(out) as new:
        (new / "report.json").touch()
        raise error
    assert content(out) == before


def test_after_a_fault_of_ours_its_folder_stays_until_the_next_build(tmp_path):
    make(tmp_path, "one")
    with pytest.raises(KeyError), staged(tmp_path) as new:
        (new / "vivado.log").write_text("cause")
        raise KeyError
    assert (new / "vivado.log").read_text() == "cause"
    assert (tmp_path / "report.json").read_text() == "one"
    make(tmp_path, "two")
    assert not new.exists()


@pytest.mark.parametrize(
    "theirs", ["report/", "report/notes.txt", "package/p", "vivado", "build.json", "finn/x/y"]
)
@pytest.mark.parametrize("built", [False, True])
def test_other_peoples_files_of_these_names_are_refused(theirs, built, tmp_path):
    if built and theirs in ("report/", "build.json"):
        pytest.skip("there is one of ours")
    if built:
        make(tmp_path, "one")
    path = tmp_path / theirs
    path.parent.mkdir(parents=True, exist_ok=True)
    if theirs.endswith("/"):
        path.mkdir()
    else:
        path.write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BadInput, match="was made by no build of ours") as caught:
        make(tmp_path, "two")
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_virtual_board_left_in_the_package_is_ours_too(tmp_path):
    make(tmp_path, "one", "package/rtl")
    served = tmp_path / "package" / "virtual"
    served.mkdir()
    for suffix in ("bit", "hwh", "json"):
        (served / f"0123456789ab.{suffix}").touch()
    make(tmp_path, "two", "package/rtl")
    assert not served.exists()
    served.mkdir()
    (served / "mine.bit").touch()
    with pytest.raises(BadInput, match=r"mine\.bit was made by no build of ours"):
        make(tmp_path, "three", "package/rtl")
    assert (served / "mine.bit").exists()


def test_files_that_came_during_the_build_are_refused_too(tmp_path):
    make(tmp_path, "one")
    with pytest.raises(BadInput, match=r"extra\.txt was made by no build"), staged(tmp_path) as new:
        (new / "build.json").write_text("{}")
        (tmp_path / "report" / "extra.txt").write_text("mine")
    assert (tmp_path / "report.json").read_text() == "one"
    assert (tmp_path / "report" / "extra.txt").read_text() == "mine"


def test_a_link_to_somewhere_else_is_never_followed(tmp_path):
    make(tmp_path / "out", "one")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "a.json").write_text("mine")
    (tmp_path / "out" / "report" / "a.json").unlink()
    (tmp_path / "out" / "report").rmdir()
    (tmp_path / "out" / "report").symlink_to(tmp_path / "theirs")
    make(tmp_path / "out", "two")
    assert (tmp_path / "theirs" / "a.json").read_text() == "mine"


@pytest.mark.parametrize("killed_after", range(9))
def test_a_swap_that_was_killed_is_ended_by_whoever_comes_next(killed_after, tmp_path, monkeypatch):
    make(tmp_path, "one", "package/rtl")
    rename, renamed = Path.rename, []

    class Killed(BaseException):
        pass

    def limited(path, target):
        if len(renamed) == killed_after:
            raise Killed
        renamed.append(target)
        return rename(path, target)

    # Killed: nobody removes the workspace.
    monkeypatch.setattr("models.children.shutil.rmtree", lambda *_, **__: None)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", limited)
        with pytest.raises(Killed):
            make(tmp_path, "two", "driver/d")
    monkeypatch.undo()
    assert (tmp_path / JOURNAL).exists()
    finish(tmp_path)
    found = {name: text for name, text in content(tmp_path).items() if name[0] != "."}
    names = ("report/a.json", "report.json", "network.onnx", "driver/d")
    assert found == dict.fromkeys(names, "two")
    make(tmp_path, "three")
    assert set(content(tmp_path).values()) == {"three"}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"staged": "../x", "former": [], "new": []}', '{"staged": 1}']
)
def test_a_journal_of_somebody_else_is_refused(text, tmp_path):
    (tmp_path / JOURNAL).write_text(text)
    with pytest.raises(BadInput, match="is not what a build of ours writes"):
        finish(tmp_path)


def test_paths_in_graphs_and_texts_are_those_of_the_final_folder(tmp_path):
    with staged(tmp_path) as new:
        node = helper.make_node("Op", ["x"], ["y"], folder=f"{new}/finn/n", several=[f"{new}/a"])
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
        graph = helper.make_graph([node], "g", values[:1], values[1:])
        onnx.save(helper.make_model(graph), new / "network.onnx")
        (new / "finn").mkdir()
        (new / "finn" / "run.tcl").write_text(f"source {new}/finn/b.tcl")
        (new / "finn" / "link").symlink_to(new / "finn" / "run.tcl")
        (new / "build.json").write_text("{}")
    (node,) = onnx.load(tmp_path / "network.onnx").graph.node
    found = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    assert found == {
        "folder": f"{tmp_path}/finn/n".encode(),
        "several": [f"{tmp_path}/a".encode()],
    }
    assert (tmp_path / "finn" / "link").read_text() == f"source {tmp_path}/finn/b.tcl"


def test_what_a_build_leaves_is_known_beforehand(built):
    """A name that is missing in NAMES would be refused only after the work."""
    marked = json.loads((built.folder / "build.json").read_text())["files"]
    assert {name.partition("/")[0] for name in marked} <= set(staging.NAMES)
    assert not list(built.folder.glob(".*"))
    check_ours(built.folder, staging.NAMES)
