"""Files that are damaged, malformed or hostile: one line each, or the same result."""

import contextlib
import io
import json
import random
import zipfile

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper

from models import checkpoint
from models.cost import inference_cost
from models.errors import BadInput
from models.export import export, load_onnx, read_metadata
from tests.conftest import ROOT
from tests.models.test_checkpoint import TINY, trained

NORM = "classifier.1"
WEIGHT = "classifier.0.weight"
FLIPS = 48


@pytest.fixture(scope="module")
def good() -> dict:
    """What a checkpoint file holds."""
    state = trained(TINY).state_dict()
    row = {"epoch": 0, "phase": "float", "frames": 8, "val_accuracy": 0.1}
    info = {"data_label": "synthetic", "seed": 1, "command": "train", "history": [row]}
    return checkpoint.to_content(state, TINY, info)


def changed(good: dict, place: str, value: object) -> dict:
    """Return a copy with the value at `a.b` changed, or removed if it is `...`; digest renewed."""
    content = {**good, "config": dict(good["config"]), "info": dict(good["info"])}
    content["state_dict"] = dict(good["state_dict"])
    section, _, key = place.partition(".")
    target = content[section] if key else content
    if value is ...:
        del target[key or section]
    else:
        target[key or section] = value
    with contextlib.suppress(Exception):  # not everything has one
        content["digest"] = checkpoint.digest(content)
    if place == "digest":
        content["digest"] = value
    return content


NAN, ESCAPE = float("nan"), "\x1b[31mred"

SECTIONS = [(key, value) for key in ("config", "info", "state_dict") for value in (
    ..., None, [], "text", 3, {3: 4})]  # fmt: skip
CONFIG = [
    *[("config." + key, ...) for key in TINY.to_dict() if key != "block_bits"],
    *[("config.name", value) for value in (3, None, "", "../x", "/etc", "a b", "[/x]", ESCAPE)],
    *[("config.name", value) for value in ("a" * 65, "a\nb", "-o")],
    *[("config.family", value) for value in (None, 3, "resnet", "vgg10", [])],
    *[("config.filters", value) for value in (None, 3, [], [3] * 5, [3.0] * 6, ["3"] * 6)],
    ("config.filters", (3,) * 6),
    *[("config.filters", [3, 4, 4, 4, 4, value]) for value in (0, -1, True, None, 10**9, 5)],
    *[("config.dense", value) for value in (0, 5.0, "5", None, 10**6, 6)],
    *[("config.input_bits", value) for value in (6.0, "6", None, 1, 17, True)],
    *[("config.weight_bits", value) for value in (6.0, "6", None, 1, 17)],
    *[("config.act_bits", value) for value in (NAN, [6], 0)],
    *[("config.block_bits", value) for value in (6.0, 0, 17, "6", 8)],
    ("config.depth", 3),
]  # fmt: skip
INFO = [
    *[("info.data_label", value) for value in (3, None, ["x"], ESCAPE, "a\nb", "x" * 2000)],
    *[("info.accuracy", value) for value in ("0.5", NAN, 1.5, -0.1, None)],
    *[("info.seed", value) for value in (1.0, "1", None)],
    *[("info.history", value) for value in ({}, [3], [{}], "x", None)],
    ("info.history", [{"phase": "x", "frames": -1, "val_accuracy": 0.1}]),
    ("info.history", [{"phase": "x", "frames": 1, "val_accuracy": NAN}]),
    *[("info.frames", value) for value in (-1, 1.5, "1")],
    *[("info.recipe", value) for value in ([], "x", {"a": torch.zeros(1)})],
    *[("info.mine", value) for value in (torch.zeros(1), NAN, {"a": {1, 2}}, b"x", 1j)],
]  # fmt: skip
STATE = [
    *[(f"state_dict.{WEIGHT}", value) for value in (..., None, 3, "x", [1.0])],
    (f"state_dict.{WEIGHT}", torch.zeros(5, 4).to_sparse()),
    (f"state_dict.{WEIGHT}", torch.zeros(5, 4).to_sparse_csr()),
    (f"state_dict.{WEIGHT}", torch.zeros(5, 4, dtype=torch.float64)),
    (f"state_dict.{WEIGHT}", torch.zeros(5, 4, dtype=torch.float16)),
    (f"state_dict.{WEIGHT}", torch.zeros(5, 4, dtype=torch.complex64)),
    (f"state_dict.{WEIGHT}", torch.zeros(5, 4, dtype=torch.bool)),
    (f"state_dict.{WEIGHT}", torch.zeros(5, 4, device="meta")),
    (f"state_dict.{WEIGHT}", torch.quantize_per_tensor(torch.zeros(5, 4), 1, 0, torch.qint8)),
    (f"state_dict.{WEIGHT}", torch.zeros(4, 5)),
    (f"state_dict.{WEIGHT}", torch.tensor(1.0)),
    (f"state_dict.{WEIGHT}", torch.full((5, 4), NAN)),
    (f"state_dict.{WEIGHT}", torch.full((5, 4), float("inf"))),
    (f"state_dict.{NORM}.running_var", torch.full((5,), -1.0)),
    (f"state_dict.{NORM}.num_batches_tracked", torch.tensor(-1)),
    (f"state_dict.{NORM}.num_batches_tracked", torch.tensor(1.0)),
    ("state_dict.[/x]", torch.zeros(1)),
    ("state_dict", {"state_dict": {}}),
]
OTHER = [
    *[("format", value) for value in (..., None, 2, "1", 1.5)],
    *[("digest", value) for value in (3, "", "x", "0" * 64)],
    ("extra", 3),
]
CHANGES = [*SECTIONS, *CONFIG, *INFO, *STATE, *OTHER]


