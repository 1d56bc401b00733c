"""What FINN would have Vivado do, run as far as plain Tcl goes: a stand-in records the commands."""

import json
import re
import sys
from pathlib import Path

import pytest

from build.flow import build
from tests.build.small_aaronnet import frames_for, small_checkpoint

pytest.importorskip("tkinter", reason="runs Tcl with Python's own interpreter")

# Tcl's own commands really run, Vivado's are recorded; its files are those that are read later.
STAND_IN = """#!{python}
import json, sys, tkinter
from pathlib import Path

script = Path(sys.argv[sys.argv.index("-source") + 1])
calls = []

def record(*words):
    calls.append([str(word) for word in words])
    if words[0] == "ipx::package_project":
        Path("ip").mkdir()
        Path("ip/component.xml").write_text("<component/>")
    if words[0].startswith("get_") and "-filter" not in words:
        return words[-1]
    return ""

tcl = tkinter.Tcl()
tcl.createcommand("unknown", record)
tcl.eval(script.read_text())
Path("calls.json").write_text(json.dumps(calls))
wrapper = Path("finn_vivado_stitch_proj.srcs/sources_1/bd/finn_design/hdl/finn_design_wrapper.v")
wrapper.parent.mkdir(parents=True)
wrapper.touch()
"""


@pytest.fixture(scope="module")
def stitched(tmp_path_factory):
    """The recorded commands and the graph of a build `--to stitched`."""
    root = tmp_path_factory.mktemp("Xilinx") / "Vivado" / "2022.2"
    tool = root / "bin" / "vivado"
    tool.parent.mkdir(parents=True)
    tool.write_text(STAND_IN.format(python=sys.executable))
    tool.chmod(0o755)
    out = tmp_path_factory.mktemp("stitched") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(tool.parent), prepend=":")
        for name in ("XILINX_VIVADO", "FINN_RTLLIB", "FINN_CUSTOM_HLS", "XILINX_LOCAL_USER_DATA"):
            # Set to be put back after the build, which sets them itself.
            patch.setenv(name, "")
            patch.delenv(name)
        result = build(small_checkpoint(), "ZCU104", out, to="stitched", frames=frames_for(8))
    (calls,) = (out / "finn").glob("vivado_stitch_proj_*/calls.json")
    return json.loads(calls.read_text()), result


def option(call: list[str], name: str) -> str:
    return call[call.index(name) + 1]


def test_the_project_is_for_the_board_at_its_clock(stitched):
    calls, _ = stitched
    (create,) = (call for call in calls if call[0] == "create_project")
    assert option(create, "-part") == "xczu7ev-ffvc1156-2-e"
    assert ["set_property", "CONFIG.FREQ_HZ", "250000000", "/ap_clk"] in calls


def test_every_source_is_there_and_defines_what_is_instantiated(stitched):
    calls, result = stitched
    sources = [Path(call[-1]) for call in calls if call[0] == "add_files"]
    assert all(path.is_file() for path in sources)
    library = [path for path in sources if "finn-rtllib" in path.parts]
    # Ours, patched, and not the one that FINN was installed with.
    assert library and all(path.is_relative_to(result.folder / "finn-rtllib") for path in library)
    text = "\n".join(path.read_text() for path in set(sources))
    defined = set(re.findall(r"^\s*module\s+(\w+)", text, re.MULTILINE))
    wanted = {
        option(call, "-reference")
        for call in calls
        if call[0] == "create_bd_cell" and "-reference" in call
    }
    assert wanted and wanted <= defined
    assert not [call for call in calls if call[0] == "create_bd_cell" and "-vlnv" in call]


def test_the_stream_runs_through_every_node_of_the_graph(stitched):
    calls, result = stitched
    nodes = [node.name for node in result.load().graph.node]
    following = {}
    for call in calls:
        if call[0] != "connect_bd_intf_net":
            continue
        # The recorded [get_bd_intf_pins NODE/out0_V]: top-level streams join two nodes.
        ends = [end.split("/") for end in call[1:]]
        if all(len(end) == 2 for end in ends):
            (source,) = (end[0] for end in ends if end[1].startswith("out"))
            (sink,) = (end[0] for end in ends if end[1].startswith("in"))
            following[source] = sink
    chain = [next(node for node in following if node not in following.values())]
    while chain[-1] in following:
        chain.append(following[chain[-1]])
    assert chain == nodes
