"""Tables of `aaronnet synth`."""

import pytest

from build.synth_tables import by_kind, show, show_markdown
from build.yosys import KINDS


def row(name, kind, luts, ps=None, levels=None, untimed=None):
    resources = {**dict.fromkeys(KINDS, 0), "LUT": luts}
    return {"name": name, "op_type": kind, "resources": resources, "estimate": {},
            "delay_ps": ps, "levels": levels, "untimed": untimed}  # fmt: skip


ROWS = [
    row("fifo_0", "FIFO", 10, 300, 2),
    row("mvau_0", "MVAU", 70, None, None, "a loop of logic through 4 cells"),
    row("fifo_1", "FIFO", 5, 400, 1),
    row("mvau_1", "MVAU", 30, 900, 7),
    row("odd_0", "Odd", 1, None, None, "Yosys has no delays of CARRY8"),
]


def test_kinds_are_summed_and_the_longest_path_is_theirs():
    fifo, mvau, odd = by_kind(ROWS)
    assert (fifo["name"], fifo["number"], fifo["resources"]["LUT"]) == ("FIFO", 2, 15)
    assert (fifo["delay_ps"], fifo["levels"], fifo["untimed"]) == (400, 1, None)
    assert (mvau["delay_ps"], mvau["levels"], mvau["resources"]["LUT"]) == (900, 7, 100)
    assert mvau["untimed"] == "1 of them: a loop of logic through 4 cells"
    assert (odd["delay_ps"], odd["untimed"]) == (None, "Yosys has no delays of CARRY8")
    assert sum(kind["number"] for kind in (fifo, mvau, odd)) == len(ROWS)


@pytest.mark.parametrize("kinds", [False, True])
def test_what_is_not_timed_is_said_in_its_row(kinds, capsys):
    facts = {"network": "n", "board": "b", "nodes": ROWS, "total": dict.fromkeys(KINDS, 0),
             "ratio": {}, "estimate": {}}  # fmt: skip
    show_markdown(facts, kinds, delays=True)
    lines = capsys.readouterr().out.splitlines()
    (odd,) = [line for line in lines if line.startswith(("| odd_0", "| Odd"))]
    assert odd.endswith("| not timed: Yosys has no delays of CARRY8 |  |")
    (loops,) = [line for line in lines if "a loop of logic" in line]
    assert loops.startswith("| MVAU" if kinds else "| mvau_0")
    show(facts, sparse=True, nodes=False, kinds=kinds, delays=True)
    shown = " ".join(capsys.readouterr().out.split())
    assert "not timed" in shown and ("1 of them: a loop of logic" in shown) is kinds
