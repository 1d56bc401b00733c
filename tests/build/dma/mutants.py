"""Engines with one fault each, and the rule that has to notice it."""

import re
from dataclasses import dataclass

from build.rtl.dmas import sources


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        file: of the DMAs.
        old, new: the change.
        rule: that is violated.
        port: whose signals violate it.
    """

    file: str
    old: str
    new: str
    rule: str
    port: str

    def texts(self, suffix: str) -> dict[str, str]:
        """Return the sources with the change, all modules renamed."""
        texts = sources()
        assert texts[self.file].count(self.old) == 1, (self.file, self.old)
        texts[self.file] = texts[self.file].replace(self.old, self.new)
        del texts["width_converter.sv"]
        return {
            name.replace(".sv", f"{suffix}.sv"): re.sub(r"\b(dma_[a-z]+)\b", rf"\1{suffix}", text)
            for name, text in texts.items()
        }


READ, WRITE, CONTROL, BURSTS = (f"dma_{name}.sv" for name in ("read", "write", "control", "bursts"))
MUTANTS = (
    Mutant(
        READ,
        "m_axi_arvalid <= issue || (m_axi_arvalid && !m_axi_arready);",
        "m_axi_arvalid <= issue;",
        *("valid_held", "m_axi ar"),
    ),
    Mutant(READ, "if(issue) begin", "begin", "payload_stable", "m_axi ar"),
    Mutant(
        WRITE,
        "m_axi_wvalid = sending &&",
        "m_axi_wvalid = !m_axi_bvalid && sending &&",
        "valid_held",
        "m_axi w",
    ),
    Mutant(
        READ,
        "\t\tif(!rst_n) begin\n\t\t\tm_axi_arvalid <= 0;",
        "\t\tif(!rst_n) begin",
        *("valid_in_reset", "m_axi ar"),
    ),
    Mutant(BURSTS, "room < WIDTH'(BURST)? room :", "", "burst_in_4k", "m_axi a"),
    Mutant(READ, "arburst = 2'b01", "arburst = 2'b11", "burst_type", "m_axi ar"),
    Mutant(READ, "3'($clog2(BYTES))", "3'($clog2(BYTES) + 1)", "burst_size", "m_axi ar"),
    Mutant(READ, "arcache = 4'b0011", "arcache = 4'b0100", "cache", "m_axi ar"),
    Mutant(
        WRITE, "wlast  = sending_left == 0", "wlast  = sending_left <= 1", "wlast_early", "m_axi w"
    ),
    Mutant(
        WRITE,
        "next_length <= m_axi_awlen;",
        "next_length <= m_axi_awlen + 1;",
        "wlast_missing",
        "m_axi w",
    ),
    Mutant(WRITE, "3'($clog2(BYTES))", "3'($clog2(BYTES) - 1)", "strobes", "m_axi w"),
    Mutant(CONTROL, "s_axi_bvalid <= write ||", "s_axi_bvalid <= at_held ||", "b_early", "s_axi b"),
    Mutant(CONTROL, "s_axi_rvalid <= read ||", "s_axi_rvalid <= 1 ||", "r_early", "s_axi r"),
    Mutant(
        READ, "m_axis_tvalid <= loads ||", "m_axis_tvalid <= loads || 0 &&", "tvalid_held", "stream"
    ),
    Mutant(READ, "if(loads) begin", "if(loads || running) begin", "tdata_stable", "stream"),
)
