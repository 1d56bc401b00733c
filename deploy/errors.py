"""How a command on the board can fail without being broken.

The board has no `models/`; these say the same as `models.errors` does on the host.
"""


class BadInput(Exception):
    """A package, data file, board or option is unusable: exit code 2."""


class CheckFailed(Exception):
    """The device disagrees with the network, or gave no answer: exit code 1."""