@pytest.mark.parametrize(("place", "value"), CHANGES, ids=lambda value: str(value)[:40])
def test_a_malformed_checkpoint_is_refused(good, tmp_path, place, value):
    torch.save(changed(good, place, value), tmp_path / "bad.pth")
    refused_in_a_line(checkpoint.load, tmp_path / "bad.pth")


def refused_in_a_line(load, path) -> None:
    with pytest.raises(BadInput) as refused:
        load(path)
    text = str(refused.value)
    assert text.isprintable() and len(text) < 1000, text


def bare(good: dict) -> dict:
    return dict(good["state_dict"])


@pytest.mark.parametrize(
    "content",
    [
        *[None, 3, "text", [], {}, torch.zeros(3), {"a": 3}, {3: torch.zeros(1)}, {"": {}}],
        lambda good: bare(good) | {"expand.branch1.0.weight": torch.tensor(1.0)},
        lambda good: bare(good) | {"expand.branch1.0.weight": 3},
        lambda good: bare(good) | {"expand.branch1.0.weight": torch.zeros(0, 2, 32)},
        lambda good: bare(good) | {"expand.branch1.0.weight": torch.zeros(5000, 2, 32)},
        lambda good: {"1.weight": torch.zeros(64, 2, 3)},
        lambda good: {"1.weight": torch.tensor(3.0), "30.weight": torch.tensor(1.0)},
    ],
    ids=range(15),
)
def test_what_is_no_checkpoint_is_refused(good, tmp_path, content):
    torch.save(content(good) if callable(content) else content, tmp_path / "bad.pth")
    refused_in_a_line(checkpoint.load, tmp_path / "bad.pth")


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


BYTES = {
    "empty": b"",
    "zeros": bytes(4096),
    "text": b"# no checkpoint\n" * 40,
    "pickle": b"\x80\x02}q\x00.",
    "stack": b"\x80\x02\x85.",
    "opcode": b"\x80\x02\xff.",
    "global": b"cos\nsystem\n(S'true'\ntR.",
    "long": b"\x80\x02\x8a\xff" + bytes(300) + b".",
    "zip": zipped(),
    "other zip": zipped(a=b"b"),
    "no tensors": zipped(archive__data=b"x"),
    "no pickle": zipped(archive__version=b"3\n"),
    "end only": b"PK\x05\x06" + bytes(18),
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(100),
}


@pytest.mark.parametrize("content", BYTES.values(), ids=BYTES)
def test_bytes_that_are_no_checkpoint_are_refused(tmp_path, content):
    (tmp_path / "bad.pth").write_bytes(content)
    refused_in_a_line(checkpoint.load, tmp_path / "bad.pth")


def test_a_checkpoint_of_before_and_one_with_strange_text_load(good, tmp_path, caplog):
    frames = torch.randn(2, 2, 1024)
    path = tmp_path / "old.pth"
    torch.save({key: value for key, value in good.items() if key != "digest"}, path)
    old = checkpoint.load(path)
    assert "has no digest" in caplog.text
    checkpoint.save(path, old.network, TINY, {"data_label": "[/x]\x1b[31m"})
    caplog.clear()
    new = checkpoint.load(path)
    assert new.data_label == r"[/x]\x1b[31m" and not caplog.text
    assert torch.equal(new.network(frames), old.network(frames))


