"""The board notebook, run as it is against a virtual board."""

from pathlib import Path

from deploy.virtual_board.board import Board
from deploy.virtual_board.overlay import write_overlay
from deploy.virtual_board.played_dmas import PlayedDmas
from deploy.virtual_board.server import serve
from tests.deploy.packages import ToyAccelerator, make_package, needs_board_env, run_client

ADDRESS = "127.0.0.22"
RUN = """
import os, sys
import nbformat
from nbclient import NotebookClient
os.environ["AARONNET_PACKAGE"] = sys.argv[1]
notebook = nbformat.read("notebooks/on_board.ipynb", as_version=4)
NotebookClient(notebook, timeout=120, resources={"metadata": {"path": "notebooks"}}).execute()
for cell in notebook.cells:
    for output in cell.get("outputs", []):
        print(output.get("text", ""), *output.get("data", {}))
"""


@needs_board_env
def test_the_notebook_runs_against_a_virtual_board(tmp_path: Path) -> None:
    package = make_package(tmp_path / "package")
    write_overlay(package)
    with serve(Board(package, PlayedDmas(package, ToyAccelerator(package))), ADDRESS):
        done = run_client(ADDRESS, "-c", RUN, package.folder, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "624 frames, all as the network says" in done.stdout
    assert done.stdout.count("image/png") == 3
    assert "243,191 frames/s (estimated)" in done.stdout
