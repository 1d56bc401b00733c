"""The patches fit the installed finn-rtllib, and a changed file is refused."""

import dataclasses
import errno

import pytest

from build.rtl import patches
from models.errors import CheckFailed
from tests.conftest import mounted


@pytest.fixture(autouse=True)
def finn(tmp_path, monkeypatch):
    import finn.util.settings

    monkeypatch.setenv("FINN_BUILD_DIR", str(tmp_path))
    monkeypatch.delenv("FINN_RTLLIB", raising=False)
    monkeypatch.setattr(finn.util.settings, "_SETTINGS", None)


def names():
    return [patch.file for patch in patches.patches()]


@pytest.mark.parametrize("patch", patches.patches(), ids=names())
def test_patch_fits_and_says_why(patch):
    path = patches.rtllib() / patch.file
    before, after = path.read_text(), patches.patched(path)
    assert len(patch.why) > 20
    assert before != after
    for old, new in patch.hunks:
        assert old not in after and new in after


@pytest.mark.parametrize("patch", patches.patches(), ids=names())
def test_patch_refuses_another_version_of_its_file(patch):
    text = (patches.rtllib() / patch.file).read_text()
    old = patch.hunks[-1][0]
    changed = text.replace(old, old.replace(old.split()[-1], "changed_upstream"))
    with pytest.raises(CheckFailed, match=patch.file):
        patches.apply(changed, patch)
    with pytest.raises(CheckFailed, match="found 2 times"):
        patches.apply(text + text, patch)


def test_patches_apply_all_or_nothing():
    patch = patches.patches()[0]
    broken = dataclasses.replace(patch, hunks=(*patch.hunks, ("no such line", "")))
    with pytest.raises(CheckFailed, match="no such line"):
        patches.apply((patches.rtllib() / patch.file).read_text(), broken)


@pytest.mark.parametrize("patch", patches.patches(patches.YOSYS), ids=lambda patch: patch.file)
def test_yosys_patches_come_on_top(patch):
    path = patches.rtllib() / patch.file
    text = patches.patched(path)
    after = patches.patched_for_yosys(path.name, text)
    assert after != text and "SHREG_EXTRACT" not in after
    assert patches.patched_for_yosys("depthwise_vvu.sv", text) == text


def test_files_without_a_patch_stay_as_they_are(tmp_path):
    same = patches.rtllib() / "swg/swg_common.sv"
    assert patches.patched(same) == same.read_text()
    elsewhere = tmp_path / "fifo.sv"
    elsewhere.write_text("module fifo; endmodule\n")
    assert patches.patched(elsewhere) == elsewhere.read_text()


def test_a_diff_is_parsed_into_old_and_new_lines():
    text = "# because\n--- a/x/y.sv\n+++ b/x/y.sv\n@@ -1,3 +1,3 @@\n a\n-b\n+c\n d\n"
    patch = patches.parse(text)
    assert (patch.file, patch.why) == ("x/y.sv", "because")
    assert patch.hunks == (("a\nb\nd\n", "a\nc\nd\n"),)
    assert patches.apply("0\na\nb\nd\n1\n", patch) == "0\na\nc\nd\n1\n"


def test_installed_copy_is_patched_and_finn_uses_it(tmp_path):
    from finn.util.settings import get_settings

    original = patches.rtllib()
    wanted = {patch.file: patches.patched(original / patch.file) for patch in patches.patches()}
    copy = patches.install(tmp_path / "lib")
    assert get_settings().finn_rtllib == copy == patches.rtllib()
    for name, text in wanted.items():
        assert (copy / name).read_text() == text
        assert patches.patched(copy / name) == text, "not twice"
        assert (original / name).read_text() != text
    assert patches.install(tmp_path / "other") == copy


def test_a_full_disk_is_told(tmp_path):
    with mounted(tmp_path / "disk", "1m") as disk, pytest.raises(OSError) as caught:
        patches.install(disk / "lib")
    assert caught.value.errno == errno.ENOSPC
