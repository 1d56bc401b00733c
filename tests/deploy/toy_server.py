"""A virtual board with the toy accelerator in a process of its own, to be stopped or killed.

python -m tests.deploy.toy_server PACKAGE ADDRESS [SECONDS a transfer]
"""

import sys
import time

import numpy as np

from deploy.board.package import read_package
from deploy.virtual_board.accelerator import Run
from deploy.virtual_board.board import Board
from deploy.virtual_board.played_dmas import PlayedDmas
from deploy.virtual_board.server import serve
from tests.deploy.packages import ToyAccelerator


class SlowAccelerator(ToyAccelerator):
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0

    def run(self, frames: np.ndarray) -> Run:
        print("transfer", flush=True)
        time.sleep(self.seconds)
        return super().run(frames)


if __name__ == "__main__":
    package = read_package(sys.argv[1])
    with serve(Board(package, PlayedDmas(package, SlowAccelerator(package))), sys.argv[2]):
        print("ready", flush=True)
        time.sleep(600)
