"""Dense accelerators from memory to memory; the published networks of both styles."""

import pytest

from build.finished import open_build
from build.rtl.dmas import memory_port
from build.simulation.against_network import check, simulate_build
from build.stimuli import choose_frames
from models.errors import CheckFailed
from tests.build.hardware import simulated
from tests.build.small_aaronnet import frames_for


def test_a_dense_accelerator_keeps_its_pace_and_breaks_no_rule_of_axi(built):
    found = simulate_build(open_build(built.folder), frames_for(12), system=True, processes=1)
    check(found)
    assert found.mismatches == 0 and found.system.violations == {}
    assert found.system.share >= 0.98
    # The first transfer is one frame: from its start to its result in memory.
    assert found.latency_cycles > found.cycles_per_frame


def test_a_broken_rule_fails_the_check_and_is_named():
    from dataclasses import replace

    from build.simulation.through_memory import System

    around = System(128, 40, (20, 80), 3, 257.0, 257.0, 10, 17, {"burst_in_4k": 3}, {
        "burst_in_4k": "idma0_m_axi ar at clock 40"
    })  # fmt: skip
    with pytest.raises(CheckFailed, match="burst_in_4k is violated 3 times, first by idma0_m_axi"):
        check(replace(simulated(), system=around))


def test_each_family_has_its_port():
    assert memory_port("xc7z020clg400-1").address_bits == 32
    assert memory_port("xc7z020clg400-1").burst == 16
    assert memory_port("xczu7ev-ffvc1156-2-e").data_bits == 128
    assert memory_port("xcu250-figd2104-2L-e").data_bits == 512


@pytest.mark.slow
@pytest.mark.parametrize(("style", "count"), [("sparse", 1000), ("dense", 208)])
def test_the_published_network_from_memory_to_memory(style, count, tmp_path):
    from build.flow import build
    from build.sparse.sparse_build import build_sparse
    from build.sparse.sparse_sim import simulate_sparse

    name = "aaronnet32++-hw8"
    if style == "sparse":
        build_sparse(name, "ZCU104", tmp_path / "out")
    else:
        build(name, "ZCU104", tmp_path / "out", to="hdl")
    opened = open_build(tmp_path / "out")
    frames = choose_frames(str(count), None, opened.task).x
    run = simulate_sparse if style == "sparse" else simulate_build
    quick = run(opened, frames[:64], system=True)
    assert quick.mismatches == 0 and quick.system.violations == {}
    assert quick.system.share >= 0.98
    slow = run(opened, frames, system=True, stall=0.3)
    assert slow.mismatches == 0 and slow.system.violations == {}
