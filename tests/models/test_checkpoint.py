import pytest
import torch

from models import checkpoint
from models.config import CONFIGS
from models.errors import BadInput
from models.networks import build_network

TINY = CONFIGS["aaronnet32"].changed(name="tiny", filters=(3, 4, 4, 4, 4, 4), dense=5)


def trained(config, seed=0):
    """A network whose activation steps are set, as after the first training batch."""
    torch.manual_seed(seed)
    network = build_network(config).train()
    network(torch.randn(8, 2, 1024))
    return network.eval()


@pytest.fixture(scope="module")
def tiny():
    return trained(TINY)


@pytest.mark.parametrize("name", ["vgg", "AaronNet32", "AaronNet32plusplus"])
def test_published_checkpoints_load_strictly(published, name):
    state = torch.load(published(name), map_location="cpu", weights_only=True)
    loaded = checkpoint.load(published(name))
    own = loaded.network.state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[key], state[key]) for key in state)
    assert loaded.config == CONFIGS["vgg10" if name == "vgg" else "aaronnet32"]
    assert not loaded.network.training
    assert "unknown" in loaded.data_label


@pytest.mark.parametrize("name", CONFIGS)
def test_networks_map_frames_to_class_scores(name):
    network = build_network(CONFIGS[name]).eval()
    assert network(torch.randn(3, 2, 1024)).shape == (3, 24)


def test_the_msc_sees_the_same_instants_at_all_scales(tiny):
    # The three windows are centred alike: an impulse meets the middle of each at one position.
    sizes = {branch[0](torch.zeros(1, 2, 1024)).shape for branch in tiny.expand.children()}
    assert sizes == {(1, 1, 257)}


def test_a_saved_checkpoint_comes_back(tmp_path, tiny):
    path = tmp_path / "new" / "net.pth"
    checkpoint.save(path, tiny, TINY, {"data_label": "synthetic", "seed": 3})
    loaded = checkpoint.load(path)
    x = torch.randn(5, 2, 1024)
    assert torch.equal(loaded.network(x), tiny(x))
    assert (loaded.config, loaded.data_label, loaded.info["seed"]) == (TINY, "synthetic", 3)
    assert [file.name for file in path.parent.iterdir()] == ["net.pth"]


def test_another_width_is_named(tmp_path, tiny):
    path = tmp_path / "net.pth"
    checkpoint.save(path, tiny, TINY, {})
    with pytest.raises(BadInput, match=r"has shape \(1, 2, 32\), not \(11, 2, 32\)"):
        checkpoint.load(path, CONFIGS["aaronnet32"])


def test_damage_is_named(tmp_path, tiny):
    path = tmp_path / "net.pth"
    checkpoint.save(path, tiny, TINY, {})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="truncated or damaged"):
        checkpoint.load(path)
    for length in (0, 4, 100):
        path.write_bytes(whole[:length])
        with pytest.raises(BadInput, match="damaged|no checkpoint"):
            checkpoint.load(path)
    path.write_text("# not a checkpoint")
    with pytest.raises(BadInput, match="no checkpoint"):
        checkpoint.load(path)
    with pytest.raises(BadInput, match="does not exist"):
        checkpoint.load(tmp_path / "none.pth")


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run!",))

    path = tmp_path / "evil.pth"
    torch.save({"a": Evil()}, path)
    with pytest.raises(BadInput, match="more than tensors"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("classifier.6.bias"), "classifier.6.bias is missing"),
        (lambda state: state.update(extra=torch.zeros(1)), "'extra' is unexpected"),
        (lambda state: state["classifier.0.bias"].fill_(torch.nan), "not finite"),
        (
            lambda state: state.pop(next(key for key in state if key.endswith("_impl.value"))),
            "is missing",
        ),
    ],
)
def test_a_state_that_does_not_fit_is_named(tmp_path, change, message):
    network = trained(TINY)
    state = network.state_dict()
    change(state)
    torch.save(
        {"format": 1, "config": TINY.to_dict(), "info": {}, "state_dict": state},
        tmp_path / "net.pth",
    )
    with pytest.raises(BadInput, match=message):
        checkpoint.load(tmp_path / "net.pth")
