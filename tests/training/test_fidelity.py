import h5py
import numpy as np
import pytest
import torch

from deploy.board.radioml import CLASSES, SNRS, read_index
from deploy.board.split import official_split
from models.checkpoint import load
from models.errors import BadInput
from models.published import CURVE_SNRS, CURVES, DATA_LABEL
from tests.training.radioml_files import write
from training.fidelity import PUBLISHED, _classify, compare, fidelity
from training.synthesis import write_dataset


def counts_of(accuracy_per_snr, frames=1000) -> np.ndarray:
    """A network that is right so often, and takes the class for the next one else."""
    counts = np.zeros((26, 24, 24), int)
    for i, share in enumerate(accuracy_per_snr):
        right = round(share * frames)
        for k in range(24):
            counts[i, k, k] = right
            counts[i, k, (k + 1) % 24] = frames - right
    return counts


def curve_of(name):
    return np.interp(SNRS, CURVE_SNRS, CURVES[name])


def test_a_network_as_published_is_ok():
    curve = curve_of("VGG10")
    facts = compare(counts_of(curve), "VGG10")
    assert facts["ok"]
    assert np.isclose(facts["accuracy"], curve.mean(), atol=1e-3)
    assert facts["published"]["accuracy"] == PUBLISHED["VGG10"] == 0.59467
    assert facts["published"]["curve"][30] == 0.931
    assert abs(facts["deviation"]["snr"]) < 0.001
    assert facts["mistaken_for"][:2] == ["4ASK", "8ASK"]
    assert np.allclose(facts["accuracy_per_snr"], curve, atol=1e-3)
    high = curve[np.array(SNRS) >= 10].mean()
    assert np.allclose(facts["accuracy_per_class_high"], high, atol=1e-3)


def test_one_snr_off_is_noticed():
    curve = curve_of("VGG10")
    curve[SNRS.index(4)] -= 0.05
    facts = compare(counts_of(curve), "VGG10")
    assert facts["ok"] is False
    assert facts["deviation"]["at"] == 4
    assert np.isclose(facts["deviation"]["snr"], -0.05, atol=1e-3)
    assert np.isclose(
        facts["deviation"]["standard_error"], np.sqrt(0.678 * 0.322 / 24000), rtol=0.01
    )


def test_the_mean_off_is_noticed_without_a_curve():
    assert compare(counts_of([0.58] * 26), "AaronNet32")["ok"]
    assert compare(counts_of([0.55] * 26), "AaronNet32")["ok"] is False
    assert compare(counts_of([0.61] * 26), "AaronNet32")["ok"] is False


def test_nothing_to_compare_with():
    facts = compare(counts_of([0.5] * 26), None)
    assert facts["ok"] is None
    assert facts["published"] is None


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    path = tmp_path_factory.mktemp("fidelity") / "synthetic.h5"
    write_dataset(path, 2, seed=1)
    return path


def test_a_published_network_knows_the_synthetic_frames(synthetic, published):
    facts = fidelity(synthetic, [str(published("AaronNet32plusplus"))])
    network = facts["networks"][0]
    assert network["network"] == "AaronNet32++"
    # The faster twin that is asked gives what the network itself does.
    rows = np.arange(0, 24 * 26 * 2, 26)
    with h5py.File(synthetic) as file:
        x = torch.from_numpy(file["X"][rows].transpose(0, 2, 1).copy())
    checkpoint = load(published("AaronNet32plusplus"))
    answers = np.concatenate([a for _, a in _classify(checkpoint, synthetic, rows, "cpu")])
    with torch.inference_mode():
        assert np.array_equal(checkpoint.network(x).argmax(1), answers)
    assert network["trained_on"] == DATA_LABEL
    assert facts["frames"] == np.sum(network["counts"]) == 24 * 26 * 2
    assert facts["data_label"] == "synthetic (recipe 1, seed 1)"
    # 1248 frames: one standard error is 1.1 points.
    assert abs(network["deviation"]["mean"]) < 0.04
    high = np.array(network["accuracy_per_class_high"])
    assert high[CLASSES.index("QPSK")] > 0.9
    assert high.mean() > 0.8


def test_labels_in_another_order_are_noticed(synthetic, tmp_path, published):
    wrong = tmp_path / "wrong.h5"
    index = read_index(synthetic)
    with h5py.File(synthetic) as file:
        some = index.snrs >= 20
        write(wrong, (index.labels[some] + 1) % 24, index.snrs[some], file["X"][some])
    facts = fidelity(wrong, [str(published("AaronNet32plusplus"))])
    assert not facts["ok"]
    assert facts["networks"][0]["accuracy"] < 0.2
    assert facts["networks"][0]["mistaken_for"][5] == "QPSK"


def test_of_real_data_only_the_test_frames_are_asked(synthetic, tmp_path, published):
    labels = np.repeat([4, 5], 10)
    path = write(tmp_path / "real.h5", labels, np.full(20, 30))
    facts = fidelity(path, [str(published("AaronNet32plusplus"))])
    tested = official_split(read_index(path)).test
    assert facts["frames"] == len(tested) == 2


def test_names_of_published_networks(synthetic, published, tmp_path):
    file = published("AaronNet32plusplus")
    few = tmp_path / "few.h5"
    write(few, np.arange(24), np.full(24, 30), np.zeros((24, 1024, 2), np.float32), synthetic=True)
    facts = fidelity(few, [f"{file}=AaronNet32+"])
    assert facts["networks"][0]["published"]["name"] == "AaronNet32+"
    with pytest.raises(BadInput, match="no network was published as 'AaronNet33'; known: VGG10"):
        fidelity(few, [f"{file}=AaronNet33"])
    with pytest.raises(BadInput, match="no checkpoint given"):
        fidelity(few, [])
    with pytest.raises(BadInput, match="does not exist"):
        fidelity(few, ["nothing.pth"])
