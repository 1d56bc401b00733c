"""Pruning removes what it says, keeps zeros through export, and runs can be interrupted."""

from dataclasses import replace

import lightning
import numpy as np
import pytest
import torch

from models import checkpoint as checkpoints
from models.checkpoint import Checkpoint
from models.config import NetConfig
from models.cost import inference_cost
from models.errors import BadInput
from models.export import to_qonnx
from tests.tiny import TINY, ready, weights_cost
from training.data import SyntheticData
from training.module import Recipe, prunable
from training.plans import Feedback, FixedSteps, Row, Towards, repeated
from training.prune import fraction_for_score, lamp, pruned
from training.prune_run import Retraining, prune
from training.structured import narrowed, parameters
from training.twin import Twin

WIDE = NetConfig("wide", "aaronnet", (12, 8, 6, 8, 10, 8), 8, 6, 6, 6)
VGG = NetConfig("tiny-vgg", "vgg10", (8,) * 7, 8, 8, 8, 8)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def cheap_cost(monkeypatch):
    """Count weights instead of exporting each checkpoint, where only the run matters."""
    monkeypatch.setattr("training.prune_run.inference_cost", weights_cost)
    monkeypatch.setattr("training.prune.inference_cost", weights_cost)
    monkeypatch.setattr("training.plans.inference_cost", weights_cost)


def fresh(config: NetConfig) -> Checkpoint:
    network = ready(config)
    for layer in network.modules():  # statistics and gains as after training, not all alike
        if isinstance(layer, torch.nn.BatchNorm1d):
            layer.running_mean.uniform_(-0.1, 0.1)
            layer.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.uniform_(layer.bias, 0.1, 0.3)
    return Checkpoint(network.eval(), config, {"data_label": "synthetic test", "accuracy": 0.1})


def tiny_data() -> SyntheticData:
    return SyntheticData(32, frames_per_epoch=128, test_frames=64, workers=0, seed=3)


def weights_of(checkpoint: Checkpoint) -> torch.Tensor:
    return torch.cat([w.detach().flatten() for _, w in prunable(checkpoint.network)])


def test_l1_takes_the_smallest_of_all_layers_together():
    start = fresh(WIDE)
    before = weights_of(start)
    once = pruned(start, 0.3)
    after = weights_of(once)
    count = round(0.3 * len(before))
    assert int((after == 0).sum()) == count
    assert before[after == 0].abs().max() <= before[after != 0].abs().min()
    assert torch.equal(after[after != 0], before[after != 0])
    assert torch.equal(weights_of(start), before)  # the original is left alone
    twice = weights_of(pruned(once, 0.5))
    assert int((twice == 0).sum()) == count + round(0.5 * (len(before) - count))
    assert ((after == 0) <= (twice == 0)).all()
    with pytest.raises(BadInput):
        pruned(start, 1.0)


def test_zeros_are_exact_in_the_exported_graph_and_the_cost_counts_them():
    start = fresh(WIDE)
    cut = pruned(start, 0.6)
    zeros = {name: int((w == 0).sum()) for name, w in prunable(cut.network)}
    model = to_qonnx(cut)
    found = {i.name: model.get_initializer(i.name) for i in model.graph.initializer}
    for name, weight in prunable(cut.network):
        same = [
            array
            for array in found.values()
            if array.shape == tuple(weight.shape)
            and np.array_equal(array == 0, (weight == 0).numpy())
        ]
        assert same, f"{name} with its {zeros[name]} zeros is not in the graph"
    counted = inference_cost(model).nonzero_weights
    assert counted <= int((weights_of(cut) != 0).sum()) < 0.45 * len(weights_of(cut))


def test_fraction_for_score_meets_it_and_prunes_no_more_than_needed():
    start = fresh(WIDE)
    target = 0.006
    fraction = fraction_for_score(start, target)
    score = inference_cost(pruned(start, fraction)).score
    # Weights that are left but round to zero make it cheaper still.
    assert 0.9 * target < score <= target
    with pytest.raises(BadInput, match="not above"):
        fraction_for_score(start, 10.0)


def test_lamp_keeps_a_layer_that_its_scale_would_empty():
    start = fresh(WIDE)
    names = [name for name, _ in prunable(start.network)]
    small = names.index("feats.1.block.0.weight")
    with torch.no_grad():
        dict(prunable(start.network))[names[small]].mul_(1e-3)
    left = {
        method: [int((w != 0).sum()) for _, w in prunable(pruned(start, 0.7, method).network)]
        for method in ("l1", "lamp")
    }
    assert sum(left["l1"]) == sum(left["lamp"])
    assert left["l1"][small] == 0 < left["lamp"][small]
    assert min(left["lamp"]) > 0


def test_lamp_is_the_papers_score():
    start = fresh(WIDE)
    weight = next(iter(prunable(start.network)))[1].detach().flatten()
    expected = [float(w**2 / (weight[weight.abs() >= w.abs()] ** 2).sum()) for w in weight]
    np.testing.assert_allclose(lamp(start.network)[0].numpy(), expected, rtol=1e-5)


