"""DMAs of two ids at one port of a memory that answers ids out of order and mixes their data."""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from build.simulation.system import Script, Unit, play, system
from build.simulation.verilate import Design, build
from models.errors import CheckFailed
from tests.build.dma.units import Transfer, unit

SHARE = (Path(__file__).parent / "axi_share.sv").read_text()
PORT = "port_m_axi"
SLOW = "pace 1 80 300 12"


def pair() -> tuple[Unit, Unit]:
    """Two units, alike but for their ids."""
    units = [unit(name, 8, 16, 64, 40) for name in ("first", "second")]
    return (
        units[0],
        replace(units[1], source=replace(units[1].source, id=1), sink=replace(units[1].sink, id=1)),
    )


IDS = ("arid", "rid", "awid", "bid")
ROUTED = {
    *("araddr", "arlen", "arvalid", "arready", "rvalid", "rready"),
    *("awaddr", "awlen", "awvalid", "awready", "wdata", "wstrb", "wlast", "wvalid", "wready"),
    *("bvalid", "bready"),
}
"""Signals that are another for each DMA."""


def shared(units: tuple[Unit, Unit], share: str = SHARE) -> Design:
    """Return a design of two units whose four DMAs are at one memory port."""
    design = system(units)
    head, body = design.sources[f"{design.top}.sv"].split("\n);\n", 1)
    ports, wires = [], []
    pins = {"clk": "ap_clk", "rst_n": "ap_rst_n"}
    for dmas in ([one.source for one in units], [one.sink for one in units]):
        for direction, bits, name in dmas[0].memory:
            span = f"[{bits - 1}:0] " if bits > 1 or name in IDS else ""
            ports.append(f"{direction} {span}{PORT}_{name}")
            nets = [f"{dma.name}_m_axi_{name}" for dma in dmas]
            for net in nets:  # no port any more
                head, count = re.subn(rf"\n\t\w+ (\[\d+:0\] )?{net}(,|$)", "", head)
                assert count == 1, net
                wires.append(f"wire {span}{net};")
            if name in ROUTED:
                pins[name] = f"{{{nets[1]}, {nets[0]}}}"
            if name in ROUTED or name in IDS:
                pins[f"port_{name}"] = f"{PORT}_{name}"
            elif direction == "output":  # alike of both
                wires.append(f"assign {PORT}_{name} = {nets[0]};")
            else:
                wires += [f"assign {net} = {PORT}_{name};" for net in nets]
            if name in ("rid", "bid"):
                wires += [f"assign {net} = {number};" for number, net in enumerate(nets)]
    first = units[0].source
    connected = ", ".join(f".{pin}({net})" for pin, net in pins.items())
    wires.append(
        f"axi_share #(.ADDRESS_BITS({first.address_bits}), .DATA_BITS({first.data_bits})) share "
        f"({connected});"
    )
    head = ",\n\t".join([head.rstrip().rstrip(","), *ports])
    text = f"{head}\n);\n\t" + "\n\t".join(wires) + "\n" + body
    buses = {name: fields for name, fields in design.buses.items() if name.endswith("_s_axi")}
    whole = [port.split(f"{PORT}_")[1] for port in ports]
    return replace(
        design,
        sources={**design.sources, "axi_share.sv": share, f"{design.top}.sv": text},
        buses={**buses, PORT: whole},
    )


@cache
def simulator(share: str = SHARE) -> Path:
    return build(shared(pair(), share))


def both(script: Script) -> list[Transfer]:
    """Start a transfer of either unit at once."""
    random, transfers = np.random.default_rng(3), []
    for index, one in enumerate(pair()):
        at = (0x1000_0FC0 + (index << 24), 0x2000_0F80 + (index << 24))
        transfers.append(Transfer(script, one, random, 40 + 7 * index, at))
    for transfer in transfers:
        transfer.end(script)
    return transfers


@pytest.mark.parametrize("pace", ["pace 20 20 0 1", SLOW])
def test_answers_in_any_order_of_ids_reach_their_dma(pace):
    script = Script()
    script.add(pace)
    transfers = []
    for _ in range(4):
        script.add("empty")
        transfers += both(script)
    played = play(simulator(), script, seed=2)
    for transfer in transfers:
        transfer.check(played)
    assert played.violations == {}
    # It did happen: data of two bursts mixed, and a response before an older one's.
    assert played.report["interleaved"] > 100
    assert played.report["overtaken"] > 3 or pace != SLOW


@pytest.mark.slow  # one more simulator
def test_an_interconnect_that_gives_data_to_the_wrong_dma_is_noticed():
    wrong = SHARE.replace("2'(port_rvalid) << port_rid", "2'(port_rvalid) << !port_rid").replace(
        "rready[port_rid]", "rready[!port_rid]"
    )
    assert wrong != SHARE
    script = Script()
    script.add(SLOW)
    transfers = both(script)
    played = play(simulator(wrong), script)
    for transfer in transfers:
        with pytest.raises((AssertionError, CheckFailed)):
            transfer.check(played)
