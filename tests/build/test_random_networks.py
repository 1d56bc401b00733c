"""Random networks: the classes of the graph, of every step and of the RTL are the same.

`pytest -m slow tests/build/test_random_networks.py` draws 60 and takes each to RTL.
"""

import pytest

from tests.build.random_networks import export_random
from tests.build.test_integers import to_rtl

pytestmark = pytest.mark.usefixtures("finn")

SEEDS = range(60)
QUICK = (4, 57)  # which found a pooling with gaps, and a stride folded over a dilation


@pytest.mark.parametrize("seed", QUICK)
def test_a_random_network_is_the_same_after_every_step(tmp_path, seed):
    from build.flow import build

    built = build(export_random(seed, tmp_path / "m.onnx"), "ZCU104", tmp_path / "out")
    assert {(one.mismatches, one.frames) for one in built.report.verification} == {(0, 104)}
    assert built.report.hls_nodes == ()


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_network_reaches_rtl_bit_by_bit(tmp_path, seed):
    assert to_rtl(export_random(seed, tmp_path / "m.onnx"), tmp_path / "out").mismatches == 0
