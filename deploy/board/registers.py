"""The registers that the driver writes and the virtual board plays; offsets in bytes, 32 bits each.

FINN's IODMAs are Vitis HLS blocks (`ap_ctrl_hs`): control, the buffer's address and the number of
frames. Our DMAs (build/rtl/dma/dma_control.sv) have these and more. The virtual board has one block
more, with its simulation's counters.
"""

CONTROL, ADDRESS_LOW, ADDRESS_HIGH, REPETITIONS = 0x00, 0x10, 0x14, 0x1C
START, DONE, IDLE, READY = 1, 2, 4, 8
"""Bits of CONTROL; reading clears DONE."""

VERSION, OURS = 0x40, 0x41444D
"""What our DMAs say of themselves: OURS in the upper 24 bits."""
STATUS, RESET, IGNORED, BAD, BAD_LOW, BAD_HIGH, FRAMES = 0x44, 0x48, 0x4C, 0x50, 0x54, 0x58, 0x5C
CLOCKS = 0x60
RING, BY_PROGRAM, BY_DMA, LOST = 0x70, 0x74, 0x78, 0x7C
"""Registers that FINN's IODMA has not."""
BUSY, RESETTING, SLVERR, DECERR, RANGE, MISALIGNED = 1, 2, 4, 8, 16, 32
"""Bits of STATUS."""

COUNTERS = "virtual_board"
"""Name of the block that real boards do not have."""
MAGIC_VALUE = 0x41415242
MAGIC, SOURCE, CLOCK_KHZ, LAST_FRAMES = 0x00, 0x04, 0x08, 0x0C
LAST_CYCLES_LOW, LAST_CYCLES_HIGH, LAST_LATENCY, LAST_INTERVAL = 0x10, 0x14, 0x18, 0x1C
"""Of the last transfer, in clock cycles; the interval between frames in 1/256."""
ALL_FRAMES_LOW, ALL_FRAMES_HIGH = 0x20, 0x24
SOURCES = {"simulated": 1, "estimated": 2}
"""Where the cycles come from -> value of SOURCE."""

WIZARD = "clk_wiz_0"
"""The block that makes the accelerator's clock."""
