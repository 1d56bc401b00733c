"""The two ways in which a command can fail; a board knows them too, so they are defined there."""

from deploy.board.errors import BadInput as BadInput
from deploy.board.errors import CheckFailed as CheckFailed
