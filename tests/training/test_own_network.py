"""Networks of the user's own: what cannot be trained is said at once, the others get it all."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from qonnx.core.onnx_exec import execute_onnx
from typer.testing import CliRunner

import aaronnet
from deploy.board.radioml import Layout, layout_of, open_file
from models import checkpoint as checkpoints
from models import user_code
from models.cost import inference_cost
from models.errors import BadInput
from models.export import export, load_onnx, read_metadata, to_qonnx
from models.foreign import ForeignConfig, read_config
from models.probe import describe
from models.user_code import Trust, load_class
from tests.conftest import ROOT
from tests.training.radioml_files import grid, tones, write
from training.cache import CacheKind
from training.data import RadioMLData, kind_for
from training.distill import Distillation
from training.evaluate import evaluate
from training.module import Recipe, prunable
from training.prune import METHODS, pruned
from training.train import train
from training.twin import foreign_weight
from training.zoo import add

SOURCE = ROOT / "tests" / "foreign_net.py"
KINDS = ("Straight", "Residual", "Rows")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return tones(tmp_path_factory.mktemp("tones") / "tones.h5")


@pytest.fixture(scope="module")
def trained(file, tmp_path_factory) -> dict[str, Path]:
    """Checkpoints of the classes of the source beside their code, a few steps old."""
    folder = tmp_path_factory.mktemp("trained")
    source = folder / "net.py"
    shutil.copy(SOURCE, source)
    made = {}
    for cls in KINDS:
        config = describe(load_class(source, cls), 2, 128, 11)
        data = RadioMLData(file, 64, workers=0, kind=kind_for(config, file))
        best = train(config, data, folder / cls, Recipe(epochs=2, t0=0), progress=False)
        made[cls] = shutil.copy(best, folder / f"{cls}.pth")
    return made


@pytest.fixture(autouse=True)
def nothing_admitted(monkeypatch):
    """Forget which code this process has run."""
    monkeypatch.setattr(user_code, "_admitted", {})


def run(*arguments: object) -> str:
    """Run a command in this process; returns what it prints, raises what it raises."""
    done = CliRunner().invoke(aaronnet.app, [str(a) for a in arguments])
    if done.exception is not None:
        raise done.exception
    return done.output


HEAD = "import torch\nimport brevitas.nn as qnn\nfrom torch import nn\n"
SIGNED = "qnn.QuantIdentity(bit_width=6, return_quant_tensor=True)"


def network(layers: str, forward: str = "self.layers(x)", init: str = "self") -> str:
    return (
        f"{HEAD}class Net(nn.Module):\n"
        f"    def __init__({init}):\n"
        "        super().__init__()\n"
        f"        self.layers = nn.Sequential({layers})\n"
        "    def forward(self, x):\n"
        f"        return {forward}\n"
    )


GOOD = f"{SIGNED}, nn.Flatten(), qnn.QuantLinear(256, 11, bias=False, weight_bit_width=4)"

WRONG = {
    "syntax": ("class Net(:\n", "is no Python: line 1 invalid syntax"),
    "null_bytes": ("x = 1\0\n", "is no Python"),
    "raises": ("1 / 0\n", "raises ZeroDivisionError: division by zero"),
    "exits": ("raise SystemExit(3)\n", "raises SystemExit: 3"),
    "neighbour": ("from layers import Block\n", "raises ModuleNotFoundError: No module named"),
    "no_class": (f"{HEAD}class Other: ...\n", "has no class Net; it has Other"),
    "no_module": ("class Net: ...\n", "Net of .* is no network"),
    "a_function": ("def Net(): ...\n", "Net of .* is no network"),
    "arguments": (
        network(GOOD, init="self, filters"),
        r"missing a required argument: 'filters'; give them defaults",
    ),
    "no_init": (
        f"{HEAD}class Net(nn.Module):\n    def __init__(self):\n        raise ValueError('no')\n",
        r"Net\(\) raises ValueError: no",
    ),
    "forward": (network(GOOD, "self.missing(x)"), r"frames \(N, 2, 128\) raises AttributeError"),
    "length": (
        network(GOOD.replace("256", "99")),
        r"Net on frames \(N, 2, 128\) raises RuntimeError: .*shape",
    ),
    "classes": (network(GOOD.replace("11", "24")), "tells 24 classes apart, and the data has 11"),
    "shape": (network(GOOD, "self.layers(x)[..., None]"), r"shape \(7, 11, 1\) .*not \(7, 11\)"),
    "a_tuple": (network(GOOD, "(self.layers(x), x)"), "scores of type tuple"),
    "in_training": (
        network(GOOD, "self.layers(x) if not self.training else 1 / 0"),
        "a step of training of Net raises ZeroDivisionError",
    ),
    "no_gradient": (
        network(GOOD, "self.layers(x).detach()"),
        "a step of training of Net raises RuntimeError: element 0",
    ),
    "not_finite": (network(GOOD, "self.layers(x) / 0 * 0"), "scores that are not finite"),
    "float_input": (
        network("nn.Flatten(), qnn.QuantLinear(256, 11, bias=False)"),
        "layers.1 takes float activations; put a quantizer",
    ),
    "float_between": (
        network(
            f"{SIGNED}, qnn.QuantConv1d(2, 4, 3, bias=False), nn.BatchNorm1d(4), nn.ReLU(), "
            "nn.Flatten(), qnn.QuantLinear(504, 11, bias=False)"
        ),
        "layers.5 takes float activations",
    ),
    "float_branch": (
        network(
            f"{SIGNED}, nn.Flatten(), qnn.QuantLinear(256, 11, bias=False)",
            "self.layers[2](self.layers[:2](x) + x.flatten(1))",
        ),
        "layers.2 takes float activations",
    ),
    "float_weights": (
        network(f"{SIGNED}, nn.Flatten(), nn.Linear(256, 11)"),
        "the weights of layers.2 are floats",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_class_that_cannot_be_trained_is_refused_before_anything_is_written(name, tmp_path, file):
    text, told = WRONG[name]
    source = tmp_path / "net.py"
    source.write_text(text)
    before = sorted(path.name for path in file.parent.iterdir())
    with pytest.raises(BadInput, match=told) as error:
        run("train", "--network", f"{source}:Net", "--data", file, "-o", tmp_path / "out")
    assert "\n" not in str(error.value)
    assert sorted(tmp_path.iterdir()) == [source]
    assert sorted(path.name for path in file.parent.iterdir()) == before


def test_the_networks_of_that_table_are_wrong_in_one_thing(tmp_path):
    source = tmp_path / "net.py"
    source.write_text(network(GOOD))
    assert describe(load_class(source, "Net"), 2, 128, 11).spelling == (2, 128)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--network", "net.py"], "takes FILE.py:CLASS, such as net.py:Net, not 'net.py'"),
        (["--network", ":Net"], "takes FILE.py:CLASS"),
        (["--network", "net.py:a b"], "takes FILE.py:CLASS"),
        (["--network", "nowhere.py:Net"], "network file nowhere.py does not exist"),
        ([], "name what to train"),
        (["aaronnet32", "--network", "net.py:Net"], "name what to train"),
        (["--network", "net.py:Net", "--act-bits", "4"], "are its own; change them there"),
    ],
)
def test_wrong_requests_are_refused(arguments, told, tmp_path):
    with pytest.raises(BadInput, match=told):
        run("train", *arguments, "-o", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_sizes_of_data_and_network_must_agree(trained, file, tmp_path):
    other = write(tmp_path / "rml.h5", *grid(1, (0, 2)))
    wanted = "2 x 1024 samples and 24 classes; Straight takes 2 x 128 samples and 11 classes"
    for command in ("train", "test"):
        out = ["-o", tmp_path / "out"] if command == "train" else []
        with pytest.raises(BadInput, match=f"rml.h5 has {wanted}"):
            run(command, trained["Straight"], "--trust", "--data", other, *out)
    with pytest.raises(BadInput, match=f"what is synthesised has {wanted}"):
        run("train", trained["Straight"], "--trust", "-o", tmp_path / "out")
    with pytest.raises(BadInput, match="Straight on frames|tells 11 classes"):
        run("train", "--network", f"{SOURCE}:Straight", "--data", other, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_it_is_trained_quantized_from_the_start(trained, file, tmp_path):
    with pytest.raises(BadInput, match="trained without --float-epochs"):
        run(
            *("train", trained["Straight"], "--trust", "--data", file, "-o", tmp_path / "out"),
            *("--float-epochs", 1, "--validation-frames", 0),
        )
    assert not (tmp_path / "out").exists()


COMMANDS = {
    "train": ["train", "{c}", "--data", "{d}", "-o", "{o}"],
    "teacher": ["train", "--network", "{s}:Rows", "--teacher", "{c}", "--data", "{d}", "-o", "{o}"],
    "prune": ["prune", "{c}", "--data", "{d}", "-o", "{o}"],
    "test": ["test", "{c}", "--data", "{d}"],
    "report": ["report", "{c}", "--data", "{d}", "-o", "{o}"],
    "cost": ["cost", "{c}"],
    "export": ["export", "{c}", "-o", "{o}"],
    "build": ["build", "{c}", "-o", "{o}"],
    "sparse": ["build", "{c}", "--style", "sparse", "-o", "{o}"],
    "zoo": ["zoo", "add", "{c}", "mine", "--data", "{d}"],
    "classify": ["classify", "{r}", "--network", "{c}"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_lets_code_run_by_itself(command, trained, file, tmp_path, monkeypatch):
    monkeypatch.setattr(user_code, "_run", None)  # whoever runs a file raises
    if command == "teacher":
        monkeypatch.setattr("training.cli._own_class", lambda *_: read_config(ROWS))
    np.save(recorded := tmp_path / "recorded.npy", np.ones(512, np.complex64))
    places = {"c": trained["Straight"], "d": file, "o": tmp_path / "out", "s": SOURCE}
    places["r"] = recorded
    words = [word.format(**places) for word in COMMANDS[command]]
    with pytest.raises(BadInput) as error:
        run(*words)
    told = f"needs code, the class Straight of {trained['Straight'].parent / 'net.py'}: --trust"
    assert told in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_recording_is_classified_in_frames_of_its_length(trained, tmp_path):
    np.save(recorded := tmp_path / "recorded.npy", np.exp(0.6j * np.arange(512)).astype("c8"))
    answers = tmp_path / "answers.json"
    run("classify", recorded, "--network", trained["Straight"], "--trust", "--json", answers)
    rows = json.loads(answers.read_text())["frames"]
    assert len(rows) == 4 and all(row["answer"].startswith("class ") for row in rows)


@pytest.mark.parametrize("command", ["quantize", "requantize", "search"])
def test_commands_for_our_networks_say_so(command, trained, file, tmp_path):
    more = {"requantize": ["--bits", 4], "search": ["--target-score", 0.01]}.get(command, [])
    with pytest.raises(BadInput, match=f"a class of your own .*; {command} knows the networks of"):
        run(command, trained["Straight"], "-o", tmp_path / "out", "--data", file, *more)
    with pytest.raises(BadInput, match="a class of your own"):
        run("cost", trained["Straight"], "--trust", "--act-bits", 4)
    with pytest.raises(BadInput, match="prune --method channels knows the networks of"):
        run(
            *("prune", trained["Straight"], "--trust", "-o", tmp_path / "out", "--data", file),
            *("--method", "channels"),
        )


def test_only_code_that_is_unchanged_runs(trained, tmp_path):
    checkpoint = tmp_path / "best.pth"
    shutil.copy(trained["Straight"], checkpoint)
    remembered = trained["Straight"].parent / "net.py"
    loaded = checkpoints.load(checkpoint, trust=Trust(True))
    assert loaded.config.origin.file == str(remembered)
    checkpoints.load(checkpoint)  # its code has run in this process: it asks for no more

    user_code._admitted.clear()
    kept = remembered.read_bytes()
    ran = tmp_path / "ran"
    try:
        remembered.write_bytes(kept + f"\nopen({str(ran)!r}, 'w')\n".encode())
        with pytest.raises(BadInput, match="which has changed since; --code .*net.py lets it run"):
            checkpoints.load(checkpoint, trust=Trust(True))
        assert not ran.exists()
        changed = checkpoints.load(checkpoint, trust=Trust(file=remembered))
        assert ran.exists() and changed.config.origin.digest != loaded.config.origin.digest

        user_code._admitted.clear()
        (tmp_path / "net.py").write_bytes(kept)  # beside the checkpoint lies the one that it means
        found = checkpoints.load(checkpoint, trust=Trust(True)).config.origin
        assert found == replace(loaded.config.origin, file=str(tmp_path / "net.py"))

        user_code._admitted.clear()
        (tmp_path / "net.py").unlink()
        remembered.unlink()
        with pytest.raises(BadInput, match="which is gone, and not beside it; name the file by"):
            checkpoints.load(checkpoint, trust=Trust(True))
    finally:
        remembered.write_bytes(kept)


def test_a_named_file_must_fit_the_weights(trained, tmp_path):
    source = tmp_path / "net.py"
    source.write_text(SOURCE.read_text().replace("channels: int = 6", "channels: int = 7"))
    with pytest.raises(BadInput, match=r"does not fit Straight \(Straight of .*shape \(6, 2, 5\)"):
        checkpoints.load(trained["Straight"], trust=Trust(file=source))
    with pytest.raises(BadInput, match="network file .* does not exist"):
        checkpoints.load(trained["Straight"], trust=Trust(file=tmp_path / "gone.py"))
    source.write_text("Straight = 3\n")
    with pytest.raises(BadInput, match="Straight of .* is no network"):
        checkpoints.load(trained["Straight"], trust=Trust(file=source))


ROWS = {
    "family": "foreign",
    "name": "Rows",
    "file": "net.py",
    "cls": "Rows",
    "digest": "0" * 64,
    "frame": [2, 128],
    "classes": 11,
    "spelling": [1, 2, 128],
}


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("name", (None, "", "a b", "x" * 99)),
        ("file", (None, "", "a\nb", 3)),
        ("cls", (None, "", "a.b", "import os")),
        ("digest", (None, "", "0" * 63, "G" * 64)),
        ("frame", (None, [2], [2, 128, 1], [2, 0], ["2", 128], [2.0, 128], [True, 128])),
        ("classes", (None, 0, -1, 1 << 40, 11.0, True)),
        ("spelling", (None, [], [2, 129], [128, 2], [1, 1, 2, 128])),
        ("more", (1,)),
    ],
)
def test_malformed_configurations_are_refused(key, values):
    assert isinstance(read_config(ROWS), ForeignConfig)
    assert read_config(ROWS).to_dict() == ROWS
    for value in values:
        with pytest.raises(BadInput):
            read_config(ROWS | {key: value})
    if key != "more":
        with pytest.raises(BadInput):
            read_config({name: value for name, value in ROWS.items() if name != key})


@pytest.mark.parametrize("cls", KINDS)
def test_a_checkpoint_gives_the_network_back(cls, trained, file):
    content = torch.load(trained[cls], weights_only=True)
    assert content["config"] | {"file": 0} == ROWS | {
        "name": cls, "cls": cls, "file": 0, "digest": content["config"]["digest"],
        "spelling": [1, 2, 128] if cls == "Rows" else [2, 128],
    }  # fmt: skip
    loaded = checkpoints.load(trained[cls], trust=Trust(True))
    measured = evaluate(loaded, file)
    assert len(measured.classes) == 11 and measured.classes[3] == "class 3"
    with open_file(file, 11, (128, 2)) as opened, torch.inference_mode():
        x, y = opened["X"][:].transpose(0, 2, 1), opened["Y"][:].argmax(1)
        found = loaded.network(torch.from_numpy(x)).argmax(1).numpy()
    data = RadioMLData(file, kind=CacheKind(layout_of(file), exact=True))
    data.setup()
    rows = data.split.test
    assert np.array_equal(data.frames[rows][0].numpy(), x[rows])  # no rounding of ours
    assert measured.accuracy == pytest.approx((found[rows] == y[rows]).mean())


@pytest.mark.parametrize("cls", KINDS)
def test_it_is_exported_and_counted(cls, trained, tmp_path):
    loaded = checkpoints.load(trained[cls], trust=Trust(True))
    run("export", trained[cls], "--trust", "-o", tmp_path / "net.onnx")
    model = load_onnx(tmp_path / "net.onnx")
    shape = model.get_tensor_shape(model.graph.input[0].name)
    frame = torch.rand(1, 2, 128) * 0.05
    context = {model.graph.input[0].name: frame.reshape(shape).numpy()}
    scores = next(iter(execute_onnx(model, context).values()))
    with torch.inference_mode():
        np.testing.assert_allclose(scores, loaded.network(frame), rtol=1e-3, atol=1e-4)
    counted = inference_cost(loaded)
    names = {name.removesuffix(".weight") for name, _ in prunable(loaded.network)}
    assert {layer.name.rpartition(".")[0] for layer in counted.layers} == names
    assert counted.warnings == () and counted.score == inference_cost(model).score
    output = run("cost", trained[cls], "--trust")
    assert f"{counted.score:.6f}" in output


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cls", KINDS)
def test_it_is_pruned(cls, method, trained):
    loaded = checkpoints.load(trained[cls], trust=Trust(True))
    before = inference_cost(loaded)
    cut = pruned(loaded, 0.5, method)
    zeros = sum(int((weight == 0).sum()) for _, weight in prunable(cut.network))
    total = sum(weight.numel() for _, weight in prunable(cut.network))
    assert zeros / total == pytest.approx(0.5, abs=0.01)
    assert inference_cost(cut).nonzero_weights < 0.6 * before.nonzero_weights
    layers = dict(cut.network.named_modules())
    for name, weight in prunable(cut.network):
        assert (foreign_weight(layers[name.removesuffix(".weight")])[weight == 0] == 0).all()


def test_a_pruning_run_and_its_report_and_card(trained, file, tmp_path):
    given, out = trained["Straight"], tmp_path / "pruned"
    run(
        *("prune", given, "--trust", "--data", file, "-o", out, "--target-score", 0.0008),
        *("--method", "lamp", "--rounds", 1, "--t0", 1, "--threshold", 0.001, "--batch-size", 64),
    )
    table = json.loads((out / "prune.json").read_text())
    assert table["network"] == "Straight" and table["rows"][0]["score"] <= 0.0008
    made = checkpoints.load(out / "best.pth").config
    assert made.origin.file == str(given.parent / "net.py")
    page = tmp_path / "report.html"
    run(
        "report", given, out / "best.pth", "--data", file, "-o", page, "--json", tmp_path / "r.json"
    )
    facts = json.loads((tmp_path / "r.json").read_text())
    assert [len(each["accuracy_per_class"]) for each in facts["networks"]] == [11, 11]
    assert {each["name"] for each in facts["networks"][0]["sparsity"]} == {
        "features.0", "features.4", "head"
    }  # fmt: skip
    assert page.stat().st_size > 10_000
    folder = tmp_path / "zoo"
    folder.mkdir()
    card = add(out / "best.pth", "mine", file, folder=folder)
    assert card["config"]["cls"] == "Straight" and card["score"] <= 0.0008
    assert (folder / "mine.json").exists()
    model = tmp_path / "mine.onnx"
    export(checkpoints.load(out / "best.pth"), model)
    told = [card["config"], read_metadata(load_onnx(model))["config"]]
    told.append(checkpoints.load(folder / "mine.pth").config.to_dict())
    assert [each["file"] for each in told] == ["net.py"] * 3
    assert str(given.parent).encode() not in model.read_bytes()


def test_interrupted_it_goes_on_to_the_same_weights(trained, file, tmp_path):
    config = checkpoints.load(trained["Residual"], trust=Trust(True)).config

    def runs(out: Path, *callbacks) -> Path:
        data = RadioMLData(file, 64, workers=0, kind=kind_for(config, file))
        recipe = Recipe(epochs=2, t0=0, ema=0.9)
        return train(config, data, out, recipe, progress=False, callbacks=callbacks)

    class Interrupt(lightning.Callback):
        def on_train_batch_start(self, trainer, module, batch, number):
            if trainer.current_epoch == 1 and number == 1:
                raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        runs(tmp_path / "one", Interrupt())
    runs(tmp_path / "one")
    runs(tmp_path / "two")
    one, two = (checkpoints.load(tmp_path / name / "last.pth") for name in ("one", "two"))
    for key, value in one.network.state_dict().items():
        assert torch.equal(value, two.network.state_dict()[key]), key


def test_where_the_code_lies_is_no_difference_to_a_run_and_what_it_is_is_one(trained, tmp_path):
    run_folder = trained["Straight"].parent / "Straight"
    record = json.loads((run_folder / "run.json").read_text())
    assert "file" not in record["network"] and record["network"]["cls"] == "Straight"
    assert len(record["network"]["digest"]) == 64


def test_it_teaches_and_is_taught(trained, file, tmp_path):
    teacher = checkpoints.load(trained["Residual"], trust=Trust(True))
    config = checkpoints.load(trained["Rows"], trust=Trust(True)).config
    data = RadioMLData(file, 64, workers=0, kind=kind_for(config, file))
    taught = Distillation(teacher.network, kept=True)
    best = train(
        config, data, tmp_path / "out", Recipe(epochs=1), distillation=taught, progress=False
    )
    assert checkpoints.load(best).config.name == "Rows"
    assert data.taught["levels"].shape == (440, 11)


def test_layouts_are_read_from_the_file(file, tmp_path):
    assert layout_of(file) == Layout(128, 2, 11)
    assert Layout().class_names[0] == "OOK" and Layout(128, 2, 11).class_names[10] == "class 10"
    (tmp_path / "x.h5").write_bytes(b"no")
    with pytest.raises(BadInput, match="is not an HDF5 file"):
        layout_of(tmp_path / "x.h5")
    with pytest.raises(BadInput, match="does not exist"):
        layout_of(tmp_path / "y.h5")


def test_caches_of_other_classes_are_made_anew(file, tmp_path):
    data = tmp_path / "d.h5"
    shutil.copy(file, data)
    for _ in range(2):
        RadioMLData(data, kind=CacheKind(Layout(128, 2, 11), exact=True)).setup()
    with pytest.raises(BadInput, match=r"Y has shape \(440, 11\), expected \(440, 12\)"):
        RadioMLData(data, kind=CacheKind(Layout(128, 2, 12), exact=True)).setup()


def test_names_of_nodes_at_the_top_of_a_network(trained):
    loaded = checkpoints.load(trained["Straight"], trust=Trust(True))
    names = [node.name for node in to_qonnx(loaded).graph.node]
    assert any(name.startswith("network.") for name in names)
