"""From a checkpoint or QONNX file to an accelerator, every step verified.

FINN+'s own builder runs FINN+'s steps and ours (`build/finn_config.py` lists them); after each the
graph is executed and compared with the network (`build/verify.py`).
"""

import functools
import importlib
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from qonnx.core.modelwrapper import ModelWrapper

from build.build_report import BuildReport, DenseReport
from build.environment import quiet, setup
from build.folding_file import read_folding
from build.layout import GENERATED, HDL, MARKER, NETWORK, STREAMED, graph_after
from build.source import Source, load_graph, open_source
from build.staging import staged
from build.stimuli import frames_to_verify
from build.xilinx import check_tools
from models.checkpoint import Checkpoint
from models.config import CONFIGS, NetConfig
from models.console import Bar
from models.errors import BadInput, CheckFailed
from models.files import write_json
from models.user_code import Trust

if TYPE_CHECKING:
    from build.simulation.stitch import Accelerator
    from build.verify import Verifier

TUNED = "tuned"
R = TypeVar("R", bound=BuildReport)


@dataclass(frozen=True)
class BuildResult(Generic[R]):
    """What a build left behind.

    Attributes:
        folder: the output folder.
        model: path of the last step's graph (.onnx).
        report: what report.json holds.
        seconds: wall time of each step, by name.
    """

    folder: Path
    model: Path
    report: R
    seconds: dict[str, float]

    def load(self) -> ModelWrapper:
        """Return the last step's graph, ready for `build.verify.graph_classes` and the like."""
        return load_graph(self.model)


def build(
    given: str | Path | Checkpoint | Source,
    board: str,
    out: str | Path,
    *,
    to: str = "estimate",
    fps: float | None = None,
    folding: str | Path | None = None,
    clock: float | None = None,
    logits: bool = False,
    size_fifos: bool = False,
    frames: np.ndarray | str | Path | None = None,
    verbose: bool = False,
    trust: Trust = Trust(),
    alter: Callable[[str, ModelWrapper], ModelWrapper] | None = None,
) -> BuildResult[DenseReport]:
    """Build an accelerator and verify every step.

    Args:
        given: a checkpoint, its file (.pth), a QONNX file (.onnx), or one of them opened.
        board: a name that `build.boards` lists.
        out: folder for everything. A former build there is replaced in the end; until then, and if
            this one fails, it stays. Other files there stay in any case.
        to: "estimate", "hdl", "stitched", "project" or "bitfile" (the first of these three and the
            last need Vivado).
        fps: frames/s to reach with the least resources; without it and `folding` the fastest
            folding up to the line rate that fits the board comfortably.
        folding: a folding JSON of FINN's to apply instead, or "tuned" for the one that we ship for
            the network's architecture and the board.
        clock: MHz; the board's default otherwise.
        logits: output the integer logits instead of the class index.
        size_fifos: simulate the HDL and give FIFOs the least depths that keep the pace; without it
            they have those that follow from the folding.
        frames: float32 (N, C, L) to verify with, best over all SNRs, or a file in RadioML's layout
            to take them from; otherwise synthetic ones, or for a task that is not RadioML's random
            ones.
        trust: which code may run, where a checkpoint needs some.
        verbose: let the libraries print; their words are in OUT/libraries.log anyway.
        alter: called with each step's name and graph before verification; for tests that inject
            faults.

    Returns:
        the graph and the report.

    Raises:
        BadInput: the board, the network, the rate, the folding or the tools do not allow it, or
            `out` holds files of a build's names that no build of ours made; nothing has changed.
        CheckFailed: a step's graph computes something else than the network; OUT/verification
            holds the tensors, and nothing else has changed.
    """
    if fps is not None and folding is not None:
        raise BadInput("give either --fps or --folding, not both")
    if fps is not None and not 0 < fps < math.inf:
        raise BadInput(f"frames/s must be positive, not {fps:g}")
    if size_fifos and to in ("estimate", "stitched"):
        raise BadInput("--size-fifos simulates generated HDL: it goes with --to hdl")
    if clock is not None and not 1 <= clock <= 1000:
        raise BadInput(f"the clock must lie between 1 and 1000 MHz, not {clock:g}")
    if folding is not None and folding != TUNED:
        read_folding(folding)
    with quiet(Path(os.devnull), verbose):
        source = open_source(given, integers=True, trust=trust)
    frames = frames_to_verify(frames, source.task)
    out = Path(out).resolve()
    with staged(out) as new, quiet(new / "libraries.log", verbose):
        setup(new / GENERATED)
        from build.boards import find_board
        from build.finn_config import GENERATING, TARGETS, Request
        from build.shell.implement import with_shell
        from build.simulation.stitch import stitch
        from build.verify import Verifier

        if to not in TARGETS:
            raise BadInput(f"unknown target {to!r}; choose one of {', '.join(TARGETS)}")
        chosen = find_board(board)
        if folding == TUNED:
            folding = tuned_folding(source, chosen.name)
        request = Request(
            board=chosen,
            to=to,
            clock=clock or chosen.clock,
            fps=fps,
            folding=None if folding is None else Path(folding).absolute(),
            logits=logits,
            size_fifos=size_fifos,
        )
        check_tools(chosen, to)
        verifier = Verifier(source.model, frames, out / "verification", source.network)
        check_rewritten(source, frames, verifier.classes)
        seconds = run(source, request, new, verifier, verbose, alter)
        from build import estimates

        report = estimates.collect(source, request, new, verifier.results)
        stitched = None
        if to in GENERATING:
            stitched = stitch(ModelWrapper(str(graph_after(new, HDL))), new / GENERATED)
            report = with_shell(report, request, stitched, new, out)
        estimates.write(report, request, new)
        if to != "estimate":
            _package(source, request, report, new, stitched)
        write_json(new / MARKER, {"seconds": seconds, "to": to, "board": request.board.name})
    setup(out / GENERATED)
    return BuildResult(out, graph_after(out, list(seconds)[-1]), report, seconds)