def test_commands_show_such_text_as_it_is(tmp_path, cli):
    checkpoint.save(tmp_path / "t.pth", trained(TINY), TINY, {"data_label": "real [/x] :smile:"})
    shown = cli("cost", tmp_path / "t.pth")
    assert "real [/x] :smile:" in shown.stdout and shown.stderr == ""
    old = torch.load(tmp_path / "t.pth")
    del old["digest"]
    torch.save(old, tmp_path / "t.pth")
    assert cli("cost", tmp_path / "t.pth").stderr == ""
    assert "t.pth has no digest" in cli("cost", tmp_path / "t.pth", "-v").stderr


def flipped(whole: bytes, count: int, seed: int):
    """Yield (place, copy with one bit there flipped)."""
    places = random.Random(seed)
    for _ in range(count):
        place = places.randrange(8 * len(whole))
        copy = bytearray(whole)
        copy[place // 8] ^= 1 << place % 8
        yield place, bytes(copy)


def counted(whole: bytes, path, result, expected, same) -> None:
    refused = equal = 0
    for place, copy in flipped(whole, FLIPS, 0):
        path.write_bytes(copy)
        try:
            found = result(path)
        except BadInput as error:
            assert str(error).isprintable()
            refused += 1
        else:
            assert same(found, expected), f"bit {place} changes the result"
            equal += 1
    print(f"\n{path.suffix}: {FLIPS} flips, {refused} refused, {equal} with the same result")
    assert refused > FLIPS / 2


def test_a_flipped_bit_of_a_checkpoint_changes_nothing(tmp_path):
    whole = (ROOT / "models" / "zoo" / "aaronnet32++-hw8.pth").read_bytes()
    frames = torch.randn(4, 2, 1024)

    def result(path):
        loaded = checkpoint.load(path)
        with torch.no_grad():
            return loaded.network(frames), loaded.config, loaded.info | {"sha256": ""}

    def same(found, expected):
        return torch.equal(found[0], expected[0]) and found[1:] == expected[1:]

    path = tmp_path / "x.pth"
    path.write_bytes(whole)
    counted(whole, path, result, result(path), same)
    copy = bytearray(whole)
    copy[61898] ^= 1 << 6  # one that changed an accuracy from 0.554 to 0.244
    path.write_bytes(copy)
    with pytest.raises(BadInput, match="damaged"):
        checkpoint.load(path)


@pytest.fixture(scope="module")
def exported(good, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("onnx") / "x"
    torch.save(good, path.with_suffix(".pth"))
    export(checkpoint.load(path.with_suffix(".pth")), path.with_suffix(".onnx"))
    return path.with_suffix(".onnx").read_bytes()


def test_a_flipped_bit_of_an_exported_model_changes_nothing(exported, tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(exported)

    def result(path):
        model = load_onnx(path)
        entries = [p for p in model.model.metadata_props if p.key in LABELS]
        return sorted((p.key, p.value) for p in entries), [
            model.graph.SerializeToString(deterministic=True),
            [opset.SerializeToString() for opset in model.model.opset_import],
        ]

    counted(exported, path, result, result(path), lambda found, expected: found == expected)


LABELS = ("aaronnet.config", "aaronnet.checkpoint_sha256", "aaronnet.data_label")


def model(**changes) -> onnx.ModelProto:
    """Return a third party's model: one dense layer on the flattened frame."""
    weights = changes.get("weights", numpy_helper.from_array(np.eye(2048, 5, dtype="f4"), "w"))
    graph = helper.make_graph(
        changes.get(
            "nodes",
            [
                helper.make_node("Flatten", ["x"], ["flat"]),
                helper.make_node("MatMul", ["flat", "w"], ["y"]),
            ],
        ),
        "foreign",
        [helper.make_tensor_value_info("x", *changes.get("input", (FLOAT, (1, 2, 1024))))],
        [helper.make_tensor_value_info("y", FLOAT, (1, 5))],
        [weights],
    )
    opsets = [helper.make_opsetid("", changes.get("opset", 18))]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


FLOAT = TensorProto.FLOAT


def tensor(**changes) -> onnx.TensorProto:
    """Return the dense layer's weights, changed."""
    made = numpy_helper.from_array(np.eye(2048, 5, dtype=changes.get("type", "f4")), "w")
    for key, value in changes.items():
        if key == "raw_data":
            made.raw_data = value
        elif key == "data_type":
            made.data_type = value
        elif key == "dims":
            del made.dims[:]
            made.dims.extend(value)
        elif key == "value":
            values = np.eye(2048, 5, dtype="f4")
            values[7, 3] = value
            made = numpy_helper.from_array(values, "w")
    return made


def with_property(key: str, value: str) -> bytes:
    made = model()
    made.metadata_props.add(key=key, value=value)
    return made.SerializeToString()


def outside(location: str) -> onnx.TensorProto:
    made = tensor(raw_data=b"")
    made.ClearField("raw_data")
    made.data_location = TensorProto.EXTERNAL
    made.external_data.add(key="location", value=location)
    return made


def cut(part: float) -> bytes:
    whole = model().SerializeToString()
    return whole[: int(len(whole) * part)]


LOOP = [helper.make_node("Relu", ["b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
GRAPHS: dict[str, bytes | onnx.ModelProto] = {
    "empty": b"",
    "zeros": bytes(500),
    "text": b"no model\n" * 9,
    "zip": zipped(a=b"b"),
    **{f"cut at {part}": cut(part) for part in (0.001, 0.01, 0.5, 0.9, 0.999)},
    "nan": model(weights=tensor(value=NAN)),
    "infinite": model(weights=tensor(value=np.inf)),
    "nan attribute": model(nodes=[helper.make_node("Elu", ["x"], ["y"], alpha=NAN)]),
    "short data": model(weights=tensor(raw_data=b"abc")),
    "long data": model(weights=tensor(raw_data=bytes(50_000))),
    "odd data": model(weights=tensor(raw_data=bytes(4 * 2048 * 5 + 1))),
    "no type": model(weights=tensor(data_type=0)),
    "unknown type": model(weights=tensor(data_type=99)),
    "negative size": model(weights=tensor(dims=(-2048, 5))),
    "huge size": model(weights=tensor(dims=(1 << 40, 1 << 40))),
    "other size": model(weights=tensor(dims=(5, 5))),
    "no nodes": model(nodes=[]),
    "dangling": model(nodes=[helper.make_node("Relu", ["nowhere"], ["y"])]),
    "loop": model(nodes=LOOP),
    "unknown operator": model(nodes=[helper.make_node("Nonsense", ["x"], ["y"])]),
    "two inputs too few": model(nodes=[helper.make_node("MatMul", ["x"], ["y"])]),
    "opset 0": model(opset=0),
    "no shape": model(input=(FLOAT, None)),
    "batch 2": model(input=(FLOAT, (2, 2, 1024))),
    "free batch": model(input=(FLOAT, ("N", 2, 1024))),
    "flat": model(input=(FLOAT, (2048,))),
    "outside": model(weights=outside("../../../etc/hostname")),
    "absolute": model(weights=outside("/etc/hostname")),
    "missing": model(weights=outside("none.bin")),
    "wrong digest": with_property("aaronnet.digest", "0" * 64),
    "empty digest": with_property("aaronnet.digest", ""),
    "hdf5": BYTES["hdf5"],
}


@pytest.mark.parametrize("content", GRAPHS.values(), ids=GRAPHS)
def test_a_malformed_model_is_refused(tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())

    def counted(path):
        inference_cost(load_onnx(path), str(path))

    refused_in_a_line(counted, path)


def test_there_are_as_many_as_there_are_to_be():
    print(f"\n{len(CHANGES)} + 15 + {len(BYTES)} checkpoints, {len(GRAPHS)} models")
    assert len(CHANGES) + len(GRAPHS) >= 150


def test_a_models_digest_is_told_of(exported, tmp_path, caplog):
    (tmp_path / "ours.onnx").write_bytes(exported)
    (tmp_path / "foreign.onnx").write_bytes(model().SerializeToString())
    assert load_onnx(tmp_path / "ours.onnx").get_metadata_prop("aaronnet.digest") is None
    assert not caplog.text
    load_onnx(tmp_path / "foreign.onnx")
    assert "foreign.onnx has no digest" in caplog.text


def test_what_is_no_configuration_is_refused_in_a_model():
    for value in ("{", "3", "{}", json.dumps(TINY.to_dict() | {"input_bits": 6.0})):
        made = ModelWrapper(onnx.load_from_string(with_property("aaronnet.config", value)))
        with pytest.raises(BadInput, match=r"the model's aaronnet\.config"):
            read_metadata(made)
