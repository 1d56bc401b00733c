"""What a command left for itself to go on from is refused, or made anew, when it is damaged."""

import json

import pytest

from tests.campaign.harness import copy, refuse

TRAIN = "train aaronnet32 -o out --data data.h5 --epochs 1 --batch-size 16"
PRUNE = "prune net.pth -o out --data data.h5 --rounds 1 --t0 1 --batch-size 16"
SHAPELESS = {
    "text": b"hello",
    "cut": b'{"rows": [',
    "a list": b"[]",
    "nothing": b"{}",
    "empty": b"",
}


@pytest.mark.parametrize("kind", SHAPELESS)
def test_train(base, command, kind):
    copy(base, ("data.h5",), command.folder)
    (command.folder / "out").mkdir()
    (command.folder / "out" / "state.ckpt").write_bytes(SHAPELESS[kind])
    assert command("data", "cache", "data.h5").code == 0
    refuse(command, TRAIN, "state.ckpt")


TABLES = SHAPELESS | {
    "rows none": json.dumps({"rows": None, "identity": {}}).encode(),
    "identity of text": json.dumps({"rows": [], "identity": "x"}).encode(),
}


@pytest.mark.parametrize("kind", TABLES)
def test_prune(base, command, kind):
    copy(base, ("data.h5", "net.pth"), command.folder)
    (command.folder / "out").mkdir()
    (command.folder / "out" / "prune.json").write_bytes(TABLES[kind])
    assert command("data", "cache", "data.h5").code == 0
    refuse(command, PRUNE, "prune.json")


@pytest.mark.parametrize("kind", SHAPELESS)
def test_demo(command, kind):
    (command.folder / "out").mkdir()
    (command.folder / "out" / "settings.json").write_bytes(SHAPELESS[kind])
    refuse(command, "demo -o out", "out")
