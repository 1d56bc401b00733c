"""The board that pynq finds, calls to it that cannot hang, and whether a package fits it."""

import os
import queue
import re
import threading
import warnings
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from deploy.board.errors import BadInput, CheckFailed
from deploy.board.package import Package
from deploy.board.registers import WIZARD

CLOCK_TOLERANCE = 0.01
ANSWER_SECONDS = 30.0
"""How long a call to a remote board may take."""


class Calls:
    """Calls to the board: a remote one that does not answer ends them with a clear message.

    Attributes:
        broken: the connection is gone; further calls would only wait.
    """

    def __init__(self, remote: bool):
        self.remote, self.broken = remote, False
        self._buffers: list[Any] = []
        self._work: queue.SimpleQueue[Any] = queue.SimpleQueue()
        if remote:
            # A daemon: a call that never returns must not keep the program from ending.
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            function, arguments, answer = self._work.get()
            try:
                answer.put((function(*arguments), None))
            except Exception as error:  # raised again in the caller's thread
                answer.put((None, error))

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return `function(*arguments)`.

        Raises:
            CheckFailed: the board does not answer, is gone, or refuses.
        """
        if not self.remote:
            try:
                return function(*arguments)
            except (RuntimeError, MemoryError, OSError) as error:
                raise CheckFailed(f"the board failed: {error}") from error
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._work.put((function, arguments, answer))
        try:
            result, failure = answer.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            self._abandon()
            raise CheckFailed(f"the board did not answer for {ANSWER_SECONDS:.0f} s") from None
        if failure is None:
            return result
        raise self._translated(failure) from failure

    def keep(self, buffer: Any) -> Any:
        """Return a buffer of the board, remembered for `_abandon`."""
        self._buffers.append(buffer)
        return buffer

    def _abandon(self) -> None:
        """The board is gone: no buffer's finalizer may call it and wait for an answer."""
        self.broken = True
        for buffer in self._buffers:
            buffer.freed = True

    def _translated(self, error: Exception) -> Exception:
        import grpc

        if isinstance(error, grpc.RpcError):
            code, details = error.code(), error.details()
            if code == grpc.StatusCode.UNAVAILABLE:
                self._abandon()
                return CheckFailed(
                    "the connection to the board was lost; is it still on, is its server running?"
                )
            return CheckFailed(f"the board refused: {details}")
        if isinstance(error, RuntimeError):
            return CheckFailed(f"the board refused: {error}")
        return error


def open_device() -> Any:
    """Return pynq's active device: the board this runs on, or the one PYNQ_REMOTE_DEVICES names.

    Raises:
        BadInput: there is no board, or no working pynq.
    """
    address = os.environ.get("PYNQ_REMOTE_DEVICES")
    if address:
        # gRPC would ask the proxy for a board in the local network, or for this very machine.
        for name in ("no_proxy", "NO_PROXY"):
            os.environ[name] = ",".join(filter(None, [os.environ.get(name), address]))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pynq

            return pynq.Device.active_device
    except ImportError as error:
        raise BadInput(
            f"this Python has no working pynq ({error}); on a board use PYNQ's own environment, "
            "elsewhere: make board-env"
        ) from error
    except RuntimeError as error:
        if address:
            raise BadInput(
                f"no board answers at {address}:7967 ({error}); is it on, and PYNQ.remote's "
                "server or `aaronnet board serve` running?"
            ) from error
        raise BadInput(
            "this machine is no PYNQ board; set PYNQ_REMOTE_DEVICES=ADDRESS of one, or try a "
            "virtual one: aaronnet board serve PACKAGE"
        ) from error


def _plain(board: str) -> str:
    return re.sub(r"[^a-z0-9]", "", board.lower()).removesuffix("som")


def check_board(package: Package, found: str) -> None:
    """Raise BadInput unless the board calling itself `found` is the package's; "Unknown" passes."""
    known, wanted = _plain(found), _plain(package.board)
    # PYNQ's images say Ultra96 for both versions.
    if known in ("", "unknown") or known == wanted or (known == "ultra96" and known in wanted):
        return
    raise BadInput(
        f"this package is for {package.board}, and the board is a {found}; build one with "
        f"--board {found}"
    )


def check_clock(package: Package) -> None:
    """Raise BadInput unless the overlay's clocking wizard makes the clock of the manifest."""
    path = package.overlay.with_suffix(".hwh")
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise BadInput(f"{path} cannot be read ({error}); copy the package again") from error
    for module in root.iter("MODULE"):
        if module.get("INSTANCE") == WIZARD:
            parameters = {item.get("NAME"): item.get("VALUE") for item in module.iter("PARAMETER")}
            found = parameters.get("CLKOUT1_OUT_FREQ") or parameters.get(
                "CLKOUT1_REQUESTED_OUT_FREQ"
            )
            if found:
                compare_clock(package, float(found), "the bitfile was built")


def compare_clock(package: Package, found: float, what: str) -> None:
    """Raise BadInput if `found` MHz is another clock than the manifest's."""
    if abs(found - package.clock_mhz) > CLOCK_TOLERANCE * package.clock_mhz:
        raise BadInput(
            f"{what} for {found:g} MHz, the package says {package.clock_mhz:g} MHz: its results "
            "would be right and its speeds wrong; build it again"
        )
