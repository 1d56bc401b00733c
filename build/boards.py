"""The boards that FINN+ knows, with what their devices hold."""

from dataclasses import dataclass

from finn.util.basic import alveo_part_map, get_dsp_block, part_map, pynq_part_map
from finn.util.platforms import platforms

from models.errors import BadInput

RESOURCES = ("LUT", "FF", "DSP", "BRAM_18K", "URAM")

_PARTS: dict[str, tuple[int, int, int, int, int]] = {
    # LUT, FF, DSP, BRAM_18K, URAM of devices that finn.util.platforms lacks or rounds
    # (AMD DS890, "UltraScale Architecture and Product Data Sheet: Overview"; DS889 for RFSoC,
    # DS987 for Kria K26, DS950 for Versal).
    "xczu28dr": (425280, 850560, 4272, 2160, 80),
    "xczu48dr": (425280, 850560, 4272, 2160, 80),
    "xck26": (117120, 234240, 1248, 288, 64),
    "xczu3eg": (70560, 141120, 360, 432, 0),
    "xczu7ev": (230400, 460800, 1728, 624, 96),
    "xcve2802": (520704, 1041408, 1312, 1200, 264),
    "xcvc1902": (899840, 1799680, 1968, 1934, 463),
    "xcv80": (2574208, 5148416, 10848, 7482, 1925),
}

_CLOCKS = {"xc7z": 100.0}
"""Clock in MHz that a design of this size meets with FINN on the family; 250 elsewhere."""

ALIASES = {"kv260": "KV260_SOM", "ultra96v2": "Ultra96-V2", "pynqz1": "Pynq-Z1"}


@dataclass(frozen=True)
class Board:
    """A board FINN+ builds for.

    Attributes:
        name: FINN's name of it.
        part: the device.
        clock: default clock in MHz.
        resources: LUT, FF, DSP, BRAM_18K, URAM of the device.
        shell: what FINN+ puts around an accelerator there: "zynq" (PYNQ), "alveo" or "" (nothing).
            Bitfiles are ours: `build.shell.systems` lists the boards.
    """

    name: str
    part: str
    clock: float
    resources: dict[str, int]
    shell: str

    @property
    def dsp_block(self) -> str:
        """The kind of multiplier: DSP48E1, DSP48E2 or DSP58."""
        return get_dsp_block(self.part)


def _resources(name: str, part: str) -> dict[str, int]:
    for prefix, amounts in _PARTS.items():
        if part.startswith(prefix):
            return dict(zip(RESOURCES, amounts, strict=True))
    totals = [sum(column) for column in zip(*platforms[name]().compute_resources, strict=True)]
    lut, ff, bram, uram, dsp = totals
    return dict(zip(RESOURCES, (lut, ff, dsp, bram, uram), strict=True))


def _board(name: str) -> Board:
    part = part_map[name]
    shell = "zynq" if name in pynq_part_map else "alveo" if name in alveo_part_map else ""
    clock = next((mhz for prefix, mhz in _CLOCKS.items() if part.startswith(prefix)), 250.0)
    return Board(name, part, clock, _resources(name, part), shell)


def boards() -> dict[str, Board]:
    """Return all boards by name, as FINN+ lists them."""
    return {name: _board(name) for name in part_map}


def find_board(name: str) -> Board:
    """Return the board of this name; case, hyphens and underscores do not matter.

    Raises:
        BadInput: FINN+ knows no such board; the message lists all.
    """

    def plain(text: str) -> str:
        return text.lower().replace("-", "").replace("_", "")

    if plain(name) in ALIASES:
        return _board(ALIASES[plain(name)])
    for known in part_map:
        if plain(known) == plain(name):
            return _board(known)
    raise BadInput(f"unknown board {name!r}; choose one of {', '.join(part_map)}")
