"""Measure what docs/results.md shows, and write it: `make results`.

The zoo's table comes from its cards, the accelerators' from builds and simulations run here (in
out/results, minutes on 2 cores) and kept in docs/results.json. A build whose checkpoint has not
changed since is not repeated. `make results PUBLISHED=FOLDER DATA=FILE` measures the published
checkpoints in FOLDER on the test split of FILE, too.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer

from models import published, zoo
from models.files import atomic, sha256, write_json
from training import pictures
from training.fidelity import DIGESTS

HERE = Path(__file__).resolve().parent
PAGE, FACTS = HERE / "results.md", HERE / "results.json"
FRONTIER, AREA = HERE / "frontier.png", HERE / "area.png"
WORK = HERE.parent / "out" / "results"

NETWORKS = ("aaronnet32++-hw8", "aaronnet48+-hw8")
BOARDS = ("Pynq-Z2", "ZCU104")
FRAMES = 208  # eight at each SNR
SPARSE = ("-hw8", "-mixed")  # what is built sparse, for ZCU104


def run(*arguments: str) -> None:
    """Run an aaronnet command."""
    subprocess.run([str(Path(sys.executable).with_name("aaronnet")), *arguments], check=True)


def accelerator(entry: zoo.Entry, board: str) -> dict[str, Any]:
    """Build and simulate a zoo network for a board; return what the page shows of it."""
    folder = WORK / f"{entry.name}-{board}"
    how = ("--board", board, "--folding", "tuned", "--to", "hdl")
    run("build", entry.name, *how, "-o", str(folder))
    run("simulate", str(folder), "--frames", str(FRAMES))
    report = json.loads((folder / "report.json").read_text())
    kept = ("frames", "mismatches", "cycles_per_frame", "latency_us", "fps_at_clock", "data_label")
    return {
        "network": entry.name,
        "sha256": entry.card["sha256"],
        "board": board,
        "clock_mhz": report["performance"]["clock_mhz"],
        "estimated_cycles": report["performance"]["cycles_per_frame"],
        "resources": report["resources"],
        "score": report["score"],
        "steps_verified": len(report["verification"]),
        "hls_nodes": len(report["hls_nodes"]),
        "simulation": {key: report["simulation"][key] for key in kept},
    }


def sparse(entry: zoo.Entry) -> dict[str, Any]:
    """Build a zoo network sparse for ZCU104, simulate and synthesise it; return what is shown."""
    folder = WORK / f"{entry.name}-sparse"
    run("build", entry.name, "--board", "ZCU104", "--style", "sparse", "-o", str(folder))
    run("simulate", str(folder), "--frames", str(FRAMES))
    run("synth", str(folder))
    return sparse_facts(entry, folder)


def sparse_facts(entry: zoo.Entry, folder: Path) -> dict[str, Any]:
    """Return what the page shows of a simulated and synthesised sparse build."""
    report = json.loads((folder / "report.json").read_text())
    kept = ("frames", "mismatches", "cycles_per_frame", "latency_cycles", "fps_at_clock")
    return {
        "network": entry.name,
        "sha256": entry.card["sha256"],
        "adders": report["adders"],
        "mapped": report["synthesis"]["total"],
        "simulation": {key: report["simulation"][key] for key in kept},
    }


def measure_published(folder: Path, data: Path) -> dict[str, Any]:
    """Test the published checkpoints in `folder` on the test split of `data`."""
    facts = {}
    for path in sorted(folder.glob("*.pth")):
        if name := DIGESTS.get(sha256(path)):
            out = WORK / "published.json"
            run("test", str(path), "--data", str(data), "--json", str(out))
            tested = json.loads(out.read_text())
            facts[name] = {key: tested[key] for key in ("accuracy", "frames", "data")}
    return facts


def frontier(entries: list[zoo.Entry], facts: dict[str, Any]) -> pictures.Frontier:
    """Return accuracy over score, (name, score, accuracy) by data; the page has the same."""
    theirs = {row.network: row for row in (*published.RESULTS, *published.OTHERS)}
    real = {name: (name, row.score, row.accuracy) for name, row in theirs.items()}
    real |= {row.name: (row.name, row.score, row.accuracy) for row in published.FIELD}
    return {
        f"ours, on synthetic frames: {same(entries, 'tested_on')}": [
            (entry.name, entry.card["score"], entry.card["accuracy"]) for entry in entries
        ],
        "published checkpoints on the same synthetic frames": [
            (name, theirs[name].score, measured["accuracy"])
            for name, measured in sorted(facts["published"].items())
            if name in theirs
        ],
        "published, on real RadioML 2018.01A": list(real.values()),
    }


def frontier_table(groups: pictures.Frontier) -> list[str]:
    """Return the rows of the frontier: for each data what no cheaper network equals."""
    rows = [
        (name, f"{score:.4f}", percent(accuracy), data.partition(":")[0])
        for data, points in groups.items()
        for name, score, accuracy in pictures.best_of(points)
    ]
    return table("network | score | accuracy | of", rows)


def luts(entries: list[zoo.Entry], facts: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Return (name, LUTs, accuracy) of the sparse builds."""
    accuracy = {entry.name: entry.card["accuracy"] for entry in entries}
    return [
        (one["network"], one["mapped"]["LUT"], accuracy[one["network"]]) for one in facts["sparse"]
    ]


