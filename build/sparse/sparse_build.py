"""`aaronnet build --style sparse`: from a network to a package, every phase verified."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from build.environment import quiet, setup
from build.flow import BuildResult, check_frames
from build.layout import GENERATED, MARKER, NETWORK, REPORT
from build.source import Source, open_source
from build.staging import staged
from build.stimuli import sample_frames, synthetic_frames
from models.checkpoint import Checkpoint
from models.config import FRAME_LENGTH
from models.console import print_table
from models.cost import inference_cost
from models.errors import BadInput
from models.files import write_json

STYLE = "sparse"


def build_sparse(
    given: str | Path | Checkpoint,
    board: str,
    out: str | Path,
    *,
    clock: float | None = None,
    frames: np.ndarray | None = None,
    verbose: bool = False,
) -> BuildResult:
    """Build a sparse accelerator and its package.

    Args:
        given: a checkpoint, its file (.pth), or a QONNX file (.onnx).
        board: a name that `build.boards` lists.
        out: folder for everything; a former build there is replaced in the end.
        clock: MHz; the board's default otherwise.
        frames: float32 (N, 2, 1024) to verify with; synthetic ones otherwise.
        verbose: let the libraries print.

    Returns:
        the exported network's path and the report: that of the dense way, without estimates of
        resources (`aaronnet synth` counts them).

    Raises:
        BadInput: the board or the network does not allow it; nothing has been built then.
        CheckFailed: a phase computes something else than the one before.
    """
    if clock is not None and not 1 <= clock <= 1000:
        raise BadInput(f"the clock must lie between 1 and 1000 MHz, not {clock:g}")
    frames = synthetic_frames() if frames is None else frames
    check_frames(frames)
    out = Path(out).resolve()
    seconds: dict[str, float] = {}
    with staged(out) as new, quiet(new / "libraries.log", verbose):
        setup(new / GENERATED)
        from build.boards import find_board
        from build.finn_config import Request
        from build.sparse.assemble import compile_network
        from build.sparse.fold import fold
        from build.sparse.from_graph import network_of
        from build.sparse.phases import check_constants, check_folded, check_lifted

        chosen = find_board(board)
        source = open_source(given)
        request = Request(board=chosen, to="hdl", clock=clock or chosen.clock)
        began = time.perf_counter()

        def lap(step: str) -> None:
            nonlocal began
            seconds[step] = round(time.perf_counter() - began, 3)
            began = time.perf_counter()

        network = network_of(source.model)
        lap("integer network")
        folded = fold(network)
        lap("folding")
        made = compile_network(folded)
        lap("hardware")
        integers = network.quantize(frames)
        verification = [
            check_lifted(network, source, frames),
            check_folded(network, folded, integers),
            check_constants(folded, integers),
        ]
        lap("verification")
        facts = _report(source, request, made, folded, verification)
        source.model.save(str(new / NETWORK))
        write_json(new / REPORT, facts)
        _package(source, request, facts, network, made, new)
        lap("package")
        marker = {"seconds": seconds, "to": "hdl", "board": request.board.name, "style": STYLE}
        write_json(new / MARKER, marker)
    setup(out / GENERATED)
    return BuildResult(out, out / NETWORK, facts, seconds)


def _report(
    source: Source, request: Any, made: Any, network: Any, verification: list[dict[str, Any]]
) -> dict[str, Any]:
    hertz = request.clock * 1e6
    try:
        cost = inference_cost(source.original or source.model, source.name)
    except BadInput:
        cost = None  # the official rules do not cover every operator
    return {
        "network": source.name,
        "data_label": source.checkpoint.data_label if source.checkpoint else "unknown",
        "board": request.board.name,
        "part": request.board.part,
        "to": request.to,
        "style": STYLE,
        "performance": {
            "source": "estimated",
            "clock_mhz": request.clock,
            "cycles_per_frame": made.clocks,
            "fps": hertz / made.clocks,
            "samples_per_s": hertz / made.clocks * FRAME_LENGTH,
            "latency_cycles": made.latency,
            "latency_us": made.latency / request.clock,
            "bottleneck": "the input",
        },
        "adders": made.adders,
        "layers": [
            {"name": layer.name, "operator": type(layer).__name__, "channels": tensor.channels,
             "positions": tensor.positions, "bits": tensor.bits}
            for layer, tensor in zip(network.layers, network.tensors[1:], strict=True)
        ],
        "score": None if cost is None else cost.score,
        "cost": None if cost is None else cost.to_dict(),
        "verification": verification,
    }  # fmt: skip


def _package(
    source: Source, request: Any, facts: dict[str, Any], network: Any, made: Any, out: Path
) -> None:
    from qonnx.core.datatype import DataType

    from build.package import Ends, packed_shape, write_package
    from build.verify import classes_of, graph_logits, network_logits

    samples, label = sample_frames()
    frames = samples["X"].transpose(0, 2, 1)
    logits = (
        graph_logits(source.model, frames)
        if source.network is None
        else network_logits(source.network, frames)
    )
    samples["predicted"] = classes_of(logits)

    def end(dma: str, link: Any, normal: list[int]) -> dict[str, Any]:
        datatype = DataType[f"{'' if link.stream.signed else 'U'}INT{link.stream.bits}"]
        folded = [1, *link.shape]
        packed = [int(size) for size in packed_shape(datatype, tuple(folded))]
        return {"dma": dma, "datatype": datatype.name, "normal": normal, "folded": folded,
                "packed": packed}  # fmt: skip

    (taken,), (given,) = made.accelerator.inputs, made.accelerator.outputs
    ends = Ends(
        end("idma0", taken, [1, network.length, 1, network.channels]),
        end("odma0", given, [1, 1]),
        {"step": network.step, "minimum": network.low, "maximum": network.high},
        1.0,
    )
    write_package(source, request, facts, out, None, samples, label, made.accelerator, ends)


def show(facts: dict[str, Any]) -> None:
    """Print the report as a table on stdout."""
    performance, checked = facts["performance"], facts["verification"]
    rows = [
        ("frames/s", f"{performance['fps']:,.0f} at {performance['clock_mhz']:g} MHz"),
        ("samples/s", f"{performance['samples_per_s'] / 1e6:,.1f} million"),
        ("clocks a frame", f"{performance['cycles_per_frame']:,} ({performance['bottleneck']})"),
        ("latency", f"{performance['latency_us']:,.1f} us"),
        ("adders", f"{facts['adders']:,}, no DSP slice"),
    ]
    if facts["score"] is not None:
        rows.append(("official score", f"{facts['score']:.6f}"))
    rows.append(
        ("verified", f"{len(checked)} phases, {checked[-1]['frames']} frames each, no mismatch")
    )
    rows.append(("resources", "aaronnet synth counts them"))
    print_table(f"{facts['network']} on {facts['board']}, sparse", ("fact", "value"), rows)
