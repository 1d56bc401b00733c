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
@pytest.mark.parametrize(
    ("style", "board", "count"),
    [
        *(("sparse", "ZCU104", 1000), ("dense", "ZCU104", 1000)),
        *(("sparse", "Pynq-Z2", 104), ("dense", "Pynq-Z2", 104)),
    ],
)
def test_the_published_network_from_memory_to_memory(style, board, count, tmp_path, capsys):
    from build.flow import build
    from build.sparse.sparse_build import build_sparse
    from build.sparse.sparse_sim import simulate_sparse

    name = "aaronnet32++-hw8"
    if style == "sparse":
        build_sparse(name, board, tmp_path / "out")
    else:
        build(name, board, tmp_path / "out", to="hdl")
    opened = open_build(tmp_path / "out")
    frames = choose_frames(str(count), None, opened.task).x
    run = simulate_sparse if style == "sparse" else simulate_build
    # A memory that keeps up, then one that pauses on every channel.
    for stall, part in ((0.0, frames[:64]), (0.3, frames)):
        found = run(opened, part, system=True, stall=stall)
        around, megahertz = found.system, found.clock_mhz
        pace = around.frame_bytes * megahertz / around.cycles_per_frame
        with capsys.disabled():
            print(
                f"\n{style} on {board} at {megahertz:g} MHz, stall {stall}: {found.frames} frames, "
                f"{found.mismatches} mismatches, {sum(around.violations.values())} violations of "
                f"{around.rules} rules; {around.cycles_per_frame} clocks a frame, alone "
                f"{around.own_cycles_per_frame} ({100 * around.share:.2f} % of its rate), "
                f"{around.frame_bytes} bytes a frame, {pace:.0f} MB/s of the port's "
                f"{around.data_bits * megahertz / 8:.0f}"
            )
        assert found.mismatches == 0 and around.violations == {}
        assert stall or around.share >= 0.98
