"""Our DMAs (build/rtl/dma/): from memory to an accelerator's stream and back, without HLS.

A DMA has the registers of FINN's IODMA, which counts whole frames; see dma/dma_control.sv for them
and for those that it has more, which `deploy.board.registers` names.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.errors import BadInput

FOLDER = Path(__file__).parent / "dma"
PAGE = 4096  # bytes that no burst leaves
LITE = (
    *(("input", 7, "awaddr"), ("input", 1, "awvalid"), ("output", 1, "awready")),
    *(("input", 32, "wdata"), ("input", 4, "wstrb"), ("input", 1, "wvalid")),
    *(("output", 1, "wready"), ("output", 2, "bresp"), ("output", 1, "bvalid")),
    *(("input", 1, "bready"), ("input", 7, "araddr"), ("input", 1, "arvalid")),
    *(("output", 1, "arready"), ("output", 32, "rdata"), ("output", 2, "rresp")),
    *(("output", 1, "rvalid"), ("input", 1, "rready")),
)
"""Direction, bits and name of an AXI4-Lite slave's signals."""


@dataclass(frozen=True)
class Dma:
    """One DMA.

    Attributes:
        name: of the instance, as the driver knows it.
        reads: memory, to feed a stream; or else it writes what a stream brings.
        word_bytes: of the stream.
        frame_words: words of a frame.
        data_bits: of the memory's data, 32 to 512.
        address_bits: of the memory's addresses, 32 to 64.
        burst: most beats a burst, up to 256.
        in_flight: most bursts that wait for an answer.
        fifo_beats: a power of two.
        id: of all its transactions.
        id_bits: of ids.
    """

    name: str
    reads: bool
    word_bytes: int
    frame_words: int
    data_bits: int = 64
    address_bits: int = 40
    burst: int = 32
    in_flight: int = 8
    fifo_beats: int = 512
    id: int = 0
    id_bits: int = 1

    def __post_init__(self) -> None:
        """Refuse what the RTL is not made for.

        Raises:
            BadInput: a parameter is out of range.
        """
        for what, value, low, high in (
            ("data bits", self.data_bits, 32, 512),
            ("address bits", self.address_bits, 32, 64),
            ("beats a burst", self.burst, 1, 256),
            ("bursts in flight", self.in_flight, 1, 256),
            ("bytes a word", self.word_bytes, 1, 8191),
            ("words a frame", self.frame_words, 1, 1 << 24),
            ("beats of room", self.fifo_beats, self.burst, 1 << 16),
            ("id", self.id, 0, (1 << self.id_bits) - 1),
        ):
            if not low <= value <= high:
                raise BadInput(f"{self.name}: {what} lie between {low} and {high}, not {value}")
        for what, value in (("data bits", self.data_bits), ("beats of room", self.fifo_beats)):
            if value & (value - 1):
                raise BadInput(f"{self.name}: {what} are a power of two, not {value}")

    @property
    def module(self) -> str:
        """Name of the module."""
        return "dma_read" if self.reads else "dma_write"

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame in memory."""
        return self.word_bytes * self.frame_words

    @property
    def slot_bytes(self) -> int:
        """Bytes of a ring's slot: a frame in whole beats."""
        beat = self.data_bits // 8
        return -(-self.frame_bytes // beat) * beat

    @property
    def parameters(self) -> dict[str, int]:
        """The module's."""
        return {
            "ADDRESS_BITS": self.address_bits,
            "DATA_BITS": self.data_bits,
            "WORD_BYTES": self.word_bytes,
            "FRAME_WORDS": self.frame_words,
            "BURST": self.burst,
            "IN_FLIGHT": self.in_flight,
            "FIFO_BEATS": self.fifo_beats,
            "ID_BITS": self.id_bits,
            "ID": self.id,
        }

    @property
    def memory(self) -> tuple[tuple[str, int, str], ...]:
        """Direction, bits and name of the signals of its AXI4 master."""
        ids, addresses, data = self.id_bits, self.address_bits, self.data_bits
        address = tuple(
            ("output", bits, f"a{'r' if self.reads else 'w'}{name}")
            for name, bits in (
                *(("id", ids), ("addr", addresses), ("len", 8), ("size", 3), ("burst", 2)),
                *(("cache", 4), ("prot", 3), ("valid", 1)),
            )
        )
        if self.reads:
            return (
                *address,
                *(("input", 1, "arready"), ("input", ids, "rid"), ("input", data, "rdata")),
                *(("input", 2, "rresp"), ("input", 1, "rlast"), ("input", 1, "rvalid")),
                ("output", 1, "rready"),
            )
        return (
            *address,
            *(("input", 1, "awready"), ("output", data, "wdata"), ("output", data // 8, "wstrb")),
            *(("output", 1, "wlast"), ("output", 1, "wvalid"), ("input", 1, "wready")),
            *(("input", ids, "bid"), ("input", 2, "bresp"), ("input", 1, "bvalid")),
            ("output", 1, "bready"),
        )

    @property
    def buses(self) -> dict[str, list[str]]:
        """Its two buses' names in a top module, and the signals of each."""
        return {
            f"{self.name}_s_axi": [name for _, _, name in LITE],
            f"{self.name}_m_axi": [name for _, _, name in self.memory],
        }

    def ports(self) -> Iterator[str]:
        """Yield the declarations of a top module's ports for its buses and its interrupt."""
        for prefix, signals in (("s_axi", LITE), ("m_axi", self.memory)):
            for direction, bits, name in signals:
                span = "" if bits == 1 and name not in ("arid", "awid", "rid", "bid") else (
                    f"[{bits - 1}:0] "
                )  # fmt: skip
                yield f"{direction} {span}{self.name}_{prefix}_{name}"
        yield f"output {self.name}_interrupt"

    def instance(self, stream: str, other: str = "", suffix: str = "") -> str:
        """Return wires and an instance for a top module.

        Args:
            stream: name of the wires of its stream.
            other: name of the DMA that is reset together with it.
            suffix: of the module's name.
        """
        name, side = self.name, "m_axis" if self.reads else "s_axis"
        pins = {"clk": "ap_clk", "rst_n": "ap_rst_n", "interrupt": f"{name}_interrupt"}
        for prefix, signals in (("s_axi", LITE), ("m_axi", self.memory)):
            pins |= {f"{prefix}_{one}": f"{name}_{prefix}_{one}" for _, _, one in signals}
        pins |= {f"{side}_t{one}": f"{stream}_T{one.upper()}" for one in ("data", "valid", "ready")}
        for pin in ("reset_asked", "resetting", "draining"):
            pins[pin] = f"{name}_{pin}"
        pins["others_asked"] = f"{other}_reset_asked" if other else "1'b0"
        pins["others_drain"] = f"{other}_draining" if other else "1'b0"
        parameters = ", ".join(f".{key}({value})" for key, value in self.parameters.items())
        connections = ", ".join(f".{pin}({net})" for pin, net in pins.items())
        return f"\t{self.module}{suffix} #({parameters}) {name} (\n\t\t{connections}\n\t);"


def sources() -> dict[str, str]:
    """Return the DMAs' sources, file name -> text, in the order of compilation."""
    inner = ["dma_bursts.sv", "dma_fifo.sv", "dma_width.sv", "dma_control.sv"]
    texts = {"width_converter.sv": (FOLDER.parent / "width_converter.sv").read_text()}
    return texts | {
        name: (FOLDER / name).read_text() for name in [*inner, "dma_read.sv", "dma_write.sv"]
    }


@dataclass(frozen=True)
class MemoryPort:
    """The port of a board's memory that the DMAs are at.

    Attributes:
        data_bits, address_bits: its widths.
        burst: most beats that it takes at once.
    """

    data_bits: int
    address_bits: int
    burst: int


def memory_port(part: str) -> MemoryPort:
    """Return the widest memory port that a device's fabric has.

    Zynq-7000: S_AXI_HP, AXI3, whose bursts have 16 beats (UG585, 5.3). UltraScale+: S_AXI_HP_FPD
    (UG1085, chapter 35). Data centre cards: 512 bits, as Vitis has it.
    """
    if part.startswith("xc7z"):
        return MemoryPort(64, 32, 16)
    if part.startswith(("xczu", "xck26")):
        return MemoryPort(128, 40, 64)
    return MemoryPort(512, 64, 64)


def dma_pair(taken: tuple[int, int], given: tuple[int, int], port: MemoryPort) -> tuple[Dma, Dma]:
    """Return the DMAs of an accelerator with one input and one output.

    Args:
        taken: bytes a word and words a frame of its input.
        given: those of its output.
        port: of the board's memory.
    """
    widths = port.data_bits, port.address_bits
    # Results are few: short bursts, and no more room than two of them.
    return (
        Dma("idma0", True, *taken, *widths, port.burst, 512 // port.burst, 512),
        Dma("odma0", False, *given, *widths, 16, 4, 32),
    )
