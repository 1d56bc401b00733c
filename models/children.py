"""What we start or write on the way ends with us, however we end: also by SIGKILL."""

import concurrent.futures
import contextlib
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TypeVar

from models.files import writable_folder

Item = TypeVar("Item")
Found = TypeVar("Found")

TURN = 1.0
"""Seconds of waiting at a time: a signal in the moment before a wait is heard only after it."""

_groups: set["_Group"] = set()
_lock = threading.Lock()


class _Group:
    """A process group that dies when a pipe closes that only this process holds open.

    Its leader, a shell, waits for the end of the pipe and then kills the group: the child and all
    that it started (make and compilers below Verilator, which no signal to Verilator reaches).
    """

    def __init__(self) -> None:
        read, self._write = os.pipe()
        self._open = True
        # Its own group: a Ctrl-C on the terminal is ours to answer.
        self.leader = subprocess.Popen(
            ["sh", "-c", "read _; kill -9 0"], stdin=read, process_group=0
        )
        os.close(read)
        with _lock:
            _groups.add(self)

    def end(self) -> None:
        """Kill what is left of the group; may be called twice, from any thread."""
        with _lock:
            _groups.discard(self)
            if self._open:
                os.close(self._write)
            self._open = False


def run(
    command: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return it with its texts; nothing that it starts outlives it.

    Nor does anything outlive this process, whatever ends it.

    Raises:
        OSError: the command failed and says that the disk is full (ENOSPC).
    """
    group = _Group()
    try:
        with subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=group.leader.pid,
        ) as child:
            try:
                texts = _communicate(child)
            except BaseException:
                group.end()
                raise
        if child.returncode and os.strerror(errno.ENOSPC) in "".join(texts):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(cwd))
        return subprocess.CompletedProcess(command, child.returncode, *texts)
    finally:
        group.end()
        group.leader.wait()


@contextlib.contextmanager
def talked_to(
    command: Sequence[str], cwd: Path, pass_fds: Sequence[int] = ()
) -> Iterator[subprocess.Popen[str]]:
    """Yield a command that is talked to by its pipes, line by line; what it is ends with the block.

    Its stderr goes where its stdout goes. Nothing of it outlives this process, whatever ends it.
    """
    group = _Group()
    try:
        with subprocess.Popen(
            command,
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            process_group=group.leader.pid,
            pass_fds=pass_fds,
        ) as child:
            try:
                yield child
            finally:
                group.end()
                assert child.stdin is not None
                with contextlib.suppress(BrokenPipeError):  # what it can hear no more
                    child.stdin.close()
    finally:
        group.end()
        group.leader.wait()


def _communicate(child: subprocess.Popen[str]) -> tuple[str, str]:
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):  # what it said is kept
            return child.communicate(timeout=TURN)


def in_threads(
    function: Callable[[Item], Found], items: Iterable[Item], workers: int
) -> list[Found]:
    """Map in threads that wait for children (`run`); the results in order.

    When a call fails or we are interrupted, what runs is killed and nothing more begins.
    """
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        futures: list[concurrent.futures.Future[Found]] = []
        try:
            for item in items:
                futures.append(pool.submit(function, item))
            failed: list[concurrent.futures.Future[Found]] = []
            waiting = set(futures)
            while waiting and not failed:
                done, waiting = concurrent.futures.wait(
                    futures, TURN, concurrent.futures.FIRST_EXCEPTION
                )
                failed = [future for future in futures if future in done and future.exception()]
            return [future.result() for future in failed or futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            # A thread may be just about to start its child.
            while not all(future.done() for future in futures):
                for group in list(_groups):
                    group.end()
                time.sleep(0.02)
            raise


def end_on_sigterm() -> None:
    """Let SIGTERM end this process as an exception does, with everything cleaned up."""

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)


@contextlib.contextmanager
def workspace(
    parent: Path, prefix: str, gone_after: type[Exception] | tuple[type[Exception], ...] = Exception
) -> Iterator[Path]:
    """Yield a new folder in `parent` that is gone after the block.

    Folders of the same prefix whose owners were killed are removed first: an owner holds a lock
    on its folder, which the kernel frees.

    Args:
        parent: created if needed.
        prefix: of the folder's name; nobody else's may begin so.
        gone_after: the errors after which it is gone too. After any other it stays, for whoever
            looks for the cause, until the next one is made.

    Raises:
        BadInput: `parent` cannot be written to.
    """
    writable_folder(parent)
    sweep(parent, prefix)
    folder, held = _locked_folder(parent, prefix)
    keep = False
    try:
        yield folder
    except Exception as error:
        keep = not isinstance(error, gone_after)
        raise
    finally:
        try:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)
        except BaseException:  # interrupted while it was being removed: remove it, then end
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            os.close(held)


def sweep(parent: Path, prefix: str) -> None:
    """Remove the workspaces in `parent` whose owners are dead."""
    for folder in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # alive, or another sweeper was faster
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(held)


def _locked_folder(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # a sweeper came between, here or below
            continue
        with contextlib.suppress(OSError):  # a file system without locks has no sweeping either
            fcntl.flock(held, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder, held
        os.close(held)