def check_rewritten(source: Source, frames: np.ndarray, classes: np.ndarray) -> None:
    """Raise CheckFailed where a foreign network, as it was given, computes something else.

    Args:
        source: the network, as it was given and rewritten.
        frames: (N, C, L).
        classes: (N,) of the rewritten one.
    """
    from build.verify import differing_integers, graph_logits, is_best

    if source.original is None:
        return
    if different := differing_integers(source.original, source.model, source.shared, frames):
        raise CheckFailed(f"{source.name}, rewritten for the flow, differs in {different}")
    if wrong := int((~is_best(graph_logits(source.original, frames), classes)).sum()):
        raise CheckFailed(
            f"{source.name}, rewritten for the flow, has other classes than the file in "
            f"{wrong} of {len(frames)} frames"
        )


def tuned_folding(source: Source, board: str) -> Path:
    """Return the folding that we ship for a network's architecture on a board.

    Raises:
        BadInput: there is none.
    """
    folder = Path(__file__).parent / "foldings"
    config = source.checkpoint.config if source.checkpoint else None
    shape = (config.family, config.filters, config.dense) if isinstance(config, NetConfig) else ()
    for name, known in CONFIGS.items():
        path = folder / f"{name}-{board}.json"
        if shape == (known.family, known.filters, known.dense) and path.exists():
            return path
    there = ", ".join(sorted(path.stem for path in folder.glob("*.json")))
    raise BadInput(f"no tuned folding for {source.name} on {board}; there are {there}")


def _package(
    source: Source, request: Any, report: DenseReport, out: Path, stitched: "Accelerator | None"
) -> None:
    from build.package import ends_of, write_package

    graph = graph_after(out, STREAMED)
    if not graph.exists():
        graph = graph_after(out, "step_minimize_bit_width")
    ends = ends_of(ModelWrapper(str(graph)))
    write_package(source, request, report, ends, out, graph=graph, stitched=stitched)


def run(
    source: Source,
    request: Any,
    out: Path,
    verifier: "Verifier",
    verbose: bool,
    alter: Callable[[str, ModelWrapper], ModelWrapper] | None,
) -> dict[str, float]:
    """Run the builder in the folder `out` with verification around every step; see `build`.

    Returns:
        wall time of each step.
    """
    import finn.builder.build_dataflow as builder
    from finn.util.exception import FINNUserError

    from build.finn_config import builder_config

    # FINN's builder resolves names; ours must be known before graphs are read.
    importlib.import_module("build.rtl.specialize")
    config = builder_config(request, out)
    steps = builder.resolve_build_steps(config)
    seconds: dict[str, float] = {}
    problems: list[Exception] = []
    with Bar("build", len(steps)) as progress:

        def watched(step: Callable) -> Callable:
            @functools.wraps(step)
            def wrapper(model: ModelWrapper, cfg: Any) -> ModelWrapper:
                name = step.__name__
                progress.describe(name.removeprefix("step_").replace("_", " "))
                begin = time.perf_counter()
                try:
                    model = step(model, cfg)
                    seconds[name] = round(time.perf_counter() - begin, 3)
                    if alter is not None:
                        model = alter(name, model)
                    if needs_check(name):
                        verifier.check(name, model)
                except Exception as error:
                    problems.append(error)
                    raise
                progress.advance()
                return model

            return wrapper

        config.steps = [watched(step) for step in steps]
        exported = out / NETWORK
        source.model.save(str(exported))
        if "XILINX_VIVADO" not in os.environ:
            builder.get_vivado_root = lambda: "none"
        # The builder swallows exceptions except under pytest; both ways ours come out here.
        try:
            status = builder.build_dataflow_cfg(str(exported), config)
        except Exception:
            if not problems:
                raise
            status = -1
    if problems:
        problem = problems[0]
        if isinstance(problem, FINNUserError):
            raise BadInput(f"FINN+ cannot build {source.name}: {problem}") from problem
        raise problem
    if status:
        raise KeyboardInterrupt
    return seconds


def needs_check(step: str) -> bool:
    """Whether a step changes what the graph computes with; reports and synthesis do not."""
    unchanged = ("report", "stitched_ip", "synth", "driver", "package", "ipgen")
    return not any(word in step for word in unchanged)
