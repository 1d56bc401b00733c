"""What FINN would have Vivado do, run as far as plain Tcl goes: a stand-in records the commands."""

import re
from pathlib import Path

import pytest

from build.flow import build
from tests.build.small_aaronnet import frames_for, small_checkpoint
from tests.build.xilinx_stand_in import install, option, recorded

pytest.importorskip("tkinter", reason="runs Tcl with Python's own interpreter")


@pytest.fixture(scope="module")
def stitched(tmp_path_factory):
    """The recorded commands and the graph of a build `--to stitched`."""
    out = tmp_path_factory.mktemp("stitched") / "out"
    with pytest.MonkeyPatch.context() as patch:
        install(tmp_path_factory.mktemp("tools"), patch)
        result = build(small_checkpoint(), "ZCU104", out, to="stitched", frames=frames_for(8))
    (folder,) = (out / "finn").glob("vivado_stitch_proj_*")
    return recorded(folder), result


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
