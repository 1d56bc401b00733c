"""FINN+ on a machine without Vivado: what has to be in place before its modules are imported.

finn-plus 1.6.1 imports its RTL simulator through `finn.xsi`, which asks for XILINX_VIVADO, and its
builder writes Vivado's version into its last report. Neither is needed up to generated HDL.
"""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from models.console import err

RTLLIB = "FINN_RTLLIB"
"""Where finn-rtllib is: FINN's settings read it, and so does the Tcl that FINN generates."""


def setup(build_dir: Path) -> None:
    """Make FINN+ importable and send what it generates to `build_dir`.

    May be called again with another folder. Where XILINX_VIVADO is set, FINN+ is left to its own
    simulator.
    """
    build_dir = build_dir.absolute()
    build_dir.mkdir(parents=True, exist_ok=True)
    os.environ["FINN_BUILD_DIR"] = str(build_dir)
    # An earlier build's patched library is not where this one begins.
    os.environ.pop(RTLLIB, None)
    import finn.util.settings
    import finn.xsi
    from finn.interface.settings import FINNSettings

    if "XILINX_VIVADO" not in os.environ:
        for name in finn.xsi._LAZY_NAMES:
            # Attributes that exist are never asked for lazily.
            setattr(finn.xsi, name, _missing(name))
    # A settings file in the user's home must not decide where a build of ours goes.
    finn.util.settings._SETTINGS = FINNSettings.init(
        override_settings_path=build_dir / "settings.yaml",
        flow_config=build_dir / "flow.yaml",
        finn_build_dir=str(build_dir),
    )


def _missing(name: str) -> Callable[..., None]:
    def stand_in(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError(f"finn.xsi.{name} needs Vivado's simulator; XILINX_VIVADO is not set")

    return stand_in


@contextlib.contextmanager
def quiet(log: Path, verbose: bool) -> Iterator[None]:
    """Send what libraries print and log to the file `log`, or let it through when `verbose`.

    FINN+'s builder replaces the process's streams and log handlers; they are put back. Our own
    progress (`models.console.err`) keeps going to the terminal.
    """
    streams, root = (sys.stdout, sys.stderr), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    own, err.file = err._file, sys.stderr
    try:
        with log.open("a") as file, warnings.catch_warnings():
            if not verbose:
                sys.stdout = sys.stderr = file
                root.handlers[:] = [logging.StreamHandler(file)]
                warnings.simplefilter("ignore")
            yield
    finally:
        err._file = own
        sys.stdout, sys.stderr = streams
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(False)
