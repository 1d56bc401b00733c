"""Each of AXI's rules can be broken, and is then named: by engines with faults, by a bad memory."""

import numpy as np
import pytest

from build.simulation.system import Script, play, system
from build.simulation.verilate import build
from tests.build.dma.mutants import MUTANTS
from tests.build.dma.units import UNITS, Transfer, run, unit

# As system.cpp counts them.
BREACHES = {1: "rlast", 2: "b_early", 3: "r_early", 4: "response_id", 5: "exokay"}
SLOW = "pace 1 40 400 12"


def rules_of(played):
    return {row["name"]: row for row in played.report["rules"]}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_memory_that_breaks_a_rule_is_noticed(breach):
    script = Script()
    script.add(SLOW)
    Transfer(script, UNITS[0], np.random.default_rng(0), 40, (0x1000, 0x8000))
    script.add(f"breach {breach}")
    script.add("run 1500")
    found = run(script).violations
    assert BREACHES[breach] in found, found


@pytest.mark.slow  # fifteen engines to compile
def test_an_engine_with_a_fault_is_noticed():
    units, texts = [], {}
    for index, mutant in enumerate(MUTANTS):
        texts |= mutant.texts(f"_{index}")
        plain = unit(f"m{index}", 8, 4, 64, 40, burst=8, fifo_beats=16)
        units.append(type(plain)(plain.source, plain.sink, suffix=f"_{index}"))
    from build.rtl.dmas import sources

    texts["width_converter.sv"] = sources()["width_converter.sv"]
    executable = build(system(units, texts))
    seen = set()
    for index, mutant in enumerate(MUTANTS):
        script = Script()
        script.add(SLOW)
        script.add("room 0 0x100000")
        script.load(0x1FD8, np.random.default_rng(0).bytes(600 * 32))  # equal words never change
        for dma, address in ((units[index].sink, 0x8FD8), (units[index].source, 0x1FD8)):
            script.start(dma, address, 600)
        script.add("run 3000")
        script.add("reset")
        # A register without a reset comes up wrong by chance.
        rows = [rules_of(play(executable, script, seed=seed))[mutant.rule] for seed in range(8)]
        places = [row["first"] for row in rows if row["violations"]]
        assert any(f"m{index}_" in one and mutant.port in one for one in places), (mutant, rows)
        seen.add(mutant.rule)
    # Together with those that only a memory can break, no rule is left.
    assert seen | set(BREACHES.values()) == set(rules_of(play(executable, Script())))
