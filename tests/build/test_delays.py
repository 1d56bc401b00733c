"""The longest path of a mapped netlist."""

import pytest

from build.delays import Untimed, arcs, longest_path


def cell(kind, **connections):
    outputs = {"O", "Q", "Q31", "CO", "O5", "O6", "P", "DOB", "DOA", "DPO", "SPO", "DOADO"}
    return {
        "type": kind,
        "connections": {
            port: nets if isinstance(nets, list) else [nets] for port, nets in connections.items()
        },
        "port_directions": {p: "output" if p in outputs else "input" for p in connections},
    }


def path_of(*cells):
    named = {str(index): each for index, each in enumerate(cells)}
    found = longest_path({"cells": named, "ports": {"out": {"bits": [50, 51]}}})
    return found["delay_ps"], found["levels"]


def arc(*ends):
    (delay,) = {delay for *found, delay in arcs()["CARRY4"][0] if tuple(found) == ends}
    return delay


def test_delays_are_those_of_yosys():
    through, clocked = arcs()["LUT2"]
    assert through == [("I0", None, "O", None, 238), ("I1", None, "O", None, 127)]
    assert clocked == {}
    assert ("S", 0, "CO", 3, 508) in arcs()["CARRY4"][0]
    # Sums, comments with numbers in them, several conditions.
    assert arcs()["SRLC32E"][1] == {"Q": 1472, "Q31": 1114}
    assert ("DPRA", 0, "DPO", None, 642 + 223 + 174) in arcs()["RAM128X1D"][0]


def test_a_path_is_the_sum_of_its_arcs_between_registers():
    first = cell("FDRE", C=1, D=2, Q=3)
    logic = cell("LUT2", I0=3, I1=4, O=5)
    chain = cell("CARRY4", CI="0", CYINIT="0", S=[5, 6, "0", "0"], DI=[7, 8, "0", "0"],
                 O=[10, 11, 12, 13], CO=[14, 15, 16, 17])  # fmt: skip
    last = cell("FDRE", C=1, D=11, Q=20)
    assert path_of(first, logic, chain, last) == (238 + 400, 2)
    assert path_of(last, chain, logic, first) == (238 + 400, 2)
    assert path_of(first, last) == (0, 0)
    assert path_of() == (0, 0)


@pytest.mark.parametrize(
    ("source", "start", "levels"),
    [
        (cell("DSP48E2", A=[1, 2], P=[3, 9]), 0, 0),
        (cell("RAMB18E2", ADDRARDADDR=[1, 2], DOADO=[3, 9]), 0, 0),
        (cell("FDSE", D=1, Q=3), 0, 0),
        (cell("SRL16E", D=1, A0="1", Q=3), 1472, 1),
        (cell("SRL16E", D=1, A0=30, Q=3), 1472, 1),
        (cell("RAM64M8", ADDRA=[30], DOA=[3], ADDRH=[31]), 1163, 1),
    ],
)
def test_where_paths_begin(source, start, levels):
    assert path_of(source, cell("LUT1", I0=3, O=50)) == (start + 127, levels + 1)
    inverted = cell("INV", I=3, O=50)
    assert path_of(inverted, source) == (start + 127, levels + 1)


def test_a_memory_is_read_through_its_own_address():
    late = [cell("LUT6", I0=40, O=41), cell("LUT6", I0=41, O=42), cell("LUT6", I0=42, O=43)]
    deep = 3 * 642
    for address, port, memory in (
        ("ADDRB", "DOB", "RAM64M8"),
        ("DPRA", "DPO", "RAM256X1D"),
        ("A", "O", "RAM512X1S"),
        ("A3", "O", "RAM64X1S"),
    ):
        assert path_of(*late, cell(memory, **{address: [43], port: [50]}))[0] == deep + 642
    for written in ("ADDRH", "DIB", "WE", "WCLK"):
        memory = cell("RAM64M8", **{written: [43], "DOB": [50]})
        assert path_of(*late, memory) == (deep, 3)


def test_a_lut_of_two_outputs_is_as_slow_as_its_halves():
    late = cell("LUT6", I0=40, O=41)
    assert path_of(late, cell("LUT6_2", I0=41, O5=50, O6=51)) == (642 + 642, 2)
    assert path_of(late, cell("LUT6_2", I4=41, O5=50)) == (642 + 127, 2)
    # The sixth input is none of the lower half's.
    assert path_of(late, cell("LUT6_2", I5=41, O5=50)) == (642, 1)


def test_what_cannot_be_timed_says_why():
    loop = cell("LUT2", I0=3, I1=9, O=4), cell("INV", I=4, O=3)
    with pytest.raises(Untimed, match="a loop of logic through 2 cells"):
        path_of(*loop)
    with pytest.raises(Untimed, match="Yosys has no delays of CARRY8"):
        path_of(cell("CARRY8", CI=1, O=[3]))
    # Bits of a chain are no loop, though its cell leads to itself.
    low_to_high = cell("CARRY4", S=[1, 2, 3, 4], O=[5, 6, 50, 8]), cell("INV", I=5, O=3)
    assert path_of(*low_to_high) == (223 + 127 + 226, 3)


def test_what_nobody_reads_ends_no_path():
    chain = cell("CARRY4", S=[3, "0", "0", "0"], O=[50, 61, 62, 63], CO=[64, 65, 66, 67])
    assert path_of(chain) == (223, 1)
    assert path_of(chain, cell("FDRE", CE=67)) == (arc("S", 0, "CO", 3), 1)
