"""FIFO depths from simulation, and FINN's own RTL simulation through our simulator."""

import pytest

from tests.build.hardware import fold, generate
from tests.build.small_network import frames, small_network


@pytest.fixture
def model(tmp_path, monkeypatch):
    import finn.util.settings

    monkeypatch.setenv("FINN_BUILD_DIR", str(tmp_path))
    monkeypatch.setattr(finn.util.settings, "_SETTINGS", None)
    return generate(small_network(label_select=False), fold=fold)


@pytest.mark.slow
def test_depths_keep_the_pace_of_endless_fifos(model):
    from build.simulation.simulate import simulate
    from build.simulation.sizing import size_fifos, with_sized_fifos
    from build.simulation.stitch import stitch

    accelerator = stitch(model)
    batch = frames(8)
    sizing = size_fifos(accelerator, batch)
    assert set(sizing.depths) == set(accelerator.fifos)
    assert sizing.cycles_endless <= sizing.cycles <= 1.01 * sizing.cycles_endless
    assert sizing.cycles <= sizing.cycles_least
    assert min(sizing.depths.values()) >= 2
    assert sizing.config()["StreamingFIFO_rtl_0"] == {"depth": sizing.depths["StreamingFIFO_rtl_0"]}
    # The stand-in at five words behaves as FINN's FIFO at its least depth.
    sized, limits = with_sized_fifos(accelerator)
    files = {f"{name}.depth": b"5\n" for name in limits}
    sized.files.update(files)
    ours, finns = simulate(sized, batch, processes=1), simulate(accelerator, batch, processes=1)
    assert ours.cycles_per_frame == finns.cycles_per_frame == sizing.cycles_least
    assert ours.latency_cycles == finns.latency_cycles
    assert ours.fifos == finns.fifos
