"""How the processes of a run end: with the one that started them, and at once when asked to."""

import ctypes
import os
import signal
import sys
import threading

import torch
from lightning.pytorch.utilities import rank_zero_only

from models.children import end_on_sigterm

PR_SET_PDEATHSIG = 1  # sys/prctl.h


def first_process() -> bool:
    """Return whether this process is the one that writes and speaks."""
    # Lightning sets it when it is imported, from what any launcher leaves in the environment.
    return getattr(rank_zero_only, "rank", 0) == 0


def in_step() -> None:
    """Wait until all processes of a run are here."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def die_with_parent(*_: object) -> None:
    """Have Linux kill this process when its parent dies: a killed one cannot do that itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def started_by_a_run() -> bool:
    """Return whether a launcher started this process as one of several, and not the user."""
    return os.environ.get("LOCAL_RANK", "0") != "0" or "TORCHELASTIC_RUN_ID" in os.environ


def end_when_told() -> None:
    """Let SIGTERM end this process like any other.

    Lightning waits for the end of the batch, and in several processes for one that may be gone.
    What is on disk is whole at any moment, so there is nothing to wait for.
    """
    if threading.current_thread() is threading.main_thread():
        end_on_sigterm()
