"""Every Dockerfile built for real, without a Docker engine or an image registry.

buildah executes the RUN steps in a chroot, on a base that debootstrap unpacks from a Debian mirror.
Needs root, both tools (Debian: apt-get install buildah debootstrap), 25 GB of disk and half an hour
or more; docs/docker.md tells how to run it. Environment:

    AARONNET_IMAGE_STORE    folder for base and layers; kept, so that a second run goes on from them
    AARONNET_DEBIAN_MIRROR  default http://deb.debian.org/debian
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import pytest

from models import zoo
from tests.conftest import ROOT

KINDS = ("train", "finn", "board")
BASE = "localhost/aaronnet-base:bookworm"
STRANGER = "4321:4321"  # a user id that the image knows nothing of, as `run-docker.sh` passes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("buildah") and shutil.which("debootstrap") and os.getuid() == 0),
        reason="needs root, buildah and debootstrap (apt-get install buildah debootstrap)",
    ),
]


class Images:
    """Images in a store of our own."""

    def __init__(self, store: Path):
        self.store = store
        self.options = ["--root", store / "layers", "--runroot", store / "run"]

    def buildah(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        verb, *rest = map(str, arguments)
        return subprocess.run(
            ["buildah", *map(str, self.options), verb, *rest],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )

    def done(self, *arguments: object) -> str:
        """Run buildah, which must succeed; returns what it said."""
        done = self.buildah(*arguments)
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout.strip()

    def make_base(self) -> None:
        """Unpack a minimal Debian 12 into the image BASE, unless it is there."""
        if self.buildah("inspect", "--type", "image", BASE).returncode == 0:
            return
        tree = self.store / "base"
        shutil.rmtree(tree, ignore_errors=True)
        mirror = os.environ.get("AARONNET_DEBIAN_MIRROR", "http://deb.debian.org/debian")
        subprocess.run(
            ["debootstrap", "--variant=minbase", "bookworm", tree, mirror],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        container = self.done("from", "scratch")
        self.done("add", "--quiet", container, tree, "/")
        self.done("commit", "--quiet", "--rm", container, BASE)
        shutil.rmtree(tree)

    def build(self, kind: str) -> str:
        """Build a Dockerfile; returns the image's name."""
        name = f"localhost/aaronnet-{kind}"
        self.done(
            *("bud", "--isolation", "chroot", "--format", "docker", "--layers", "--pull-never"),
            *("--build-arg", f"BASE={BASE}", "--tag", name),
            *pip_volumes(self.store / "pip"),
            *("--file", ROOT / "docker" / f"Dockerfile.{kind}", ROOT),
        )
        return name

    def run(self, image: str, work: Path, *command: object, user: str = STRANGER) -> str:
        """Run a command, which must succeed, in a new container; `work` is its /workspace."""
        container = self.done("from", "--pull-never", image)
        try:
            self.done("config", "--workingdir", "/workspace", container)
            return self.done(
                *("run", "--isolation", "chroot", "--user", user, "--volume", f"{work}:/workspace"),
                *("--env", "HOME=/tmp", "--env", "AARONNET_CACHE=/workspace/cache"),
                *(container, "--", *command),
            )
        finally:
            self.done("rm", container)


def pip_volumes(folder: Path) -> list[str]:
    """Return options that give pip in the build this machine's settings (indexes, certificates).

    They are mounted, so that nothing of them stays in the image. Single files are copied to
    /etc/pip; folders appear under their own path.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    settings, mounts = {}, {f"{folder}/pip.conf:/etc/pip.conf:ro", f"{folder}:/etc/pip:ro"}
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        words = []
        for word in value.strip("'\"").split():
            url = urlparse(word)
            path = Path(url.path)
            if url.scheme in ("", "file") and path.is_absolute() and path.exists():
                if path.is_file():
                    shutil.copy(path, folder)
                    word = f"/etc/pip/{path.name}"
                else:
                    # The pages of an index link to its files by relative paths.
                    top = path.parent if url.scheme else path
                    mounts.add(f"{top}:{top}:ro")
            words.append(word)
        settings[name.strip().rpartition(".")[2]] = " ".join(words)
    lines = ["[global]", *(f"{name} = {value}" for name, value in settings.items())]
    (folder / "pip.conf").write_text("\n".join(lines) + "\n")
    return [word for mount in sorted(mounts) for word in ("--volume", mount)]


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Iterator[Images]:
    kept = os.environ.get("AARONNET_IMAGE_STORE")
    store = Path(kept).absolute() if kept else tmp_path_factory.mktemp("images")
    store.mkdir(parents=True, exist_ok=True)
    images = Images(store)
    images.make_base()
    yield images
    if not kept:
        images.buildah("rmi", "--all", "--force")


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    folder.chmod(0o777)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_the_image_scores_a_network_for_any_user(images, work, kind):
    started = time.monotonic()
    name = images.build(kind)
    seconds = time.monotonic() - started
    files = int(images.run(name, work, "du", "-sbx", "/", user="0").splitlines()[-1].split()[0])
    said = images.run(name, work, "aaronnet", "cost", "aaronnet32+")
    (score,) = re.findall(r"score\W+(0\.\d+)", said)
    print(f"{name}: {seconds:.0f} s, {files / 1e9:.2f} GB, score {score}")
    (card,) = (entry.card for entry in zoo.entries() if entry.name == "aaronnet32+")
    assert float(score) == pytest.approx(card["score"], abs=5e-7)  # it prints six digits
    user = images.done("inspect", "--type", "image", "--format", "{{.OCIv1.Config.User}}", name)
    assert user == "1000"
    # Settings of the build's pip are those of one machine.
    assert images.run(name, work, "cat", "/etc/pip.conf") == ""


def test_from_a_checkpoint_to_a_virtual_board(images, work):
    finn, board = images.build("finn"), images.build("board")
    entry = "/opt/aaronnet/docker/with-xilinx.sh"

    def aaronnet(image: str, command: str) -> str:
        started = time.monotonic()
        said = images.run(image, work, entry, "aaronnet", *command.split())
        print(f"aaronnet {command}: {time.monotonic() - started:.0f} s\n{said}", flush=True)
        return said

    aaronnet(finn, "data synth data.h5 --frames-per-cell 4")
    aaronnet(finn, "quantize aaronnet32+ -o net.pth --data data.h5")
    # A slow accelerator is a small one: quick to compile and to synthesise.
    aaronnet(finn, "build net.pth --board ZCU104 --fps 10000 --to hdl -o out")
    assert re.search(r"mismatches\W+0\b", aaronnet(finn, "simulate out --frames 24"))
    said = aaronnet(board, "deploy out/package -n 24 --address 127.0.0.77")
    assert re.search(r"agreement with the network: (\d+) of \1 frames", said)
    assert re.search(r"LUT\W+\d", aaronnet(finn, "synth out"))
    assert "cannot set" not in images.run(finn, work, "locale").lower()


def test_the_board_image_has_kernels_for_all_notebooks(images, work):
    name = images.build("board")
    kernels = json.loads(images.run(name, work, "jupyter", "kernelspec", "list", "--json"))
    assert {"board", "python3"} <= set(kernels["kernelspecs"])
    python = kernels["kernelspecs"]["board"]["spec"]["argv"][0]
    code = "import ipykernel, matplotlib, pynq; print(pynq.__version__)"
    assert images.run(name, work, python, "-c", code).splitlines()[-1] == "4.0.0"
    assert images.run(name, work, "jupyter", "lab", "--version")
