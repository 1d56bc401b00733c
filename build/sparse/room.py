"""What sparse hardware takes, and whether a board has the room."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from build.boards import Board

FREE = 0.3
"""Share of a board that an automatic choice leaves."""


@dataclass(frozen=True)
class Area:
    """What a network's sparse hardware takes, about."""

    luts: int
    brams: int

    def fits(self, board: "Board") -> bool:
        """Whether FREE of the board is left."""
        room = (int((1 - FREE) * board.resources[kind]) for kind in ("LUT", "BRAM_18K"))
        return all(used <= there for used, there in zip((self.luts, self.brams), room, strict=True))

    def of(self, board: "Board") -> str:
        """Return what it takes of a board, in words."""
        return (
            f"about {self.luts:,} of {board.name}'s {board.resources['LUT']:,} LUTs and "
            f"{self.brams:,} of its {board.resources['BRAM_18K']:,} block RAMs"
        )