def sparse_table(entries: list[zoo.Entry], facts: dict[str, Any]) -> list[str]:
    """Return the rows of the sparse builds."""
    rows = [
        (
            one["network"],
            percent(accuracy),
            f"{one['simulation']['cycles_per_frame']:,.1f}",
            f"{one['simulation']['fps_at_clock']:,.0f}",
            f"{one['simulation']['latency_cycles']:,}",
            f"{one['adders']:,}",
            *(f"{one['mapped'][kind]:,}" for kind in ("LUT", "FF", "DSP", "BRAM_18K")),
            f"{one['simulation']['mismatches']} of {one['simulation']['frames']}",
        )
        for one, (_, _, accuracy) in zip(facts["sparse"], luts(entries, facts), strict=True)
    ]
    return table(
        "network | accuracy | clocks a frame | frames/s at 250 MHz | latency in clocks | adders | "
        "LUT | FF | DSP | BRAM18 | mismatches",
        rows,
    )


def render(entries: list[zoo.Entry], facts: dict[str, Any]) -> str:
    """Return the page."""
    theirs = {row.network.lower(): row for row in published.RESULTS}
    rows = []
    for entry in entries:
        card, other = entry.card, theirs.get(entry.name)
        measured = facts["published"].get(other.network) if other else None
        rows.append(
            (
                entry.name,
                percent(card["accuracy"]),
                f"{card['score']:.4f}",
                f"{card['nonzero_weights']:,}",
                f"{card['frames'] / 1e6:.1f} M",
                percent(measured["accuracy"]) if measured else "",
                percent(other.accuracy) if other else "",
                f"{other.score:.4f}" if other else "",
            )
        )
    lines = [
        "# Results",
        "",
        "`make results` measures and writes this page.",
        "",
        "## The zoo",
        "",
        f"Trained and tested on **synthetic** frames: {same(entries, 'tested_on')}, all SNRs. "
        "Beside them what the authors published for their networks (on the real RadioML 2018.01A, "
        "so the accuracies are of different data), and, where we had their checkpoint, what it "
        "reaches on our synthetic test frames. Scores do not depend on data.",
        "",
        *table(
            "network | accuracy | score | nonzero weights | frames trained on | "
            "published checkpoint, same frames | published, real data | published score",
            rows,
        ),
        "",
        "The cards `models/zoo/NAME.json` have accuracy over SNR, the learning curve, the "
        "commands, and the command that trains on.",
        "",
        "## The frontier",
        "",
        "![Accuracy over official cost, ours and published](frontier.png)",
        "",
        "Accuracies of different data do not compare; scores do. For each data, the networks that "
        "nothing cheaper equals:",
        "",
        *frontier_table(frontier(entries, facts)),
        "",
        "## Accelerators",
        "",
        "From `aaronnet build NETWORK --board BOARD --folding tuned --to hdl`, every step verified "
        f"on 104 frames, and `aaronnet simulate` of the RTL on {FRAMES} **synthetic** frames. "
        "Clocks a frame, rate and latency are simulated, resources are FINN's estimates; none of "
        "it comes from a real board.",
        "",
        *table(
            "network | board | MHz | clocks a frame | estimated | frames/s | latency | LUT | DSP | "
            "BRAM18 | score | mismatches",
            [
                (
                    one["network"],
                    one["board"],
                    f"{one['clock_mhz']:g}",
                    f"{one['simulation']['cycles_per_frame']:,.0f}",
                    f"{one['estimated_cycles']:,}",
                    f"{one['simulation']['fps_at_clock']:,.0f}",
                    f"{one['simulation']['latency_us']:.1f} us",
                    *(used(one["resources"][kind]) for kind in ("LUT", "DSP", "BRAM_18K")),
                    f"{one['score']:.6f}",
                    f"{one['simulation']['mismatches']} of {one['simulation']['frames']}",
                )
                for one in facts["accelerators"]
            ],
        ),
        "",
        "## Sparse accelerators",
        "",
        "From `aaronnet build NETWORK --board ZCU104 --style sparse`, `aaronnet simulate` of the "
        "RTL on **synthetic** frames and `aaronnet synth`: LUT, FF, DSP and BRAM18 are mapped by "
        "Yosys, module by module, without placement; accuracies are those of the zoo.",
        "",
        "![Accuracy over the LUTs of the sparse build](area.png)",
        "",
        *sparse_table(entries, facts),
    ]
    return "\n".join(lines) + "\n"