def test_target_score_in_steps(tmp_path, cheap_cost):
    start = fresh(WIDE)
    count = int((weights_of(start) != 0).sum())
    plan = Towards(count / 4, 2, "lamp")
    table = prune(
        *(start, tiny_data(), tmp_path, plan, Retraining(1, 1, 0.001, 0.0)),
        method="lamp",
        progress=False,
    )
    assert [row.score for row in table.rows] == [count // 2, count // 4]
    assert table.chosen_on == "64 frames drawn for validation"
    assert checkpoints.load(tmp_path / "best.pth").info["chosen_on"] == table.chosen_on
    early = replace(table.rows[0], score=count // 4 - 1)
    assert plan.next([early], lambda _: start) is None
    with pytest.raises(BadInput, match="lamp"):
        Towards(100, 2, "channels")


def norms_and_consumers(config: NetConfig) -> list[tuple[str, str]]:
    """Each prunable layer's batch norm and the layer that mixes its channels next."""
    if config.family == "vgg10":
        convolutions = [(str(4 * i + 2), str(4 * i + 5)) for i in range(6)]
        return [*convolutions, ("26", "30"), ("31", "33"), ("34", "36")]
    branches = [(f"expand.branch{b}.1", f"expand.branch{b}.3") for b in (1, 2, 3)]
    branches += [(f"expand.branch{b}.4", "feats.0.block.3") for b in (1, 2, 3)]
    blocks = [(f"feats.{i}.block.4", f"feats.{i + 1}.block.3") for i in range(4)]
    dense = [("feats.4.block.4", "classifier.0"), ("classifier.1", "classifier.3")]
    return [*branches, *blocks, *dense, ("classifier.4", "classifier.6")]


@pytest.mark.parametrize("config", [WIDE, VGG], ids=lambda c: c.name)
def test_removing_channels_that_carry_nothing_changes_nothing(config):
    start = fresh(config)
    state = start.network.state_dict()
    left = {k: len(v) for k, v in narrowed(start, 0.3).network.state_dict().items() if v.ndim}
    rng = np.random.default_rng(0)
    for norm, consumer in norms_and_consumers(config):
        width = len(state[f"{norm}.weight"])
        columns = state[f"{consumer}.weight"]
        offset = width * (int(norm[13]) - 1) if norm.startswith("expand") and ".4" in norm else 0
        positions = columns.shape[1] // width if consumer == "30" else 1
        for channel in rng.choice(width, width - left[f"{norm}.weight"], replace=False):
            state[f"{norm}.weight"][channel] = 0
            first = offset + channel * positions
            columns[:, first : first + positions] = 0
    start.network.load_state_dict(state)
    smaller = narrowed(start, 0.3)
    x = torch.randn(8, 2, 1024)
    scores = []
    for network in (start.network, smaller.network):
        twin = Twin(network)
        twin.quantized = False  # weight ranges may have lain in what was removed
        with torch.inference_mode():
            scores.append(twin(x))
    torch.testing.assert_close(scores[1], scores[0], rtol=1e-4, atol=1e-4)
    assert parameters(smaller.network) < 0.75 * parameters(start.network)
    assert len(smaller.config.filters) == len(config.filters)
    assert all(s < f for s, f in zip(smaller.config.filters, config.filters, strict=True))
    assert smaller.config.family == "vgg10" or smaller.config.filters[0] % 3 == 0


@pytest.mark.parametrize(
    ("layer", "norm"),
    [("feats.1.block.3", "feats.1.block.4"), ("expand.branch2.0", "expand.branch2.1")],
)
def test_dead_channels_go_first(layer, norm):
    start = fresh(WIDE)
    state = start.network.state_dict()
    dead = 1
    for key, tensor in state.items():
        if key.startswith((f"{layer}.", f"{norm}.")) and tensor.ndim:
            tensor[dead] = 0  # the variance, too, as training leaves it
    kept = narrowed(start, 0.3).network.state_dict()
    assert len(kept[f"{norm}.weight"]) < len(state[f"{norm}.weight"])
    assert (kept[f"{norm}.running_var"] > 0).all()


def test_narrowed_networks_save_load_and_train(tmp_path, cheap_cost):
    start = fresh(WIDE)
    smaller = narrowed(start, 0.3)
    checkpoints.save(tmp_path / "s.pth", smaller.network, smaller.config, {})
    loaded = checkpoints.load(tmp_path / "s.pth")
    assert loaded.config == smaller.config
    facts = prune(
        *(start, tiny_data(), tmp_path / "run", FixedSteps((0.3,))),
        Retraining(rounds=1, t0=1),
        method="channels",
        progress=False,
    )
    assert facts.rows[0].parameters == parameters(smaller.network)


@pytest.mark.parametrize("fraction", [0.0, 1.0, 0.01])
def test_useless_structured_fractions_are_refused(fraction):
    with pytest.raises(BadInput):
        narrowed(fresh(TINY), fraction)


def test_plans():
    assert len(repeated(0.3)) == int(np.log(0.01) / np.log(0.7)) == 12
    assert repeated(0.9) == (0.9, 0.9) and repeated(0.995) == (0.995,)
    plan = FixedSteps((0.5, 0.2))
    assert next_of(plan, []) == (-1, 0.5)
    assert next_of(plan, [False]) == (0, 0.2)
    assert next_of(plan, [False, False]) is None
    # Good, good, miss: back to iteration 1 in half the step; good; miss; miss: the end.
    back = Feedback(0.4, smallest=0.1)
    good = [True, True, False, True, False]
    steps = [next_of(back, good[:i]) for i in range(6)]
    assert [parent for parent, _ in steps] == [-1, 0, 1, 1, 3, 3]
    assert [share for _, share in steps] == pytest.approx([0.4, 0.4, 0.4, 0.2, 0.2, 0.1])
    assert next_of(back, [*good, False]) is None


def row(iteration: int, good: bool) -> Row:
    return Row(iteration, iteration - 1, 0.1, 0.5, good, 0.1, 1, 1, 1, 1, "x.pth")


def next_of(plan, good: list[bool]) -> tuple[int, float] | None:
    step = plan.next([row(i, g) for i, g in enumerate(good)], lambda _: None)
    return step and (step.parent, step.fraction)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "plan",
    [
        *(lambda share=share: repeated(share) for share in (0, 1, -0.1, 1e-9, NAN, INF)),
        *(lambda share=share: Feedback(share) for share in (0, 1, 1.5, 0.005, NAN)),
        *(lambda score=score: Towards(score, 1, "l1") for score in (0, -1, NAN, INF)),
        lambda: Towards(0.1, 0, "l1"),
        lambda: FixedSteps(()),
        lambda: FixedSteps((0.3, NAN)),
        *(lambda lr=lr: Retraining(lr=lr) for lr in (0, -1, NAN, INF)),
        *(lambda least=least: Retraining(threshold=least) for least in (1, 56, NAN)),
    ],
)
def test_plans_out_of_range_are_refused(plan):
    with pytest.raises(BadInput):
        plan()


class PowerCut(lightning.Callback):
    def __init__(self, step: int):
        self.left = step

    def on_train_batch_end(self, *_):
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("power cut")


def test_an_interrupted_run_ends_like_an_uninterrupted_one(tmp_path, cheap_cost):
    start = fresh(TINY)
    arguments = (FixedSteps((0.3, 0.2)), Retraining(rounds=2, t0=1, threshold=0.9))
    whole = prune(start, tiny_data(), tmp_path / "a", *arguments, progress=False)
    for step in (2, 6, 8):
        with pytest.raises(RuntimeError, match="power cut"):
            cut = [PowerCut(step)]
            prune(start, tiny_data(), tmp_path / "b", *arguments, progress=False, callbacks=cut)
    parts = prune(start, tiny_data(), tmp_path / "b", *arguments, progress=False)
    assert parts == whole and len(whole.rows) == 2
    for row in whole.rows:
        one, other = (checkpoints.load(tmp_path / f / row.checkpoint) for f in "ab")
        for key, value in one.network.state_dict().items():
            assert torch.equal(value, other.network.state_dict()[key]), key
    assert whole.best is None and not (tmp_path / "a" / "best.pth").exists()
    assert not list((tmp_path / "a").glob("work_*"))
    with pytest.raises(BadInput, match="network filters"):
        prune(fresh(WIDE), tiny_data(), tmp_path / "a", *arguments, progress=False)


def test_the_cheapest_above_the_threshold_is_marked(tmp_path, cheap_cost):
    retraining = Retraining(rounds=1, t0=1, threshold=-1.0)  # everything passes
    seen = []
    facts = prune(
        *(fresh(TINY), tiny_data(), tmp_path, FixedSteps((0.2, 0.3)), retraining),
        progress=False,
        report=seen.append,
    )
    assert facts.best == 1 and seen == facts.rows
    best = checkpoints.load(tmp_path / "best.pth")
    assert int((weights_of(best) != 0).sum()) == facts.rows[1].nonzero_weights
    assert facts.rows[0].score > facts.rows[1].score


def test_distillation_pulls_towards_the_teacher():
    from training.distill import Distillation

    teacher = fresh(WIDE).network
    x = torch.randn(4, 2, 1024)
    taught = Twin(teacher)(x).detach()
    plain = torch.tensor(2.0)
    same = Distillation(teacher, share=0.25).loss(x, taught, plain)
    assert same.item() == pytest.approx(1.5)
    other = (taught + torch.randn_like(taught)).requires_grad_()
    loss = Distillation(teacher, share=1.0, temperature=2.0).loss(x, other, plain)
    p, q = (taught / 2).softmax(1), (other / 2).softmax(1)
    expected = 4 * (p * (p / q).log()).sum(1).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    loss.backward()
    assert other.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_training_with_a_teacher(tmp_path):
    from training.distill import Distillation
    from training.train import train

    best = train(
        *(TINY, tiny_data(), tmp_path, Recipe(epochs=1)),
        distillation=Distillation(fresh(WIDE).network),
        progress=False,
    )
    assert checkpoints.load(best).config == TINY
