import json

import pytest

from models.errors import BadInput

pytestmark = pytest.mark.usefixtures("finn")

NEEDED = {
    "Pynq-Z1", "Pynq-Z2", "Ultra96-V2", "KV260_SOM", "ZCU102", "ZCU104", "ZCU111", "RFSoC2x2",
    "RFSoC4x2", "U250",
}  # fmt: skip


def test_boards_have_resources_and_shells():
    from build.boards import boards

    found = boards()
    assert found.keys() >= NEEDED
    for board in found.values():
        assert all(board.resources[kind] > 100 for kind in ("LUT", "FF", "DSP", "BRAM_18K"))
        assert board.resources["FF"] == pytest.approx(2 * board.resources["LUT"], rel=0.01)
        assert board.dsp_block.startswith("DSP") and 50 <= board.clock <= 300
    assert found["ZCU104"].resources["DSP"] == 1728
    assert found["Pynq-Z2"].resources == {
        "LUT": 53200, "FF": 106400, "DSP": 220, "BRAM_18K": 280, "URAM": 0,
    }  # fmt: skip
    assert found["U250"].shell == "alveo" and found["Pynq-Z2"].shell == "zynq"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("zcu104", "ZCU104"),
        ("KV260", "KV260_SOM"),
        ("pynq_z2", "Pynq-Z2"),
        ("RFSOC4X2", "RFSoC4x2"),
    ],
)
def test_names_are_found_in_any_spelling(given, name):
    from build.boards import find_board

    assert find_board(given).name == name


def test_unknown_boards_list_the_known():
    from build.boards import find_board

    with pytest.raises(BadInput, match="unknown board 'DE10'; choose one of .*ZCU104"):
        find_board("DE10")


def test_command_lists_them(tmp_path):
    import typer
    from typer.testing import CliRunner

    import build.cli

    app = typer.Typer()
    app.command()(build.cli.boards)
    done = CliRunner().invoke(app, ["--json", str(tmp_path / "boards.json")])
    assert done.exit_code == 0 and "ZCU104" in done.output and "…" not in done.output
    assert json.loads((tmp_path / "boards.json").read_text())["ZCU104"]["resources"]["LUT"] > 2e5
