"""The two ways in which a command can fail without being broken.

`aaronnet.py` and the board's commands turn them into one line on stderr and an exit code;
everything else that is raised is a bug and keeps its traceback.
"""


class BadInput(Exception):
    """The user gave something unusable: exit code 2. Say what is wrong and what to do."""


class CheckFailed(Exception):
    """A check came out negative (a board disagrees, an accuracy is missed): exit code 1."""


class BusError(CheckFailed):
    """A DMA of ours ended a transfer because of what was at its addresses.

    Attributes:
        dma: "input" or "output".
        response: "SLVERR", "DECERR", "range" or "misaligned".
        address: of the first bad response, or of the buffer.
    """

    def __init__(self, dma: str, response: str, address: int):
        why = {
            "SLVERR": "the memory refused it (SLVERR)",
            "DECERR": "no memory answers there (DECERR)",
            "range": "the transfer leaves the DMA's address space",
            "misaligned": "the buffer does not begin at a multiple of the memory's width",
        }
        super().__init__(
            f"the {dma} DMA ended the transfer at address 0x{address:X}: {why[response]}"
        )
        self.dma, self.response, self.address = dma, response, address
