"""The two ways in which a command can fail without being broken.

`aaronnet.py` and the board's commands turn them into one line on stderr and an exit code;
everything else that is raised is a bug and keeps its traceback.
"""


class BadInput(Exception):
    """The user gave something unusable: exit code 2. Say what is wrong and what to do."""


class CheckFailed(Exception):
    """A check came out negative (a board disagrees, an accuracy is missed): exit code 1."""
