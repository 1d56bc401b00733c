"""`aaronnet build --style sparse`: from a network to a package, every phase verified."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from build.build_report import (
    SPARSE,
    Estimate,
    SparseLayer,
    SparseReport,
    Verified,
    against_example,
    head,
)
from build.environment import quiet, setup
from build.flow import BuildResult
from build.layout import GENERATED, MARKER, NETWORK, REPORT
from build.source import Source, open_source
from build.sparse.from_graph import network_of
from build.staging import staged
from build.stimuli import frames_to_verify
from build.xilinx import check_tools
from models.checkpoint import Checkpoint
from models.errors import BadInput
from models.files import write_json
from models.user_code import Trust

if TYPE_CHECKING:
    from build.package import Ends


def build_sparse(
    given: str | Path | Checkpoint | Source,
    board: str,
    out: str | Path,
    *,
    to: str = "hdl",
    clock: float | None = None,
    clocks: int | str | None = None,
    frames: np.ndarray | str | Path | None = None,
    verbose: bool = False,
    trust: Trust = Trust(),
) -> BuildResult[SparseReport]:
    """Build a sparse accelerator and its package.

    Args:
        given: a checkpoint, its file (.pth), a QONNX file (.onnx), or one of them opened.
        board: a name that `build.boards` lists.
        out: folder for everything; a former build there is replaced in the end.
        to: "hdl", "project" or "bitfile" (which needs Vivado).
        clock: MHz; the board's default otherwise.
        clocks: from one frame to the next; the least otherwise. More take less area;
            "auto" takes the least that leave 30 % of the board's LUTs, by an estimate.
        frames: see `build.flow.build`.
        verbose: let the libraries print.
        trust: which code may run, where a checkpoint needs some.

    Returns:
        the exported network's path and the report: that of the dense way, without estimates of
        resources (`aaronnet synth` counts them).

    Raises:
        BadInput: the board or the network does not allow it; nothing has been built then.
        CheckFailed: a phase computes something else than the one before.
    """
    if clock is not None and not 1 <= clock <= 1000:
        raise BadInput(f"the clock must lie between 1 and 1000 MHz, not {clock:g}")
    with quiet(Path(os.devnull), verbose):
        source = open_source(given, integers=True, trust=trust)
    began = time.perf_counter()
    network = network_of(source.model)
    seconds = {"integer network": round(time.perf_counter() - began, 3)}
    frames = frames_to_verify(frames, source.task)
    out = Path(out).resolve()
    with staged(out) as new, quiet(new / "libraries.log", verbose):
        setup(new / GENERATED)
        from build.boards import find_board
        from build.finn_config import GENERATING, Request
        from build.package import write_package
        from build.shell.implement import with_shell
        from build.sparse.area import fastest
        from build.sparse.assemble import compile_network
        from build.sparse.compose import compose
        from build.sparse.fold import fold
        from build.sparse.phases import check_composed, check_constants, check_folded, check_lifted

        if to not in GENERATING:
            raise BadInput(f"a sparse build goes to {', '.join(GENERATING)}, not to {to!r}")
        chosen = find_board(board)
        check_tools(chosen, to)
        request = Request(board=chosen, to=to, clock=clock or chosen.clock)
        began = time.perf_counter()

        def lap(step: str) -> None:
            nonlocal began
            seconds[step] = round(time.perf_counter() - began, 3)
            began = time.perf_counter()

        folded = fold(network)
        lap("folding")
        composed = fold(compose(folded))
        lap("composition")
        area = None
        if clocks == "auto":
            clocks, area = fastest(composed, chosen)
        made = compile_network(composed, None if clocks is None else int(clocks))
        lap("hardware")
        integers = network.quantize(frames)
        verification = (
            check_lifted(network, source, frames),
            check_folded(network, folded, integers),
            check_composed(folded, composed, integers),
            check_constants(composed, integers, made.clocks),
        )
        lap("verification")
        report = _report(source, request, made, composed, verification)
        report = with_shell(report, request, made.accelerator, new, out)
        if to != "hdl":
            lap("shell")
        source.model.save(str(new / NETWORK))
        write_json(new / REPORT, report.to_dict())
        ends = _ends(network, made)
        write_package(source, request, report, ends, new, stitched=made.accelerator)
        lap("package")
        marker = {"seconds": seconds, "to": to, "board": request.board.name, "style": SPARSE}
        write_json(new / MARKER, marker)
    setup(out / GENERATED)
    if area is not None:
        print(f"{clocks} clocks a frame: {area.of(chosen)}, estimated")
    return BuildResult(out, out / NETWORK, report, seconds)


def _report(
    source: Source, request: Any, made: Any, network: Any, verification: tuple[Verified, ...]
) -> SparseReport:
    performance = Estimate(
        *(request.clock, made.clocks, made.latency, "the input"),
        samples_per_frame=source.task.length,
    )
    return SparseReport(
        **head(source, request, SPARSE),
        performance=performance,
        comparison=against_example(performance.fps, None),
        adders=made.adders,
        layers=tuple(
            SparseLayer(
                *(layer.name, type(layer).__name__),
                *(tensor.channels, tensor.positions, tensor.bits),
            )
            for layer, tensor in zip(network.layers, network.tensors[1:], strict=True)
        ),
        verification=verification,
    )


def _ends(network: Any, made: Any) -> "Ends":
    from qonnx.core.datatype import DataType

    from build.package import Ends, packed_shape

    def end(dma: str, link: Any, normal: list[int]) -> dict[str, Any]:
        datatype = DataType[f"{'' if link.stream.signed else 'U'}INT{link.stream.bits}"]
        folded = [1, *link.shape]
        packed = [int(size) for size in packed_shape(datatype, tuple(folded))]
        return {"dma": dma, "datatype": datatype.name, "normal": normal, "folded": folded,
                "packed": packed}  # fmt: skip

    (taken,), (given,) = made.accelerator.inputs, made.accelerator.outputs
    return Ends(
        end("idma0", taken, [1, network.length, 1, network.channels]),
        end("odma0", given, [1, 1]),
        {"step": network.step, "minimum": network.low, "maximum": network.high},
        1.0,
    )
