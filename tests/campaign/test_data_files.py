"""Every command that reads frames refuses malformed files."""

import pytest

from tests.campaign.data_files import MALFORMED
from tests.campaign.harness import copy, refuse

READERS = {
    "data show": "data show bad.h5 -o out/picture.png",
    "data fidelity": "data fidelity bad.h5 --checkpoint net.pth -o out/picture.png",
    "data cache": "data cache bad.h5",
    "train": "train aaronnet32 -o out --data bad.h5 --epochs 1 --batch-size 16",
    "prune": "prune net.pth -o out --data bad.h5 --rounds 1 --t0 1 --batch-size 16",
    "test": "test net.pth --data bad.h5 --pictures out",
    "quantize": "quantize net.pth -o out/hard.pth --data bad.h5",
    "build": "build hard.pth --style dense -o out --data bad.h5",
    "expect": "board expect package --data bad.h5 -o out.h5",
    "report": "report net.pth --data bad.h5 -o out/report.html",
    "zoo": "zoo add net.pth mine --data bad.h5",
}


def damaged(base, command, kind, *others):
    copy(base, ("data.h5", *others), command.folder)
    MALFORMED[kind]((command.folder / "data.h5").rename(command.folder / "bad.h5"))


@pytest.mark.parametrize("kind", MALFORMED)
def test_info(base, command, kind):
    damaged(base, command, kind)
    refuse(command, "data info bad.h5 --all --json out/info.json", "bad.h5")


@pytest.mark.parametrize(
    ("reader", "kind"),
    [
        (reader, kind)
        for reader in READERS
        for kind in ("missing", "cut in half", "no Y", "X NaN", "Z odd")
        if (reader, kind) != ("build", "X NaN")  # it looks at a few frames only
        and (reader != "zoo" or kind == "Z odd")  # it counts the network's cost first
    ],
)
def test_other_commands(base, command, reader, kind):
    damaged(base, command, kind, "net.pth", "hard.pth", "package")
    refuse(command, READERS[reader], "bad.h5")
