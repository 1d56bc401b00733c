"""Networks with bits by layer and weight steps by channel become hardware, both ways."""

import pytest

from tests.build.small_aaronnet import frames_for, mixed_checkpoint

pytestmark = [pytest.mark.usefixtures("finn"), pytest.mark.slow]


@pytest.mark.parametrize("narrow", [True, False])
def test_every_step_of_a_dense_build_is_verified(narrow, tmp_path):
    from build.flow import build

    # Weights of which the least has no negative: streamlining changes their sign all the same.
    made = mixed_checkpoint(narrow)
    least = made.network.expand[0].quant_weight().int().min()
    assert (least == -8) == (not narrow)
    result = build(made, "ZCU104", tmp_path / "out", to="hdl", frames=frames_for(26))
    checks = result.report.verification
    assert len(checks) > 5
    assert all(check.mismatches == 0 for check in checks)


def test_a_sparse_build_is_simulated_tensor_by_tensor(tmp_path):
    from build.finished import open_build
    from build.sparse.sparse_build import build_sparse
    from build.sparse.sparse_sim import simulate_sparse

    built = build_sparse(mixed_checkpoint(), "ZCU104", tmp_path / "out", frames=frames_for(26))
    found = simulate_sparse(open_build(built.folder), frames_for(6), per_node=True)
    assert found.mismatches == 0 and found.differences == ()
