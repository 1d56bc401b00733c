"""Where everything lies in a build's folder."""

from pathlib import Path

MARKER = "build.json"
"""Marks a finished build as ours: what it made, how, and every file that it wrote."""

REPORT = "report.json"
NETWORK = "network.onnx"  # as exported, before the first step
GENERATED = "finn"  # FINN's own folder: generated HDL, Xilinx projects
PACKAGE = "package"
VIVADO = "vivado"  # the shell's project
BITFILES = ("accelerator.bit", "accelerator.hwh")  # what comes out of it

ESTIMATED = "step_generate_estimate_reports"
STREAMED = "step_insert_streams"  # the last graph that is whole without generated HDL
HDL = "step_hw_codegen"


def graph_after(out: Path, step: str) -> Path:
    """Return where FINN's builder saves the graph that a step left behind.

    Args:
        out: the build's folder.
        step: its name, without a module's.
    """
    return out / "intermediate_models" / f"{step}.onnx"


def finn_report(out: Path, name: str) -> Path:
    """Return the path of a report that a step wrote."""
    return out / "report" / name
