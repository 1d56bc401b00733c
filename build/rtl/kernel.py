"""What a kernel must provide, and the stream words it reads and writes.

A kernel is one SystemVerilog module with an AXI stream in and one out, plus a frozen dataclass of
its parameters that derives from `Kernel`: module parameters, cycles, resources, a numpy reference
over stream words, and the image of its memory where it has one. `wrapper` turns it into the
Verilog module that FINN's stitching and ours instantiate. To add a kernel (a sparse or a
multiplier-free one, say): write both, list the class in tests/build/test_rtl.py's `KERNELS`, and
give it a FINN custom op in `build/rtl/ops.py`.
"""

import dataclasses
from abc import ABC, abstractmethod
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
    def parameters(self) -> dict[str, int | str]:
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

    def cycles(self) -> int:
        """Clock cycles a frame when neither side stalls: one word a clock on the busier side."""
        return max(self.words)

    @property
    def source(self) -> Path:
        """The kernel's SystemVerilog file."""
        return SOURCES / f"{self.module}.sv"


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
    source, sink = kernel.input, kernel.output
    values = [f".{key}({_literal(value)})" for key, value in kernel.parameters().items()]
    header = ""
    if kernel.memory is not None:
        header = f' #(\n\tparameter INIT_FILE = "{init_file}"\n)'
        values.append(".INIT_FILE(INIT_FILE)")
    parameters = ",\n\t\t".join(values)
    padding = ""
    if sink.width > sink.used_bits:
        zeros = sink.width - sink.used_bits
        padding = f"\n\tassign out0_V_TDATA[{sink.width - 1}:{sink.used_bits}] = {zeros}'d0;"
    return f"""module {name}{header} (
	(* X_INTERFACE_PARAMETER = "ASSOCIATED_BUSIF in0_V:out0_V, ASSOCIATED_RESET ap_rst_n" *)
	(* X_INTERFACE_INFO = "xilinx.com:signal:clock:1.0 ap_clk CLK" *)
	input   ap_clk,
	(* X_INTERFACE_PARAMETER = "POLARITY ACTIVE_LOW" *)
	input   ap_rst_n,

	input   [{source.width - 1}:0] in0_V_TDATA,
	input   in0_V_TVALID,
	output  in0_V_TREADY,

	output  [{sink.width - 1}:0] out0_V_TDATA,
	output  out0_V_TVALID,
	input   out0_V_TREADY
);
	{kernel.module} #(
		{parameters}
	) kernel (
		.clk(ap_clk), .rst_n(ap_rst_n),
		.idat(in0_V_TDATA[{source.used_bits - 1}:0]), .ivld(in0_V_TVALID), .irdy(in0_V_TREADY),
		.odat(out0_V_TDATA[{sink.used_bits - 1}:0]), .ovld(out0_V_TVALID), .ordy(out0_V_TREADY)
	);{padding}
endmodule
"""


def _literal(value: int | str) -> str:
    return f'"{value}"' if isinstance(value, str) else str(int(value))
