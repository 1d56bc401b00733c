"""What a kernel must provide, and the stream words it reads and writes.

A kernel is one SystemVerilog module with an AXI stream in and one out (or several: `Junction`),
plus a frozen dataclass of its parameters that derives from `Kernel`: module parameters, cycles,
resources, a numpy reference over stream words, and the image of its memory where it has one.
`wrapper` turns it into the Verilog module that FINN's stitching and ours instantiate. To add a
kernel (a sparse or a multiplier-free one, say): write both, list the class in
tests/build/test_rtl.py's `KERNELS`, and give it a FINN custom op in `build/rtl/ops.py`, listed in
`build/rtl/registry.py`.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

SOURCES = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Stream:
    """The words of an AXI stream: `lanes` integers of `bits` bits each, lane 0 lowest."""

    lanes: int
    bits: int
    signed: bool

    @property
    def used_bits(self) -> int:
        """Bits of a word that carry data."""
        return self.lanes * self.bits

    @property
    def width(self) -> int:
        """TDATA's width in bits: AXI pads a word to whole bytes."""
        return -(-self.used_bits // 8) * 8

    def pack(self, words: np.ndarray) -> np.ndarray:
        """Turn integers of shape (n, lanes) into little-endian bytes of shape (n, width / 8)."""
        words = np.asarray(words, dtype=np.int64)
        assert words.ndim == 2 and words.shape[1] == self.lanes, (words.shape, self)
        shifts = np.arange(self.bits, dtype=np.int64)
        bits = ((words[:, :, None] >> shifts) & 1).astype(np.uint8)
        bits = bits.reshape(len(words), self.used_bits)
        bits = np.pad(bits, ((0, 0), (0, self.width - self.used_bits)))
        return np.packbits(bits, axis=1, bitorder="little")

    def unpack(self, data: np.ndarray) -> np.ndarray:
        """Turn bytes of shape (n, width / 8) into int64 of shape (n, lanes)."""
        bits = np.unpackbits(np.asarray(data, dtype=np.uint8), axis=1, bitorder="little")
        bits = bits[:, : self.used_bits].reshape(len(data), self.lanes, self.bits)
        weights = np.left_shift(np.int64(1), np.arange(self.bits, dtype=np.int64))
        if self.signed:
            weights[-1] = -weights[-1]
        return bits.astype(np.int64) @ weights

    def range(self) -> tuple[int, int]:
        """Smallest and largest value of a lane."""
        if self.signed:
            return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        return 0, (1 << self.bits) - 1


@dataclasses.dataclass(frozen=True)
class Resources:
    """Estimated use of an FPGA, in the units of FINN's reports."""

    lut: int = 0
    dsp: int = 0
    bram18: int = 0


class Kernel(ABC):
    """A hardware module at fixed parameters. Derive a frozen dataclass from it."""

    module: ClassVar[str]
    """Name of the SystemVerilog module; its source is build/rtl/<module>.sv."""

    @property
    @abstractmethod
    def input(self) -> Stream:
        """Layout of the input words."""

    @property
    @abstractmethod
    def output(self) -> Stream:
        """Layout of the output words."""

    @property
    @abstractmethod
    def words(self) -> tuple[int, int]:
        """Input and output words of one frame."""

    @abstractmethod
    def parameters(self) -> Mapping[str, int | str | Sequence[int]]:
        """Parameters of the SystemVerilog module, without INIT_FILE."""

    @abstractmethod
    def reference(self, words: np.ndarray, memory: np.ndarray | None = None) -> np.ndarray:
        """Compute the output words (m, output lanes) of any whole number of frames of input words.

        `memory` holds the kernel's constants as integers (memory_depth, memory.lanes).
        """

    @abstractmethod
    def resources(self) -> Resources:
        """Estimate the resources, without the FIFOs around the kernel."""

    @property
    def memory(self) -> Stream | None:
        """Layout of a word of the constant memory; None for a kernel without constants."""
        return None

    @property
    def memory_depth(self) -> int:
        """Words of the constant memory."""
        return 0

    @property
    def inputs(self) -> tuple[Stream, ...]:
        """Layouts of the words of all input streams."""
        return (self.input,)

    @property
    def outputs(self) -> tuple[Stream, ...]:
        """Layouts of the words of all output streams."""
        return (self.output,)

    @property
    def loads(self) -> tuple[int, ...]:
        """Words a frame of each input stream."""
        return (self.words[0],)

    @property
    def yields(self) -> tuple[int, ...]:
        """Words a frame of each output stream."""
        return (self.words[1],)

    def compute(
        self, streams: Sequence[np.ndarray], memory: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """Compute the words of all output streams from those of all input streams."""
        return [self.reference(streams[0], memory)]

    def cycles(self) -> int:
        """Clock cycles a frame when no side stalls: one word a clock on the busiest."""
        return max(*self.loads, *self.yields)

    @property
    def source(self) -> Path:
        """The kernel's SystemVerilog file."""
        return SOURCES / f"{self.module}.sv"


class Junction(Kernel):
    """A kernel of several streams: derive from it and say `inputs`, `outputs`, `loads`, `yields`
    and `compute`.

    The module's `idat` and `odat` hold the words of all streams side by side, the first lowest;
    its handshakes are vectors.
    """

    @property
    def input(self) -> Stream:
        """Layout of the first stream's words."""
        return self.inputs[0]

    @property
    def output(self) -> Stream:
        """Layout of the first output stream's words."""
        return self.outputs[0]

    @property
    def words(self) -> tuple[int, int]:
        """Words a frame of the busiest input and output."""
        return max(self.loads), max(self.yields)

    def reference(self, words: np.ndarray, memory: np.ndarray | None = None) -> np.ndarray:
        """Compute the first output of a junction with one input."""
        return self.compute([words], memory)[0]


def memory_image(layout: Stream, constants: np.ndarray) -> str:
    """Write constants of shape (depth, lanes) as a $readmemh file: a hex word a line."""
    data = layout.pack(constants)[:, ::-1]
    digits = -(-layout.used_bits // 4)
    return "".join(f"{row.tobytes().hex()[-digits:]}\n" for row in data)


def read_memory_image(layout: Stream, text: str) -> np.ndarray:
    """Read a $readmemh file back into constants of shape (depth, lanes)."""
    size = layout.width // 8
    rows = [int(line, 16).to_bytes(size, "little") for line in text.split()]
    data = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), size)
    return layout.unpack(data)


def wrapper(kernel: Kernel, name: str, init_file: str = "") -> str:
    """Return the Verilog of module `name`: the kernel behind FINN's port names.

    Verilog, because Vivado's block designs refuse a SystemVerilog module as a reference;
    TDATA padded to whole bytes; INIT_FILE a parameter, so that an instance can override it.
    """
    values = [f".{key}({_literal(value)})" for key, value in kernel.parameters().items()]
    header = ""
    if kernel.memory is not None:
        header = f' #(\n\tparameter INIT_FILE = "{init_file}"\n)'
        values.append(".INIT_FILE(INIT_FILE)")
    parameters = ",\n\t\t".join(values)
    sides = {"in": kernel.inputs, "out": kernel.outputs}
    buses = ":".join(f"{side}{i}_V" for side, all in sides.items() for i in range(len(all)))
    ports = ",\n\n\t".join(
        f"{forward:7} [{stream.width - 1}:0] {side}{i}_V_TDATA,\n"
        f"\t{forward:7} {side}{i}_V_TVALID,\n"
        f"\t{backward:7} {side}{i}_V_TREADY"
        for side, forward, backward in (("in", "input", "output"), ("out", "output", "input"))
        for i, stream in enumerate(sides[side])
    )
    padding = "".join(
        f"\n\tassign out{i}_V_TDATA[{stream.width - 1}:{stream.used_bits}] = "
        f"{stream.width - stream.used_bits}'d0;"
        for i, stream in enumerate(kernel.outputs)
        if stream.width > stream.used_bits
    )

    def pins(side: str) -> str:
        streams = sides[side]
        nets = {
            "dat": [f"{side}{i}_V_TDATA[{s.used_bits - 1}:0]" for i, s in enumerate(streams)],
            "vld": [f"{side}{i}_V_TVALID" for i in range(len(streams))],
            "rdy": [f"{side}{i}_V_TREADY" for i in range(len(streams))],
        }
        return ", ".join(f".{side[0]}{pin}({_together(names)})" for pin, names in nets.items())

    return f"""module {name}{header} (
	(* X_INTERFACE_PARAMETER = "ASSOCIATED_BUSIF {buses}, ASSOCIATED_RESET ap_rst_n" *)
	(* X_INTERFACE_INFO = "xilinx.com:signal:clock:1.0 ap_clk CLK" *)
	input   ap_clk,
	(* X_INTERFACE_PARAMETER = "POLARITY ACTIVE_LOW" *)
	input   ap_rst_n,

	{ports}
);
	{kernel.module} #(
		{parameters}
	) kernel (
		.clk(ap_clk), .rst_n(ap_rst_n),
		{pins("in")},
		{pins("out")}
	);{padding}
endmodule
"""


def _together(nets: list[str]) -> str:
    """Return nets as one vector, the first lowest."""
    return nets[0] if len(nets) == 1 else f"{{{', '.join(reversed(nets))}}}"


def _literal(value: int | str | Sequence[int]) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, int | np.integer):
        return str(int(value))
    return _together([f"32'd{int(item)}" for item in value])
