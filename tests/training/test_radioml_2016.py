"""RadioML 2016.10a: synthesised, converted from its pickle, and learned by networks of ours."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import aaronnet
from build.source import open_source
from deploy.board.radioml import Layout, layout_of, open_file, read_index
from models import checkpoint as checkpoints
from models.config import CONFIGS, NetConfig
from models.cost import inference_cost
from models.errors import BadInput
from models.export import export, load_onnx, read_metadata
from models.fuse import fuse
from models.networks import build_network
from tests.campaign.harness import Commands
from tests.training.recordings.wrong_files import wrong_files
from training.conversion import LABEL, convert
from training.synthesis import write_dataset
from training.synthesis.radioml_2016 import CLASSES, FRAME, SNRS, synthesise_2016
from training.twin import Twin, fits_kernels, initialise_ranges

pytestmark = pytest.mark.usefixtures("one_thread")
SIZES = Layout(FRAME, 2, len(CLASSES))


def drawn(name: str, snr: float = 18, count: int = 400) -> np.ndarray:
    """Complex frames of a class."""
    rng = np.random.default_rng(5)
    frames = synthesise_2016(CLASSES.index(name), snr, count, rng)
    assert frames.dtype == np.float32 and frames.shape == (count, FRAME, 2)
    return frames[..., 0] + 1j * frames[..., 1]


@pytest.mark.parametrize("name", CLASSES)
def test_mean_magnitude_is_one(name: str) -> None:
    assert np.allclose(np.abs(drawn(name, count=20)).mean(axis=1), 1, atol=1e-5)


def test_noise_counts_its_decibels_twice() -> None:
    # Beyond the band (1 + 0.35) / 16 of a linear modulation there is noise alone.
    def outside(snr: float) -> float:
        x = drawn("QPSK", snr)
        power = np.abs(np.fft.fft(x * np.hanning(FRAME))) ** 2
        far = np.abs(np.fft.fftfreq(FRAME)) > 0.15
        # The median: a few frames are faded away.
        return float(np.median(power[:, far].mean(axis=1) / power.mean(axis=1)))

    assert 10 * np.log10(outside(12) / outside(16)) == pytest.approx(8, abs=0.5)


def test_bandwidths() -> None:
    def share(name: str, cycles: float) -> float:
        power = (np.abs(np.fft.fft(drawn(name) * np.hanning(FRAME))) ** 2).mean(axis=0)
        return float(power[np.abs(np.fft.fftfreq(FRAME)) < cycles].sum() / power.sum())

    for name in ("BPSK", "QPSK", "8PSK", "PAM4", "QAM16", "QAM64"):
        assert share(name, 0.1) > 0.995 and share(name, 0.03) < 0.75
    assert share("CPFSK", 0.05) > 0.85 and share("GFSK", 0.05) > share("CPFSK", 0.05)
    assert share("AM-DSB", 0.02) > 0.99
    assert share("AM-SSB", 0.25) == pytest.approx(0.5, abs=0.03)  # noise alone


def test_constant_envelopes_are_faded_only() -> None:
    # Paths of up to 1.7 samples bend what is much wider than they are long hardly at all.
    for name, spread in (("WBFM", 0.05), ("GFSK", 0.1), ("CPFSK", 0.2)):
        assert np.abs(drawn(name)).std(axis=1).mean() < spread
    assert np.abs(drawn("QAM64")).std(axis=1).mean() > 0.3


def test_the_carrier_is_nowhere_and_the_phase_everywhere() -> None:
    x = drawn("AM-DSB", count=2000)
    turn = np.angle((x[:, 1:] * x[:, :-1].conj()).sum(axis=1)) / (2 * np.pi)
    assert 0 < np.median(np.abs(turn)) < 2e-5 and np.percentile(np.abs(turn), 95) < 5e-4
    assert abs(np.exp(1j * np.angle(x.mean(axis=1))).mean()) < 0.07


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "r16.h5"
    write_dataset(path, 12, seed=3, jobs=1, recipe="2016.10a", snrs=(-2, 8, 18))
    return path


def test_a_synthetic_file(file: Path) -> None:
    assert layout_of(file) == SIZES
    index = read_index(file, SIZES.classes, SIZES.frame)
    assert index.layout.class_names == CLASSES
    assert index.label == "synthetic (recipe 2016.10a-1, seed 3)" and index.synthetic
    assert index.in_order and set(index.snrs.tolist()) == {-2, 8, 18} and len(index) == 33 * 12
    with pytest.raises(BadInput, match=r"choose from -20\.\.18"):
        write_dataset(file.with_name("x.h5"), 1, recipe="2016.10a", snrs=(30,))
    with pytest.raises(BadInput, match=r"no recipe 4; known: 1, 2, 3, 2016\.10a"):
        write_dataset(file.with_name("x.h5"), 1, recipe=4)


def pickled(path: Path, wrong: object = None) -> Path:
    """A pickle like the published one, with two frames a cell; one cell may be wrong."""
    rng = np.random.default_rng(0)
    content: dict = {
        (name, snr): (rng.standard_normal((2, 2, FRAME)) / FRAME).astype(np.float32)
        for name in CLASSES
        for snr in SNRS
    }
    if wrong is not None:
        content["QPSK", 0] = wrong
    path.write_bytes(pickle.dumps(content, 2))
    return path


def test_the_pickle_is_converted_once(tmp_path: Path) -> None:
    source = pickled(tmp_path / "RML2016.10a_dict.pkl")
    facts = convert(source, tmp_path / "r.h5")
    assert facts["frames"] == 440 and facts["classes"] == CLASSES
    assert facts["data_label"] == "unlabelled file RML2016.10a_dict.pkl"  # too few to be the real
    index = read_index(tmp_path / "r.h5", 11, (FRAME, 2))
    assert index.layout.class_names == CLASSES and index.in_order
    content = pickle.loads(source.read_bytes())
    with open_file(tmp_path / "r.h5", 11, (FRAME, 2)) as opened:
        frames = opened["X"][:]
    row = int(np.flatnonzero((index.labels == CLASSES.index("WBFM")) & (index.snrs == 18))[0])
    assert np.array_equal(frames[row], content["WBFM", 18][0].T * np.float32(FRAME))
    with pytest.raises(BadInput, match="exists already"):
        convert(source, tmp_path / "r.h5")
    convert(source, tmp_path / "r.h5", overwrite=True)
    with pytest.raises(BadInput, match="aaronnet data convert"):
        layout_of(source)


def test_the_published_number_of_frames_is_the_published_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.synthesis.radioml_2016.FRAMES_PER_CELL", 2)
    facts = convert(pickled(tmp_path / "r.dat"), tmp_path / "r.h5")
    assert facts["data_label"] == LABEL
    assert read_index(tmp_path / "r.h5", 11, (FRAME, 2)).label == LABEL


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (np.full((2, 2, FRAME), np.nan, np.float32), "NaN or infinity in QPSK at 0 dB"),
        (np.zeros((2, 2, 64), np.float32), "several lengths"),
        ([1, 2], "no RadioML 2016.10a file"),
    ],
)
def test_wrong_pickles_leave_nothing(tmp_path: Path, wrong: object, says: str) -> None:
    source = pickled(tmp_path / "r.pkl", wrong)
    with pytest.raises(BadInput, match=says):
        convert(source, tmp_path / "r.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["r.pkl"]


def test_what_is_no_such_pickle_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Truncated, of another type, empty, lying, dangerous."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "given"
    folder.mkdir()
    x = np.random.default_rng(0).uniform(-0.9, 0.9, (3000, 2)).astype(np.float32)
    given = {path for path, _ in wrong_files(folder, x.view(np.complex64)[:, 0]).values()}
    good = np.zeros((2, 2, FRAME), np.float32)
    for name, content in {
        "one class": {("QPSK", 0): good},
        "no frames": {("QPSK", 0): good[:0], ("BPSK", 0): good[:0]},
        "no samples": {("QPSK", 0): good[..., :0], ("BPSK", 0): good[..., :0]},
        "odd dB": {("QPSK", 7): good, ("BPSK", 0): good},
        "huge dB": {("QPSK", 10**30): good, ("BPSK", 0): good},
        "NaN dB": {("QPSK", float("nan")): good, ("BPSK", 0): good},
        "complex": {("QPSK", 0): good.astype(complex), ("BPSK", 0): good},
        "objects": {("QPSK", 0): good.astype(object), ("BPSK", 0): good},
        "keys": {"QPSK": good},
        "none": {},
    }.items():
        given.add(folder / f"{name}.pkl")
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(content, 2))
    whole = pickled(folder / "whole.pkl").read_bytes()
    (folder / "whole.pkl").write_bytes(whole[: len(whole) // 2])
    given |= {folder / "whole.pkl", folder}
    command, wrong = Commands(tmp_path, capsys), {}
    for path in given:
        done = command("data", "convert", str(path), "-o", "o.h5")
        if done.code != 2 or len(done.err.strip().splitlines()) != 1:
            wrong[path.name] = done.err
    assert wrong == {}
    assert len(given) >= 40 and [path.name for path in tmp_path.iterdir()] == ["given"]


@pytest.mark.parametrize(
    ("name", "length", "classes"),
    [("vgg10", 128, 11), ("bacalhaunet", 128, 11), ("aaronnet32", 128, 11), ("aaronnet32", 200, 5)],
)
def test_networks_take_the_datas_sizes(name: str, length: int, classes: int) -> None:
    config = CONFIGS[name].changed(length=length, classes=classes)
    assert NetConfig.from_dict(config.to_dict()) == config
    network = build_network(config)
    initialise_ranges(network)
    frames = torch.randn(3, 2, length, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        network.train()(frames)
        scores = network.eval()(frames)
        assert scores.shape == (3, classes)
        assert torch.allclose(Twin(network).eval()(frames), scores, atol=1e-4)
    assert not fits_kernels(network)


@pytest.mark.parametrize("wrong", [{"length": 64}, {"classes": 1}, {"length": 128.0}])
def test_sizes_out_of_reach_are_refused(wrong: dict) -> None:
    with pytest.raises(BadInput, match="aaronnet32 takes"):
        CONFIGS["aaronnet32"].changed(**wrong)


@pytest.fixture(scope="module")
def trained(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from training.data import RadioMLData, kind_for
    from training.module import Recipe
    from training.train import train

    config = CONFIGS["aaronnet32"].changed(
        length=FRAME, classes=len(CLASSES), filters=(6, 5, 5, 5, 5, 6), dense=8
    )
    source = RadioMLData(file, 64, workers=0, kind=kind_for(config, file))
    out = tmp_path_factory.mktemp("trained")
    return train(config, source, out, Recipe(epochs=1, t0=0), progress=False)


def run(*words: object) -> str:
    """Run a command in this process; returns what it prints, raises what it raises."""
    done = CliRunner().invoke(aaronnet.app, [str(word) for word in words])
    if done.exception is not None:
        raise done.exception
    return " ".join(done.output.split())


def test_tested_by_the_datas_names(trained: Path, file: Path, tmp_path: Path) -> None:
    assert checkpoints.load(trained).class_names == CLASSES
    shown = run("test", trained, "--data", file, "--json", tmp_path / "t.json")
    assert "WBFM" in shown and " 30 " not in shown  # no row for SNRs that the file has not
    assert tuple(json.loads((tmp_path / "t.json").read_text())["classes"]) == CLASSES
    with pytest.raises(BadInput, match="what is synthesised has 2 x 1024 samples"):
        run("quantize", trained, "--bits", "8", "-o", tmp_path / "x.pth")
    with pytest.raises(BadInput, match="2 x 1024 samples and 24 classes; aaronnet32 takes 2 x 128"):
        write_dataset(tmp_path / "y.h5", 1, jobs=1, snrs=(0,))
        run("test", trained, "--data", tmp_path / "y.h5")


def test_a_build_and_a_count_know_the_task(trained: Path, tmp_path: Path) -> None:
    loaded = fuse(checkpoints.load(trained), 8)
    export(loaded, tmp_path / "n.onnx")
    model = load_onnx(tmp_path / "n.onnx")
    assert read_metadata(model)["class_names"] == CLASSES
    assert tuple(model.get_tensor_shape(model.graph.input[0].name)) == (1, 2, FRAME)
    note = inference_cost(model).note
    assert note.startswith("the score is defined on RadioML 2018.01A (2 x 1024 samples")
    assert note.endswith("2 x 128 samples and 11 classes")
    for given in (loaded, tmp_path / "n.onnx"):
        task = open_source(given).task
        assert (task.length, tuple(task.class_names)) == (FRAME, CLASSES)


def test_recordings_are_classified_by_name(trained: Path, file: Path, tmp_path: Path) -> None:
    answers, facts = [], tmp_path / "f.json"
    for recording in (file, pickled(tmp_path / "r.pkl")):
        run("classify", recording, "--network", trained, "--json", facts)
        answers.append([row["answer"] for row in json.loads(facts.read_text())["frames"]])
    assert len(answers[0]) == 33 * 12 and len(answers[1]) == 440
    assert set(answers[0]) <= set(CLASSES)
    # As `test` sees them: a data set's frames are taken as they are.
    with open_file(file, 11, (FRAME, 2)) as opened, torch.inference_mode():
        frames = torch.from_numpy(opened["X"][:].transpose(0, 2, 1))
        scores = checkpoints.load(trained).network(frames)
    assert answers[0] == [CLASSES[i] for i in scores.argmax(1).tolist()]


def test_info_and_pictures(file: Path, tmp_path: Path) -> None:
    run("data", "info", file, "--json", tmp_path / "i.json")
    facts = json.loads((tmp_path / "i.json").read_text())
    assert [row["name"] for row in facts["classes"]] == list(CLASSES)
    assert facts["classes"][0]["clipped_top"] is not None
    run("data", "show", file, "--snr", 18, "-o", tmp_path / "s.png")
    assert (tmp_path / "s.png").stat().st_size > 10_000
