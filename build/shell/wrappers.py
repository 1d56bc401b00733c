"""DMAs and accelerator as cells of a block design.

Vivado takes plain Verilog as a module that a block design refers to (UG994, "Referencing RTL
Modules"), and learns from attributes which ports are an interface, which clock and reset it has
(UG1118). A DMA has the interfaces of FINN's IODMA under their names.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from build.rtl.dmas import LITE, Dma

CONTROL, MEMORY = "s_axi_control", "m_axi_gmem"
RESETS = ("reset_asked", "resetting", "draining")
"""What a DMA tells the other one, and the accelerator, of its soft reset."""

_AXI = "xilinx.com:interface:aximm:1.0"
_STREAM = "xilinx.com:interface:axis:1.0"


@dataclass(frozen=True)
class Stream:
    """An AXI stream of the accelerator: name of its wires, and bytes of a word."""

    name: str
    word_bytes: int


def module_name(cell: str) -> str:
    """Return the name of the module behind a cell."""
    return f"shell_{cell}"


def _port(
    direction: str, bits: int, name: str, interface: str = "", parameters: str = ""
) -> list[str]:
    lines = []
    if interface:
        lines.append(f'(* X_INTERFACE_INFO = "{interface}" *)')
    if parameters:
        lines.append(f'(* X_INTERFACE_PARAMETER = "{parameters}" *)')
    span = f"[{bits - 1}:0] " if bits > 1 else ""
    return [*lines, f"{direction} {span}{name}"]


def _clock_and_reset(interfaces: Iterable[str]) -> list[list[str]]:
    busses = ":".join(interfaces)
    return [
        _port(
            *("input", 1, "ap_clk", "xilinx.com:signal:clock:1.0 ap_clk CLK"),
            f"ASSOCIATED_BUSIF {busses}, ASSOCIATED_RESET ap_rst_n",
        ),
        _port(
            *("input", 1, "ap_rst_n", "xilinx.com:signal:reset:1.0 ap_rst_n RST"),
            "POLARITY ACTIVE_LOW",
        ),
    ]


def _stream(name: str, word_bytes: int, master: bool) -> list[list[str]]:
    forward, back = ("output", "input") if master else ("input", "output")
    return [
        _port(direction, bits, f"{name}_{signal}", f"{_STREAM} {name} {signal.upper()}")
        for direction, bits, signal in (
            (forward, 8 * word_bytes, "tdata"),
            (forward, 1, "tvalid"),
            (back, 1, "tready"),
        )
    ]


def _module(name: str, ports: list[list[str]], body: list[str]) -> str:
    listed = ",\n".join("\n".join(f"\t{line}" for line in port) for port in ports)
    return f"module {name} (\n{listed}\n);\n" + "\n".join(body) + "\nendmodule\n"


def dma_wrapper(dma: Dma) -> str:
    """Return the Verilog of a DMA's cell: interfaces s_axi_control, m_axi_gmem and a stream.

    Its id is left out: it has only one, and an interconnect in front of the memory adds its own.
    """
    stream = "m_axis_0" if dma.reads else "s_axis_0"
    pins = {"clk": "ap_clk", "rst_n": "ap_rst_n", "interrupt": "interrupt"}
    ports = _clock_and_reset((CONTROL, MEMORY, stream))
    for position, (direction, bits, name) in enumerate(LITE):
        lite = "PROTOCOL AXI4LITE, DATA_WIDTH 32, ADDR_WIDTH 7" if not position else ""
        ports.append(
            _port(direction, bits, f"{CONTROL}_{name}", f"{_AXI} {CONTROL} {name.upper()}", lite)
        )
        pins[f"s_axi_{name}"] = f"{CONTROL}_{name}"
    outstanding = "READ" if dma.reads else "WRITE"
    full = (
        f"PROTOCOL AXI4, DATA_WIDTH {dma.data_bits}, ADDR_WIDTH {dma.address_bits}, ID_WIDTH 0, "
        f"READ_WRITE_MODE {outstanding}_ONLY, SUPPORTS_NARROW_BURST 0, "
        f"MAX_BURST_LENGTH {dma.burst}, NUM_{outstanding}_OUTSTANDING {dma.in_flight}"
    )
    for direction, bits, name in dma.memory:
        if name in ("arid", "rid", "awid", "bid"):
            value = f"{dma.id_bits}'d{dma.id}" if name in ("rid", "bid") else ""
            pins[f"m_axi_{name}"] = value
            continue
        interface = f"{_AXI} {MEMORY} {name.upper()}"
        ports.append(_port(direction, bits, f"{MEMORY}_{name}", interface, full))
        pins[f"m_axi_{name}"] = f"{MEMORY}_{name}"
        full = ""
    ports += _stream(stream, dma.word_bytes, dma.reads)
    pins |= {f"{stream[:-2]}_t{one}": f"{stream}_t{one}" for one in ("data", "valid", "ready")}
    ports.append(
        _port(
            *("output", 1, "interrupt", "xilinx.com:signal:interrupt:1.0 interrupt INTERRUPT"),
            "SENSITIVITY LEVEL_HIGH",
        )
    )
    for name in RESETS:
        ports.append(_port("output", 1, name))
        pins[name] = name
    for name in ("others_asked", "others_drain"):
        ports.append(_port("input", 1, name))
        pins[name] = name
    parameters = ", ".join(f".{key}({value})" for key, value in dma.parameters.items())
    connected = ", ".join(f".{pin}({net})" for pin, net in pins.items())
    body = [f"\t{dma.module} #({parameters}) dma (\n\t\t{connected}\n\t);"]
    return _module(module_name(dma.name), ports, body)


def accelerator_wrapper(cell: str, top: str, taken: Stream, given: Stream) -> str:
    """Return the Verilog of the accelerator's cell, which a soft reset of either DMA resets.

    Args:
        cell: its name.
        top: the accelerator's module.
        taken, given: its streams.
    """
    inner, outer = ("TDATA", "TVALID", "TREADY"), ("tdata", "tvalid", "tready")
    ports = _clock_and_reset(("s_axis_0", "m_axis_0"))
    ports += _stream("s_axis_0", taken.word_bytes, False)
    ports += _stream("m_axis_0", given.word_bytes, True)
    ports += [_port("input", 1, "source_resetting"), _port("input", 1, "sink_resetting")]
    pins = {"ap_clk": "ap_clk", "ap_rst_n": "running"}
    for stream, prefix in ((taken, "s_axis_0"), (given, "m_axis_0")):
        pins |= {
            f"{stream.name}_{one}": f"{prefix}_{other}"
            for one, other in zip(inner, outer, strict=True)
        }
    connected = ", ".join(f".{pin}({net})" for pin, net in pins.items())
    body = [
        "\treg running;",
        "\talways @(posedge ap_clk) running <= ap_rst_n & ~source_resetting & ~sink_resetting;",
        f"\t{top} accelerator (\n\t\t{connected}\n\t);",
    ]
    return _module(module_name(cell), ports, body)
