"""The DMAs' RTL back to back, behind a memory that is slow, fast, odd and broken."""

import subprocess
from collections import Counter

import numpy as np
import pytest

from build.rtl.dmas import FOLDER, Dma, sources
from build.simulation.system import Script
from deploy.board.registers import CLOCKS, CONTROL, DONE, IDLE, READY, START
from models.errors import BadInput
from tests.build.dma.campaign import CASES, addresses, some
from tests.build.dma.units import UNITS, Transfer, run

FAULTS = 224
QUICK, SLOW = "pace 20 20 0 1", "pace 1 80 300 12"


def test_transfers_of_all_widths_are_right_and_break_no_rule():
    random, script, transfers = np.random.default_rng(1), Script(), []
    for pace in (QUICK, SLOW):
        script.add(pace)
        for unit in UNITS * 3:
            script.add("empty")
            transfer = Transfer(script, unit, random, some(random, unit), addresses(unit, random))
            transfer.end(script)
            transfers.append(transfer)
    played = run(script)
    for transfer in transfers:
        transfer.check(played)
    assert played.violations == {} and len(played.report["rules"]) >= 15


def test_every_fault_ends_as_documented_and_the_next_transfer_is_right():
    random, script, checks = np.random.default_rng(7), Script(), []
    kinds = list(CASES)
    for index in range(FAULTS):
        case, unit = kinds[index % len(kinds)], UNITS[index // len(kinds) % len(UNITS)]
        script.add((QUICK, SLOW)[random.integers(2)])
        script.add("empty")
        check = CASES[case](script, unit, random)
        script.add("empty")
        after = Transfer(script, unit, random, some(random, unit), addresses(unit, random))
        after.end(script)
        checks.append((case, unit.source.name, check, after))
    played = run(script, seed=3)
    assert "stuck" not in played.answers
    failed = Counter()
    for case, name, check, after in checks:
        try:
            check(played)
            after.check(played)
        except AssertionError as error:
            failed[case, name] += 1
            print(case, name, error)
    assert not failed
    assert played.violations == {}


def test_done_is_cleared_by_reading_and_ready_with_it():
    script, unit = Script(), UNITS[0]
    before = script.read("sparse_i", CONTROL)
    transfer = Transfer(script, unit, np.random.default_rng(0), 3, (0x1000, 0x8000))
    busy = script.read("sparse_o", CONTROL)
    script.add("run 2000")
    reads = [script.read("sparse_o", CONTROL) for _ in range(2)]
    transfer.end(script)
    played = run(script)
    assert played.number(before) == IDLE and played.number(busy) == START
    assert [played.number(read) for read in reads] == [DONE | IDLE | READY, IDLE]


def test_the_interrupt_is_that_of_a_vitis_hls_block():
    script, unit = Script(), UNITS[0]
    for offset in (0x04, 0x08):
        script.write("sparse_o", offset, 1)
    transfer = Transfer(script, unit, np.random.default_rng(0), 3, (0x1000, 0x8000))
    transfer.end(script)
    rises = script.read("sparse_o", 0x0C)
    script.write("sparse_o", 0x0C, 1)  # toggles
    falls = script.read("sparse_o", 0x0C)
    other = script.read("sparse_i", 0x0C)
    played = run(script)
    transfer.check(played)
    assert [played.number(read) for read in (rises, falls, other)] == [1, 0, 0]


def test_it_keeps_up_with_memory():
    """A beat a clock, but for the first latency and the bursts' ends at 4 KiB."""
    script, unit = Script(), UNITS[2]
    script.add("pace 40 40 0 1")
    transfer = Transfer(script, unit, np.random.default_rng(0), 400, (0x10000, 0x80000))
    transfer.end(script)
    clocks = [script.read("wide_i", CLOCKS)]
    played = run(script)
    transfer.check(played)
    words = 400 * 100  # 4 bytes each: one a clock is the stream's own limit
    assert words <= played.number(clocks[0]) < words + 200


def test_parameters_out_of_range_are_refused():
    for options in (
        *({"data_bits": 16}, {"data_bits": 96}, {"address_bits": 20}, {"burst": 257}),
        *({"fifo_beats": 100}, {"burst": 64, "fifo_beats": 32}, {"id": 2}, {"in_flight": 0}),
    ):
        with pytest.raises(BadInput, match="a: "):
            Dma("a", True, 4, 16, **options)


@pytest.mark.parametrize("module", ["dma_read", "dma_write"])
def test_verilator_has_nothing_to_say(module, tmp_path):
    from build.simulation.verilate import _verilator

    binary, environment = _verilator()
    for name, text in sources().items():
        (tmp_path / name).write_text(text)
    # Outputs that nobody needs are left open; a port is called interrupt as in Vitis HLS; the
    # width converter is older and its style is its own.
    waived = ["PINCONNECTEMPTY", "SYMRSVDWORD", "GENUNNAMED", "PROCASSINIT"]
    for options in (["-GDATA_BITS=32", "-GADDRESS_BITS=64"], ["-GDATA_BITS=512", "-GWORD_BYTES=6"]):
        command = [binary, "--lint-only", "-Wall", *(f"-Wno-{one}" for one in waived), *options]
        command += ["--top-module", module, *(str(tmp_path / name) for name in sources())]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert {path.name for path in FOLDER.glob("*.sv")} < sources().keys()
