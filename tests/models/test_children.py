"""Nothing that we start outlives us, and what a killed process left is swept."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from models import children

# A child, and a grandchild that ignores what a polite signal says.
TREE = ["sh", "-c", "sh -c 'trap \"\" TERM INT; echo $$ >> pids; sleep 60' & echo $$ >> pids; wait"]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


def pids(folder):
    path = folder / "pids"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def ended(code, number, folder, expected):
    """Run Python code, signal it once `expected` processes are there, and see all of them end."""
    owner = subprocess.Popen([sys.executable, "-c", code], cwd=folder, stderr=subprocess.PIPE)
    try:
        wait_for(lambda: len(pids(folder)) == expected)
        found = pids(folder)
        assert all(map(alive, found))
        owner.send_signal(number)
        owner.communicate(timeout=20)
    finally:
        owner.kill()
    wait_for(lambda: not any(map(alive, found)))
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("threads", [False, True])
def test_children_and_grandchildren_die_with_us(number, threads, tmp_path):
    call = "children.run(TREE, Path.cwd())"
    if threads:
        call = "children.in_threads(lambda _: children.run(TREE, Path.cwd()), range(9), 2)"
    code = f"""
from pathlib import Path
from models import children
TREE = {TREE!r}
children.end_on_sigterm()
{call}
"""
    found = ended(code, number, tmp_path, 4 if threads else 2)
    assert pids(tmp_path) == found, "nothing more may begin"


def test_what_a_child_leaves_behind_goes_with_it(tmp_path):
    command = "sleep 60 >&- 2>&- & echo $!; echo said >&2; exit 3"
    done = children.run(["sh", "-c", command], tmp_path)
    assert done.returncode == 3 and done.stderr == "said\n"
    wait_for(lambda: not alive(int(done.stdout)))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_who_is_talked_to_dies_with_us(number, tmp_path):
    code = f"""
import time
from pathlib import Path
from models import children
children.end_on_sigterm()
with children.talked_to({TREE!r}, Path.cwd()):
    time.sleep(60)
"""
    ended(code, number, tmp_path, 2)


def test_who_is_talked_to_answers_line_by_line_and_may_end_first(tmp_path):
    with children.talked_to(
        ["sh", "-c", "read a; echo $a; echo no >&2; read b"], tmp_path
    ) as child:
        child.stdin.write("yes\n")
        assert child.stdout.readline() == "yes\n" and child.stdout.readline() == "no\n"
        child.kill()
        child.wait()
        child.stdin.write("nobody hears it")


def test_results_come_in_order_and_the_first_failure_ends_all(tmp_path):
    def double(number):
        return 2 * number

    assert children.in_threads(double, range(5), 3) == [0, 2, 4, 6, 8]

    def wait(number):
        if number == 1:
            raise ValueError("this one")
        children.run(["sleep", "60"], tmp_path)

    begin = time.monotonic()
    with pytest.raises(ValueError, match="this one"):
        children.in_threads(wait, range(8), 2)
    assert time.monotonic() - begin < 20


def test_a_full_disk_is_no_fault_of_the_command(tmp_path):
    with pytest.raises(OSError, match="No space left") as caught:
        children.run(["sh", "-c", "head -c 9 /dev/zero > /dev/full"], tmp_path)
    assert caught.value.errno == 28


def test_workspaces_of_the_dead_are_swept_and_those_of_the_living_are_not(tmp_path):
    code = """
import sys, time
from pathlib import Path
from models.children import workspace
with workspace(Path.cwd(), "work-"):
    print("ready", flush=True)
    time.sleep(60)
"""
    start = {"args": [sys.executable, "-c", code], "cwd": tmp_path, "stdout": subprocess.PIPE}
    with subprocess.Popen(**start) as dead, subprocess.Popen(**start) as living:
        for owner in (dead, living):
            assert owner.stdout.readline() == b"ready\n"
        assert len(list(tmp_path.iterdir())) == 2
        dead.kill()
        dead.wait()
        with children.workspace(tmp_path, "work-") as mine:
            (mine / "file").touch()
            assert len(list(tmp_path.iterdir())) == 2
        (left,) = tmp_path.iterdir()
        living.send_signal(signal.SIGINT)
        living.wait()
    assert not left.exists()


def test_a_workspace_stays_for_whoever_looks_for_the_cause(tmp_path):
    with pytest.raises(KeyError), children.workspace(tmp_path, "w-", ValueError) as folder:
        raise KeyError
    assert folder.is_dir()
    with pytest.raises(ValueError), children.workspace(tmp_path, "w-", ValueError):
        raise ValueError
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_a_workspace_that_is_interrupted_while_it_goes_is_gone(tmp_path, monkeypatch):
    remove, interrupted = shutil.rmtree, []

    def interrupt(path, **options):
        if not interrupted:
            interrupted.append(path)
            raise SystemExit(143)
        remove(path, **options)

    monkeypatch.setattr("models.children.shutil.rmtree", interrupt)
    with pytest.raises(SystemExit), children.workspace(tmp_path, "w-") as folder:
        (folder / "file").touch()
    assert interrupted and os.listdir(tmp_path) == []  # noqa: PTH208


@pytest.mark.parametrize("opened", [False, True])
def test_a_workspace_that_is_swept_before_it_is_locked_is_made_again(opened, tmp_path, monkeypatch):
    """As when two threads begin at once, and one takes the other's folder for a dead owner's."""
    swept = []

    def sweep_once(folder):
        if not swept:
            swept.append(folder)
            folder.rmdir()

    if opened:
        lock = children.fcntl.flock

        def late(held, how):
            sweep_once(Path(os.readlink(f"/proc/self/fd/{held}")))  # noqa: PTH115
            lock(held, how)

        monkeypatch.setattr("models.children.fcntl.flock", late)
    else:
        make = tempfile.mkdtemp

        def soon_gone(**options):
            folder = make(**options)
            sweep_once(Path(folder))
            return folder

        monkeypatch.setattr("models.children.tempfile.mkdtemp", soon_gone)
    with children.workspace(tmp_path, "w-") as folder:
        assert swept and folder.is_dir() and folder != swept[0]
    assert os.listdir(tmp_path) == []  # noqa: PTH208
