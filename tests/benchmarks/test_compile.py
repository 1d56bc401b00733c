"""AaronNet32's training step: `training/kernels` against `torch.compile` of the plain twin.

The same network and frames, both sides in one process and in turn, so that a busy machine slows
both; medians, and what compiling takes told apart. The kernels stay while they are worth it.
"""

import statistics
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from models.config import CONFIGS
from tests.tiny import ready
from training import kernels, twin
from training.twin import Twin

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(kernels.library() is None, reason="no g++ here"),
]
CONFIG = CONFIGS["aaronnet32"]
BATCH, ROUNDS = 256, 9
WORTH_IT = 1.3


class Step:
    """Forward, backward and optimizer on one batch; keeps the seconds of each call."""

    def __init__(self, quantized: bool, compiled: bool):
        network = ready(CONFIG).train()
        runs = Twin(network)
        runs.quantized = quantized
        self.compiled = compiled
        self.forward = torch.compile(runs) if compiled else runs
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
        self.x, self.y = torch.randn(BATCH, 2, 1024), torch.randint(0, 24, (BATCH,))
        self.seconds: list[float] = []

    def __call__(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            if self.compiled:
                patch.setattr(twin, "fits_kernels", lambda network: False)
                # Read off a tensor, which would part the graph in many.
                patch.setattr(twin, "_weight_bits", lambda layer: CONFIG.weight_bits)
            began = time.perf_counter()
            self.optimizer.zero_grad()
            F.cross_entropy(self.forward(self.x), self.y).backward()
            self.optimizer.step()
            self.seconds.append(time.perf_counter() - began)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("quantized", [True, False], ids=["quantized", "float"])
def test_the_kernels_are_worth_their_lines(quantized, threads, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing compiled before
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.compiler.reset()
    try:
        ours, theirs = Step(quantized, compiled=False), Step(quantized, compiled=True)
        for step in (ours, theirs):
            step()
            step()
        compiling = theirs.seconds[0] - theirs.seconds[1]
        for _ in range(ROUNDS):
            ours()
            theirs()
    finally:
        torch.set_num_threads(before)
    fast, slow = (statistics.median(step.seconds[2:]) for step in (ours, theirs))
    print(
        f"\n{'quantized' if quantized else 'float'}, {threads} threads, batch {BATCH}: kernels "
        f"{fast * 1e3:.0f} ms, torch.compile {slow * 1e3:.0f} ms a step ({slow / fast:.2f} times) "
        f"after compiling for {compiling:.0f} s"
    )
    assert slow > WORTH_IT * fast
