"""How fast a sparse accelerator is simulated beside the dense one of the same network."""

import pytest

from build.stimuli import choose_frames
from models import zoo

NETWORK = "aaronnet32++-hw8"
FRAMES = {"sparse": 520, "dense": 16}


@pytest.mark.benchmark
def test_simulation_of_both_styles(tmp_path):
    from build.environment import setup

    setup(tmp_path / "finn")
    from build.finished import open_build
    from build.flow import build
    from build.simulation.against_network import simulate_build
    from build.sparse.sparse_build import build_sparse
    from build.sparse.sparse_sim import simulate_sparse

    path = str(zoo.find(NETWORK))
    build(path, "ZCU104", tmp_path / "dense", to="hdl")
    build_sparse(path, "ZCU104", tmp_path / "sparse")
    rates = {}
    for name, style, run, options in (
        ("sparse", "sparse", simulate_sparse, {}),
        ("dense", "dense", simulate_build, {}),
        ("dense, --fast", "dense", simulate_build, {"fast": True}),
    ):
        opened = open_build(tmp_path / style)
        frames = choose_frames(str(FRAMES[style]), None, opened.task).x
        run(opened, frames[:2], **options)  # the simulator is built
        found = run(opened, frames, **options)
        assert found.mismatches == 0
        rates[name] = found.simulated_frames_per_second
    told = ", ".join(f"{name} {rate:.1f} frames/s" for name, rate in rates.items())
    print(f"\n{NETWORK}: {told}; sparse is {rates['sparse'] / rates['dense']:.0f} x dense, "
          f"{rates['sparse'] / rates['dense, --fast']:.0f} x dense with --fast")  # fmt: skip
    assert rates["sparse"] > 2 * rates["dense, --fast"]
