"""Every command that reads a checkpoint refuses malformed ones."""

import pytest

from tests.campaign.checkpoints import MALFORMED
from tests.campaign.harness import copy, refuse

DATA = "--data data.h5"
READERS = {
    "export": "export bad.pth -o out/net.onnx --json out.json",
    "test": f"test bad.pth {DATA} --pictures out --json out.json",
    "train": f"train bad.pth -o out {DATA} --epochs 1 --batch-size 16 --json out.json",
    "train's teacher": f"train aaronnet32 -o out {DATA} --epochs 1 --teacher bad.pth",
    "prune": f"prune bad.pth -o out {DATA} --rounds 1 --t0 1 --batch-size 16",
    "prune's teacher": f"prune net.pth -o out {DATA} --rounds 1 --t0 1 --teacher bad.pth",
    "quantize": f"quantize bad.pth -o out/hard.pth {DATA}",
    "build": "build bad.pth -o out",
    "report": f"report net.pth bad.pth {DATA} -o out/report.html",
    "fidelity": "data fidelity data.h5 --checkpoint bad.pth -o out/picture.png",
    "zoo": f"zoo add bad.pth mine {DATA}",
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_cost(base, command, kind):
    copy(base, ("net.pth",), command.folder)
    bad = (command.folder / "net.pth").rename(command.folder / "bad.pth")
    MALFORMED[kind](bad)
    refuse(command, "cost bad.pth --json out/cost.json", "bad.pth")


@pytest.mark.parametrize("kind", ["missing", "cut in half", "no config", "weight NaN"])
@pytest.mark.parametrize("reader", READERS)
def test_other_commands(base, command, reader, kind):
    copy(base, ("net.pth", "data.h5"), command.folder)
    bad = command.folder / "bad.pth"
    bad.write_bytes((base / "net.pth").read_bytes())
    MALFORMED[kind](bad)
    refuse(command, READERS[reader], "bad.pth")
