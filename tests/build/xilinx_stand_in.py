"""A stand-in for vivado: Tcl's own commands run.

Of our shell's script every command is checked (tests/build/vivado/). The commands of FINN's scripts
are recorded, and leave the files that FINN reads next.
"""

import importlib
import json
import sys
from pathlib import Path

import pytest

from build.environment import setup
from tests.conftest import ROOT

TOOL = """#!{python}
import sys
sys.path.insert(0, {root!r})
if "-mode" in sys.argv and sys.argv[-1].endswith("shell.tcl"):
    from tests.build.vivado.tool import main
    sys.exit(main(sys.argv[1:]))

import json, tkinter
from pathlib import Path

script = Path(sys.argv[sys.argv.index("-source") + 1])
calls = []

def record(*words):
    words = [str(word) for word in words]
    calls.append(words)
    if words[0] == "ipx::package_project":
        Path("ip").mkdir(exist_ok=True)
        Path("ip/component.xml").touch()
    if words[0] == "make_wrapper":
        project, design = (
            next(call[1] for call in calls if call[0] == command)
            for command in ("create_project", "create_bd_design")
        )
        wrapper = Path(project + ".srcs/sources_1/bd", design, "hdl", design + "_wrapper.v")
        wrapper.parent.mkdir(parents=True, exist_ok=True)
        wrapper.touch()
    if words[0].startswith("get_") and "-filter" not in words:
        return words[-1]
    return ""

tcl = tkinter.Tcl()
tcl.createcommand("unknown", record)
tcl.eval(script.read_text())
script.with_name("calls.json").write_text(json.dumps(calls))
"""
VARIABLES = (
    "XILINX_VIVADO",
    "XILINX_LOCAL_USER_DATA",
    "FINN_RTLLIB",
    "FINN_CUSTOM_HLS",
)


def install(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Put the stand-in on the PATH, in the folder that Xilinx' installer makes."""
    tools = root / "Xilinx" / "Vivado" / "2022.2" / "bin"
    tools.mkdir(parents=True)
    text = TOOL.replace("{python}", sys.executable).replace("{root!r}", repr(str(ROOT)))
    (tools / "vivado").write_text(text)
    (tools / "vivado").chmod(0o755)
    patch.setenv("PATH", str(tools), prepend=":")
    # FINN watches each of some hundred files for a moment; ours are written when a tool ends.
    setup(root / "finn")
    stitching = importlib.import_module("finn.transformation.fpgadataflow.create_stitched_ip")
    patch.setattr(stitching, "wait_for_file", lambda path, timeout: path.is_file())
    for name in VARIABLES:
        # Set to be put back after the build, which sets them itself.
        patch.setenv(name, "")
        patch.delenv(name)


def recorded(folder: Path) -> list[list[str]]:
    """Return the commands of the script that ran in a folder."""
    return json.loads((folder / "calls.json").read_text())


def option(call: list[str], name: str) -> str:
    """Return the word after an option of a recorded command."""
    return call[call.index(name) + 1]