def percent(share: float) -> str:
    """Return a share as the tables show it."""
    return f"{100 * share:.1f} %"


def used(resource: dict[str, float]) -> str:
    """Return a resource's count and its share of the board."""
    return f"{resource['used']:,} ({resource['percent']:.0f} %)"


def same(entries: list[zoo.Entry], key: str) -> str:
    """Return what all cards say under `key`; what they say in turn if they differ."""
    return " / ".join(dict.fromkeys(entry.card[key] for entry in entries))


def table(heading: str, rows: list[tuple[str, ...]]) -> list[str]:
    """Return a Markdown table; the first column reads left, the others right."""
    columns = heading.split(" | ")
    ruler = ["---", *["--:"] * (len(columns) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (columns, ruler, *rows)]


def main(published: Path | None = None, data: Path | None = None) -> None:
    """Measure what has changed, and write the page and its facts."""
    if (published is None) != (data is None):
        sys.exit("make results: PUBLISHED=FOLDER and DATA=FILE go together")
    facts: dict[str, Any] = {"published": {}, "accelerators": [], "sparse": []}
    if FACTS.exists():
        facts |= json.loads(FACTS.read_text())
    WORK.mkdir(parents=True, exist_ok=True)
    if published and data:
        facts["published"] = measure_published(published, data)
    entries = zoo.entries()
    known = {(one["network"], one["board"]): one for one in facts["accelerators"]}
    for entry in entries:
        for board in BOARDS if entry.name in NETWORKS else ():
            there = known.get((entry.name, board))
            if there is None or there["sha256"] != entry.card["sha256"]:
                known[entry.name, board] = accelerator(entry, board)
                facts["accelerators"] = list(known.values())
                write_json(FACTS, facts)
    built = {one["network"]: one for one in facts["sparse"]}
    for entry in entries:
        if not entry.name.endswith(SPARSE):
            continue
        if built.get(entry.name, {}).get("sha256") != entry.card["sha256"]:
            built[entry.name] = sparse(entry)
            facts["sparse"] = list(built.values())
            write_json(FACTS, facts)
    write_json(FACTS, facts)
    with atomic(PAGE) as temporary:
        temporary.write_text(render(entries, facts))
    with atomic(FRONTIER) as temporary:
        temporary.write_bytes(pictures.frontier(frontier(entries, facts)))
    with atomic(AREA) as temporary:
        data = same(entries, "tested_on")
        temporary.write_bytes(pictures.accuracy_over_luts(luts(entries, facts), data))


if __name__ == "__main__":
    typer.run(main)
