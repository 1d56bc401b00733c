"""DMAs and what is between them as a running machine: registers now, memory that others have too.

`build.simulation.system.play` runs a script from reset to its end; here commands come one by one,
and between them the clock runs as long as a DMA is busy and words move.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models import children
from models.cache_folder import cache_folder
from models.children import workspace
from models.errors import CheckFailed


@dataclass(frozen=True)
class Bank:
    """Memory at an address: a part of a file that processes share.

    Attributes:
        fd: the file's descriptor.
        offset: in the file, a multiple of 4 KiB.
        address: that the DMAs see.
        size: in bytes.
    """

    fd: int
    offset: int
    address: int
    size: int


class Live:
    """A simulator of `build.simulation.system.system`'s design that lives until it is closed.

    Args:
        executable: from `verilate.build`.
        banks: the memory; only `rooms` of it answer, the rest is DECERR.
        files: that the design reads when simulation starts.
        seed: of pauses, latencies and the random initial state.
    """

    def __init__(
        self,
        executable: Path,
        banks: Sequence[Bank] = (),
        files: Mapping[str, bytes] | None = None,
        seed: int = 1,
    ):
        command = [str(executable), "--serve", "--seed", str(seed)]
        for bank in banks:
            numbers = (bank.fd, bank.offset, bank.address, bank.size)
            command += ["--memory", *map(str, numbers)]
        with contextlib.ExitStack() as stack:
            work = stack.enter_context(workspace(cache_folder() / "runs", "running-"))
            for name, data in (files or {}).items():
                (work / name).write_bytes(data)
            fds = {bank.fd for bank in banks}
            self._child = stack.enter_context(children.talked_to(command, work, tuple(fds)))
            self._stack = stack.pop_all()

    def close(self) -> None:
        """End it."""
        self._stack.close()

    def ask(self, command: str) -> str:
        """Return the answer to a command of system.cpp.

        Raises:
            CheckFailed: the simulator ended, or a register gave no answer.
        """
        assert self._child.stdin is not None and self._child.stdout is not None
        said = ""
        try:
            self._child.stdin.write(command + "\n")
            for line in self._child.stdout:
                if line.startswith("= "):
                    answer = line[2:].strip()
                    if answer == "stuck":
                        raise CheckFailed("a register of the simulated DMAs gives no answer")
                    return answer
                # What the design or the simulator itself has to say.
                said = line.strip() or said
        except (OSError, ValueError) as error:
            said = said or str(error)
        raise CheckFailed(f"the simulator ended: {said or 'no message'}")
