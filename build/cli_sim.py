"""Commands on a build's RTL: `simulate` and `synth`."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from models.cli import DATA, Json, Seed

Folder = Annotated[Path, typer.Argument(help="Folder of `aaronnet build --to hdl`.")]


def simulate(
    folder: Folder,
    frames: Annotated[
        str,
        typer.Option("-n", "--frames", help="How many, over all SNRs (or what --data takes)."),
    ] = "104",
    data: Annotated[
        Path | None, typer.Option(help=f"{DATA}; without one, frames are synthesised or random.")
    ] = None,
    nodes: Annotated[
        bool, typer.Option("--nodes", help="Compare every node's stream; show where it stalls.")
    ] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="A faster, equivalent model of FINN's matrix unit.")
    ] = False,
    stall: Annotated[
        float,
        typer.Option(
            help="Chance of a pause after each cycle at both ends (with --system: on every channel "
            "of the memory), 0 to 0.9."
        ),
    ] = 0.0,
    system: Annotated[
        bool,
        typer.Option("--system", help="With DMAs, behind a memory that checks AXI's rules."),
    ] = False,
    seed: Seed = 1,
    processes: Annotated[int | None, typer.Option(help="By default one a core.")] = None,
    size_fifos: Annotated[
        Path | None,
        typer.Option(help="Search the least FIFO depths that keep the pace; write them here."),
    ] = None,
    wave: Annotated[Path | None, typer.Option(help="Write a waveform (VCD) to this file.")] = None,
    json: Json = None,
) -> None:
    """Simulate the accelerator's RTL with Verilator and compare it with the network.

    What it finds goes into FOLDER/report.json too.
    """
    from build.finished import open_build, record_simulation
    from build.simulation.against_network import check, simulate_build, size_build
    from build.simulation.simulated import Simulated
    from build.stimuli import choose_frames
    from models.console import Bar, print_table
    from models.errors import BadInput
    from models.files import check_target, write_json

    if not 0 <= stall <= 0.9:
        raise BadInput(f"--stall is a chance between 0 and 0.9, not {stall:g}")
    if processes is not None and processes < 1:
        raise BadInput("--processes must be at least 1")
    if system and (nodes or wave or size_fifos):
        raise BadInput("--system simulates from memory to memory: without --nodes, --wave, sizing")
    for path in (wave, size_fifos):
        if path is not None:
            check_target(path)
    opened = open_build(folder)
    run: Callable[..., Simulated]
    if opened.sparse:
        from build.sparse.sparse_sim import simulate_sparse

        if fast or size_fifos:
            raise BadInput(
                "--fast and --size-fifos are about FINN's modules: a sparse build has none"
            )
        run = simulate_sparse
    else:
        run = functools.partial(simulate_build, fast=fast)
    chosen = choose_frames(frames, data, opened.task)
    with Bar("simulate", len(chosen.x)) as progress:
        found = run(
            opened,
            chosen.x,
            chosen.classes,
            per_node=nodes,
            stall=stall,
            seed=seed,
            processes=processes,
            wave=wave,
            label=chosen.label,
            system=system,
            advance=progress.advance,
        )
    if size_fifos:
        with Bar("size FIFOs") as progress:
            sizing = size_build(opened, chosen.x, progress.advance)
        write_json(size_fifos, sizing["depths"])
        found = replace(found, sizing=sizing)
    record_simulation(opened, found)
    if json:
        write_json(json, found.to_dict())
    rows = [
        ("frames", f"{found.frames} ({chosen.label})"),
        ("mismatches", found.mismatches),
        ("accuracy on them", "unknown" if found.accuracy is None else f"{found.accuracy:.1%}"),
        ("cycles a frame", f"{found.cycles_per_frame}"),
        ("  estimated", found.estimated_cycles_per_frame),
        ("latency", f"{found.latency_cycles} cycles, {found.latency_us:.1f} us"),
        ("simulated", f"{found.simulated_frames_per_second:.1f} frames/s"),
    ]
    if found.fps_at_clock:
        rows.insert(5, ("frames/s", f"{found.fps_at_clock:.0f} at {found.clock_mhz:g} MHz"))
    if found.system:
        around = found.system
        rows[4:4] = [
            ("  of the accelerator alone", f"{around.own_cycles_per_frame}"),
            ("  share of its pace", "unknown" if around.share is None else f"{around.share:.2%}"),
        ]
        rows.append(("memory's port", f"{around.data_bits} bits, {around.address_bits} of address"))
        rows.append(("transfers", around.transfers))
        rows.append(("AXI rules violated", f"{len(around.violations)} of {around.rules}"))
        if around.cycles_per_frame:
            rate = around.frame_bytes / around.cycles_per_frame * found.clock_mhz
            rows.append(("memory traffic", f"{rate:.0f} MB/s"))
    if nodes:
        rows.append(("nodes compared", f"{found.nodes_compared}"))
        rows.append(("words compared", f"{found.words_compared}"))
    if size_fifos:
        rows.append(("cycles with sized FIFOs", sizing["cycles_per_frame"]))
        rows.append(("  least, endless", f"{sizing['least']}, {sizing['endless']}"))
        rows.append(("  FIFO bits", sizing["bits"]))
    print_table(f"RTL of {found.network} on {found.board}", ["", "value"], rows)
    if found.stalls:
        print_table(
            "Most blocked streams (share of cycles)",
            ["from", "to", "blocked", "starved"],
            [
                (row.producer, row.consumer, f"{row.blocked:.2f}", f"{row.starved:.2f}")
                for row in found.stalls
            ],
        )
    check(found)


def synth(
    folder: Folder,
    family: Annotated[str | None, typer.Option(help="xcup or xc7; by default the board's.")] = None,
    nodes: Annotated[bool, typer.Option("--nodes", help="One row a node.")] = False,
    kinds: Annotated[
        bool, typer.Option("--kinds", help="One row a kind of node: sums, and the longest path.")
    ] = False,
    delays: Annotated[
        bool, typer.Option("--delays", help="Longest path through logic, node by node; no clock.")
    ] = False,
    system: Annotated[bool, typer.Option("--system", help="The DMAs too; in no total.")] = False,
    flat: Annotated[
        bool,
        typer.Option("--flat", help="A sparse build as one design; takes many times as long."),
    ] = False,
    depth: Annotated[
        int | None,
        typer.Option(
            "--adders-a-stage",
            min=1,
            max=8,
            help="Of a sparse build, counted as if so many adders lay between two registers.",
        ),
    ] = None,
    processes: Annotated[int | None, typer.Option(help="By default one a core.")] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print all in one Markdown table, as docs have it.")
    ] = False,
    json: Json = None,
) -> None:
    """Count the resources of the accelerator's RTL with Yosys, beside the estimates.

    What it finds goes into FOLDER/report.json too, but for what --flat and --adders-a-stage count.
    """
    from build.finished import open_build, record
    from build.synth_tables import show, show_markdown
    from build.yosys import family_of, synthesise_build
    from models.console import Bar
    from models.errors import BadInput
    from models.files import write_json

    if processes is not None and processes < 1:
        raise BadInput("--processes must be at least 1")
    opened = open_build(folder)
    if (flat or depth) and not opened.sparse:
        raise BadInput(
            "--flat and --adders-a-stage are about sparse builds: a dense one is counted node by "
            "node"
        )
    family = family or family_of(opened.report.part)
    with Bar("synthesise") as progress:
        if opened.sparse:
            from build.sparse.emit import LEVELS
            from build.sparse.sparse_sim import synthesise_sparse

            facts = synthesise_sparse(opened, family, processes, progress, flat, depth or LEVELS)
        else:
            facts = synthesise_build(opened, family, processes, progress)
    if system:
        from build.synth_dmas import dmas_of, synthesise_dmas

        with Bar("synthesise DMAs") as progress:
            facts["dmas"] = synthesise_dmas(dmas_of(opened), family, progress)
    if depth is None and not flat:
        record(opened, "synthesis", facts)
    if json:
        write_json(json, facts)
    if markdown:
        show_markdown(facts, kinds, delays)
    else:
        show(facts, opened.sparse, nodes, kinds, delays)
