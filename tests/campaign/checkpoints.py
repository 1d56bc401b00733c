"""Malformed checkpoints: what is changed in a good one's content, or which bytes stand there."""

import contextlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from models import checkpoint

Content = dict[str, Any]
WEIGHT = "classifier.0.weight"


class Evil:
    """Would run code when it is unpickled."""

    def __reduce__(self):
        return (print, ("run!",))


def rewritten(change: Callable[[Content], Any]) -> Callable[[Path], None]:
    """Change the content of a checkpoint; what `change` returns, if anything, takes its place."""

    def damage(path: Path) -> None:
        content = torch.load(path, weights_only=True)
        replaced = change(content)
        if replaced is None:
            with contextlib.suppress(Exception):  # not everything has one
                content["digest"] = checkpoint.digest(content)
        torch.save(content if replaced is None else replaced, path)

    return damage


def config(**changes: Any) -> Callable[[Path], None]:
    return rewritten(lambda content: content["config"].update(changes))


def info(**changes: Any) -> Callable[[Path], None]:
    return rewritten(lambda content: content["info"].update(changes))


def weight(change: Callable[[torch.Tensor], Any]) -> Callable[[Path], None]:
    def put(content: Content) -> None:
        content["state_dict"][WEIGHT] = change(content["state_dict"][WEIGHT])

    return rewritten(put)


def without(*keys: str) -> Callable[[Path], None]:
    def drop(content: Content) -> None:
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return rewritten(drop)


def bytes_of(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: void(path.write_bytes(change(path.read_bytes())))


def void(_: object) -> None:
    return None


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def filled(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(tensor: torch.Tensor) -> torch.Tensor:
        tensor.view(-1)[3] = value
        return tensor

    return change


def zip_of(name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, text)
    return buffer.getvalue()


UNREADABLE: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: path.unlink(),
    "a folder": folder_instead,
    "empty": bytes_of(lambda data: b""),
    "text": bytes_of(lambda data: b"# not a checkpoint\n"),
    "four bytes": bytes_of(lambda data: data[:4]),
    "cut in half": bytes_of(lambda data: data[: len(data) // 2]),
    "cut by a byte": bytes_of(lambda data: data[:-1]),
    "without its head": bytes_of(lambda data: data[64:]),
    "another zip": bytes_of(lambda data: zip_of("a.txt", "hello")),
    "a zip with a broken pickle": bytes_of(lambda data: zip_of("archive/data.pkl", "nonsense")),
    "code": rewritten(lambda content: {"a": Evil()}),
}

MALFORMED: dict[str, Callable[[Path], None]] = UNREADABLE | {
    "no dictionary": rewritten(lambda content: [1, 2]),
    "a tensor": rewritten(lambda content: torch.zeros(3)),
    "a number": rewritten(lambda content: 7),
    "nothing": rewritten(lambda content: {}),
    "numbers as keys": rewritten(lambda content: {1: torch.zeros(1)}),
    "a foreign state dict": rewritten(lambda content: {"fc.weight": torch.zeros(2, 2)}),
    "a VGG10 of one layer": rewritten(lambda content: {"1.weight": torch.zeros(64, 2, 3)}),
    "a VGG10 of text": rewritten(lambda content: {"1.weight": "text"}),
    "scalars for layers": rewritten(
        lambda content: {f"{i}.weight": torch.tensor(1.0) for i in range(31)}
    ),
    "no format": without("format"),
    "format 2": rewritten(lambda content: content.update(format=2)),
    "format of text": rewritten(lambda content: content.update(format="1")),
    "format true": rewritten(lambda content: content.update(format=True)),
    "an unknown key": rewritten(lambda content: content.update(more=1)),
    "no config": without("config"),
    "config none": rewritten(lambda content: content.update(config=None)),
    "config a list": rewritten(lambda content: content.update(config=[1])),
    "config of text": rewritten(lambda content: content.update(config="aaronnet32")),
    "config empty": rewritten(lambda content: content.update(config={})),
    "config with more": config(more=1),
    **{f"no {key} in config": without("config", key) for key in ("name", "filters", "act_bits")},
    "unknown family": config(family="resnet"),
    "family none": config(family=None),
    "family a list": config(family=["aaronnet"]),
    "name a number": config(name=7),
    "name a list": config(name=["a"]),
    "filters none": config(filters=None),
    "filters of text": config(filters="333333"),
    "filters a number": config(filters=6),
    "filters empty": config(filters=[]),
    "filters too many": config(filters=[3] * 7),
    "filters float": config(filters=[6.0, 4.0, 4.0, 4.0, 4.0, 4.0]),
    "filters nested": config(filters=[[6], 4, 4, 4, 4, 4]),
    "filters negative": config(filters=[6, 4, -4, 4, 4, 4]),
    "filters endless": config(filters=[6, 4, 4, 4, 4, 10**12]),
    "filters true": config(filters=[6, 4, 4, 4, 4, True]),
    "dense zero": config(dense=0),
    "dense float": config(dense=8.0),
    "dense of text": config(dense="8"),
    "dense none": config(dense=None),
    "bits float": config(act_bits=6.0),
    "bits half": config(weight_bits=5.5),
    "bits of text": config(input_bits="6"),
    "bits none": config(act_bits=None),
    "bits NaN": config(act_bits=float("nan")),
    "bits true": config(act_bits=True),
    "bits 99": config(weight_bits=99),
    "block bits of text": config(block_bits="8"),
    "block bits zero": config(block_bits=0),
    "no info": without("info"),
    "info none": rewritten(lambda content: content.update(info=None)),
    "info a list": rewritten(lambda content: content.update(info=[1])),
    "info of text": rewritten(lambda content: content.update(info="hello")),
    "label a number": info(data_label=7),
    "label none": info(data_label=None),
    "accuracy of text": info(accuracy="high"),
    "accuracy NaN": info(accuracy=float("nan")),
    "no state": without("state_dict"),
    "state none": rewritten(lambda content: content.update(state_dict=None)),
    "state a list": rewritten(lambda content: content.update(state_dict=[torch.zeros(1)])),
    "state of text": rewritten(lambda content: content.update(state_dict="weights")),
    "state empty": rewritten(lambda content: content.update(state_dict={})),
    "a tensor less": without("state_dict", WEIGHT),
    "a tensor more": rewritten(lambda content: content["state_dict"].update(x=torch.zeros(1))),
    "a number as a name": rewritten(
        lambda content: content["state_dict"].update({1: torch.ones(1)})
    ),
    "weight none": weight(lambda tensor: None),
    "weight of text": weight(lambda tensor: "heavy"),
    "weight a number": weight(lambda tensor: 1.0),
    "weight a list": weight(lambda tensor: tensor.tolist()),
    "weight NaN": weight(filled(float("nan"))),
    "weight infinite": weight(filled(float("inf"))),
    "weight sparse": weight(lambda tensor: tensor.to_sparse()),
    "weight transposed": weight(lambda tensor: tensor.T.contiguous()),
    "weight flat": weight(lambda tensor: tensor.reshape(-1)),
    "weight integer": weight(lambda tensor: tensor.to(torch.int64)),
    "weight complex": weight(lambda tensor: tensor.to(torch.complex64)),
    "weight Boolean": weight(lambda tensor: tensor > 0),
    "weight quantized": weight(lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8)),
    "weight elsewhere": weight(lambda tensor: tensor.to("meta")),
}
