"""Stand-ins for vivado, vitis_hls, v++ and kernelinfo: Tcl's own commands run, theirs are recorded.

Each leaves the files that FINN reads next, empty or with what they would say of the design.
"""

import importlib
import json
import sys
from pathlib import Path

import pytest

from build.environment import setup

TCL_TOOL = """#!{python}
import json, sys, tkinter
from pathlib import Path

words = sys.argv[1:]
script = Path(words[words.index("-source") + 1] if "-source" in words else words[-1])
calls = []

def first(command):
    return next(call[1] for call in calls if call[0] == command)

def made(*parts):
    path = Path(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()

def after(words, option):
    return [word for before, word in zip(words, words[1:]) if before == option]

def record(*words):
    words = [str(word) for word in words]
    calls.append(words)
    match words[0]:
        case "ipx::package_project":
            made("ip/component.xml")
        case "make_wrapper":
            project, design = first("create_project"), first("create_bd_design")
            made(project + ".srcs/sources_1/bd", design, "hdl", design + "_wrapper.v")
            made(project + ".gen/sources_1/bd", design, "hw_handoff", design + ".hwh")
        case "launch_runs":
            run, design = first("create_project") + ".runs/impl_1", first("create_bd_design")
            made(run, design + "_wrapper.bit")
            made(run, design + "_wrapper_timing_summary_routed.rpt")
        case "report_utilization":
            Path(*after(words, "-file")).write_text("<rows/>")
        case "export_design":
            Path(first("open_project"), "sol1/impl/ip").mkdir(parents=True)
        case "package_xo":
            ports = [dict(name=text.split(":")[3]) for text in after(words, "-kernel_xml_args")]
            kernel = dict(name=after(words, "-kernel_name")[0], ports=ports)
            Path(*after(words, "-xo_path")).write_text(json.dumps(dict(kernelDefs=[kernel])))
        case "get_property" if words[1] == "CONFIG.ADDR_WIDTH":
            return "6"  # of an IODMA's registers
    if words[0].startswith("get_") and "-filter" not in words:
        return words[-1]
    return ""

tcl = tkinter.Tcl()
tcl.createcommand("unknown", record)
tcl.eval(script.read_text())
script.with_name("calls.json").write_text(json.dumps(calls))
"""
LINKER = """#!/bin/bash
printf '%s\\n' "$@" > calls.txt
touch a.xclbin
"""
# package_xo wrote what it says of a kernel.
KERNELINFO = """#!/bin/bash
cat "${!#}"
"""
VARIABLES = (
    "XILINX_VIVADO",
    "XILINX_VITIS",
    "XILINX_LOCAL_USER_DATA",
    "FINN_RTLLIB",
    "FINN_CUSTOM_HLS",
)


def install(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Put the stand-ins on the PATH, in the folders that Xilinx' installer makes."""
    tools = root / "Xilinx" / "Vivado" / "2022.2" / "bin"
    tools.mkdir(parents=True)
    tcl_tool = TCL_TOOL.replace("{python}", sys.executable)
    for name, text in (
        ("vivado", tcl_tool),
        ("vitis_hls", tcl_tool),
        ("v++", LINKER),
        ("kernelinfo", KERNELINFO),
    ):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
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
