"""run-docker.sh against a stand-in for docker that records how it was called."""

import os
import re
import shutil
import subprocess

import pytest

from tests.conftest import ROOT

STAND_IN = """#!/usr/bin/env bash
(IFS=$'\\x1f'; echo "$*") >> "$RECORD"
case "$1 ${2:-}" in
info*) exit "${DOCKER_INFO:-0}" ;;
"image inspect") exit "${IMAGE_MISSING:-0}" ;;
build*) echo "what docker build prints"; exit "${BUILD:-0}" ;;
esac
"""
TOOLS = ("bash", "cat", "dirname", "env", "id", "mkdir", "realpath")
PLAIN = {
    "train": (
        "train",
        "prune",
        "test",
        "cost",
        "export",
        "quantize",
        "report",
        "data",
        "zoo",
        "doctor",
    ),
    "finn": ("build", "simulate", "synth", "boards"),
    "board": ("deploy", "board"),
}
XILINX = {"FINN_XILINX_PATH": "xilinx", "FINN_XILINX_VERSION": "2022.2"}


class Calls:
    """The recorded calls of docker, and what the last one, `docker run`, was given."""

    def __init__(self, lines):
        self.all = [line.split("\x1f") for line in lines]

    def of(self, verb):
        return [call[1:] for call in self.all if call[0] == verb]

    @property
    def run(self):
        assert self.all[-1][0] == "run"
        return self.all[-1][1:]

    def options(self, name):
        return [value for key, value in zip(self.run, self.run[1:], strict=False) if key == name]

    def command(self, image):
        return self.run[self.run.index(image) + 1 :]


@pytest.fixture
def docker(tmp_path):
    """Run the script where only a few tools and the stand-in exist; returns process and calls."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool))
    (folder / "docker").write_text(STAND_IN)
    (folder / "docker").chmod(0o755)
    record = tmp_path / "calls"

    def run(
        *arguments, missing=None, nvidia_smi=None, script=ROOT / "run-docker.sh", **environment
    ):
        if missing:
            (folder / missing).unlink()
        if nvidia_smi:
            (folder / "nvidia-smi").write_text(f"#!/usr/bin/env bash\n{nvidia_smi}\n")
            (folder / "nvidia-smi").chmod(0o755)
        done = subprocess.run(
            [folder / "bash", script, *arguments],
            env={
                "PATH": str(folder),
                "HOME": str(tmp_path / "home"),
                "RECORD": str(record),
                **environment,
            },
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        return done, Calls(record.read_text().splitlines() if record.exists() else [])

    return run


@pytest.fixture
def xilinx(tmp_path):
    """Make a folder as Xilinx's installer leaves it, with two tools."""
    for tool in ("Vivado", "Vitis_HLS"):
        folder = tmp_path / "xilinx" / tool / "2022.2"
        folder.mkdir(parents=True)
        (folder / "settings64.sh").write_text(f"export PATH={folder}/bin:$PATH\n")
    return tmp_path / "xilinx"


@pytest.mark.parametrize(
    ("kind", "verb"), [(kind, verb) for kind, verbs in PLAIN.items() for verb in verbs]
)
def test_a_verb_runs_the_command_in_its_image(docker, kind, verb):
    done, calls = docker(verb, "--option", "a value")
    assert done.returncode == 0, done.stderr
    assert calls.command(f"aaronnet-{kind}") == [verb, "--option", "a value"]
    assert not calls.of("build")
    assert not calls.options("--entrypoint")
    assert not calls.options("--publish")


def test_the_command_runs_in_the_current_folder_as_the_user(docker, tmp_path):
    _, calls = docker("demo")
    assert calls.command("aaronnet-train") == ["demo"]
    assert f"{tmp_path}:/workspace" in calls.options("--volume")
    assert calls.options("--workdir") == ["/workspace"]
    assert calls.options("--user") == [f"{os.getuid()}:{os.getgid()}"]
    assert "--init" in calls.run  # Ctrl-C must reach the command
    assert "--interactive" not in calls.run


def test_caches_outlive_the_container(docker, tmp_path):
    _, calls = docker("simulate", "out")
    folder = tmp_path / "home" / ".cache" / "aaronnet" / "docker"
    assert folder.is_dir()
    assert f"{folder}:/cache" in calls.options("--volume")
    assert "AARONNET_CACHE=/cache" in calls.options("--env")


def test_score_is_cost_and_a_missing_image_is_built_first(docker):
    done, calls = docker("score", "net.pth", IMAGE_MISSING="1")
    (build,) = calls.of("build")
    assert build[:2] == ["--tag", "aaronnet-train"]
    assert build[-1] == str(ROOT)
    assert str(ROOT / "docker" / "Dockerfile.train") in build
    assert calls.command("aaronnet-train") == ["cost", "net.pth"]
    assert done.stdout == "", "what docker build prints got into what the command prints"


def test_nothing_runs_in_an_image_that_cannot_be_built(docker):
    done, calls = docker("demo", IMAGE_MISSING="1", BUILD="1")
    assert done.returncode == 1
    assert not calls.of("run")


def test_data_is_mounted_read_only(docker, tmp_path):
    (tmp_path / "radio ml").mkdir()
    _, calls = docker("test", "x", AARONNET_DATA="radio ml")
    assert f"{tmp_path}/radio ml:/data:ro" in calls.options("--volume")


@pytest.mark.parametrize(
    ("wanted", "nvidia_smi", "given"),
    [
        ("device=1", None, ["device=1"]),
        ("", "exit 0", ["all"]),
        ("", "exit 9", []),  # a driver without a card
        ("", None, []),
        ("none", "exit 0", []),
    ],
)
def test_gpus(docker, wanted, nvidia_smi, given):
    _, calls = docker("train", nvidia_smi=nvidia_smi, AARONNET_GPU=wanted)
    assert calls.options("--gpus") == given


def test_another_image_may_be_named(docker):
    _, calls = docker("train", AARONNET_IMAGE="registry/mine:1")
    assert calls.command("registry/mine:1") == ["train"]


def test_xilinx_tools_are_mounted_where_they_are(docker, xilinx, tmp_path):
    (tmp_path / "licence.lic").touch()
    _, calls = docker("build", "net.pth", **XILINX, XILINXD_LICENSE_FILE="licence.lic")
    volumes, environment = calls.options("--volume"), calls.options("--env")
    assert f"{xilinx}:{xilinx}:ro" in volumes
    assert f"{tmp_path}/licence.lic:{tmp_path}/licence.lic:ro" in volumes
    assert f"FINN_XILINX_PATH={xilinx}" in environment
    assert "FINN_XILINX_VERSION=2022.2" in environment
    assert f"XILINXD_LICENSE_FILE={tmp_path}/licence.lic" in environment


def test_a_licence_server_is_no_file(docker, xilinx):
    _, calls = docker("synth", "out", **XILINX, XILINXD_LICENSE_FILE="2100@server")
    assert "XILINXD_LICENSE_FILE=2100@server" in calls.options("--env")
    assert not any("2100" in volume for volume in calls.options("--volume"))


def test_new_versions_stand_above_the_tools(docker, tmp_path):
    (tmp_path / "xilinx" / "2025.1" / "Vivado").mkdir(parents=True)
    _, calls = docker("build", FINN_XILINX_PATH="xilinx", FINN_XILINX_VERSION="2025.1")
    assert "FINN_XILINX_VERSION=2025.1" in calls.options("--env")


def test_only_builds_get_xilinx_tools(docker):
    done, calls = docker("train", FINN_XILINX_PATH="/nowhere")
    assert done.returncode == 0, done.stderr
    assert not any("/nowhere" in argument for argument in calls.run)


@pytest.mark.parametrize("port", ["8888", "9000"])
def test_only_this_machine_reaches_the_notebook(docker, port):
    _, calls = docker("notebook", "notebooks", AARONNET_PORT=port)
    assert calls.options("--publish") == [f"127.0.0.1:{port}:{port}"]
    assert calls.options("--entrypoint") == ["jupyter"]
    command = calls.command("aaronnet-board")
    assert command[0] == "lab"
    assert command[command.index("--port") + 1] == port
    assert command[-1] == "notebooks"


def test_only_this_machine_reaches_a_served_board(docker):
    _, calls = docker("board", "serve", "out/package", "--fast")
    assert calls.options("--publish") == ["127.0.0.1:7967:7967"]
    command = calls.command("aaronnet-board")
    assert command == ["board", "serve", "--address", "0.0.0.0", "out/package", "--fast"]


@pytest.mark.parametrize(
    ("arguments", "image", "entry", "command"),
    [
        ([], "aaronnet-train", "bash", []),
        (["board", "-c", "exit"], "aaronnet-board", "bash", ["-c", "exit"]),
        (["finn"], "aaronnet-finn", "/opt/aaronnet/docker/with-xilinx.sh", ["bash"]),
    ],
)
def test_the_shell_replaces_the_command(docker, arguments, image, entry, command):
    _, calls = docker("shell", *arguments)
    assert calls.options("--entrypoint") == [entry]
    assert calls.command(image) == command


def test_images_are_built_with_options_for_docker_build(docker):
    done, calls = docker("image", "finn", "--build-arg", "BASE=debian:bookworm")
    assert done.returncode == 0, done.stderr
    (build,) = calls.of("build")
    assert build[1] == "aaronnet-finn"
    assert build[-3:] == ["--build-arg", "BASE=debian:bookworm", str(ROOT)]
    assert not calls.of("run")


def test_all_images_are_built_by_default(docker):
    _, calls = docker("image", "--no-cache")
    assert [build[1] for build in calls.of("build")] == [f"aaronnet-{kind}" for kind in PLAIN]
    assert all("--no-cache" in build for build in calls.of("build"))


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["fly"], {}, "unknown verb fly"),
        (["demo"], {"DOCKER_INFO": "1"}, "daemon does not answer"),
        (["demo"], {"AARONNET_DATA": "nowhere"}, "AARONNET_DATA=nowhere is no folder"),
        (["demo"], {"AARONNET_CACHE": "calls/x"}, "cannot create the folder for caches calls/x"),
        (["demo"], {"missing": "docker"}, "docker is not installed"),
        (["build"], XILINX | {"FINN_XILINX_PATH": "gone"}, "FINN_XILINX_PATH=gone is no folder"),
        (["build"], {"FINN_XILINX_PATH": "xilinx"}, "FINN_XILINX_VERSION is not set"),
        (["build"], XILINX | {"FINN_XILINX_VERSION": "2020.1"}, "there is no Vivado 2020.1"),
        (["build"], XILINX | {"FINN_XILINX_VERSION": "."}, "FINN_XILINX_VERSION=. is not"),
        (["build"], XILINX | {"XILINXD_LICENSE_FILE": "gone.lic"}, "gone.lic is not a file"),
        (["build"], XILINX | {"XILINXD_LICENSE_FILE": "1@a:2@b\n--x"}, "is not a file"),
        (["build"], {"FINN_XILINX_PATH": "xilinx:2"}, "has a colon"),
        ([""], {}, "unknown verb ''"),
        (["two\nlines"], {}, "unknown verb $'two\\nlines'"),
        (["image", "fpga"], {}, "unknown image fpga"),
        (["image", ""], {}, "unknown image ''"),
        (["image"], {"AARONNET_IMAGE": "mine"}, "AARONNET_IMAGE names one image"),
        (["demo"], {"AARONNET_IMAGE": "--privileged"}, "AARONNET_IMAGE=--privileged is not"),
        (["demo"], {"AARONNET_IMAGE": "an image"}, "is not the name of an image"),
        (["demo"], {"AARONNET_DATA": "a:b"}, "Docker cannot mount AARONNET_DATA="),
        (["demo"], {"AARONNET_DATA": "-"}, "AARONNET_DATA=- is no folder"),
        (["demo"], {"AARONNET_DATA": "calls"}, "AARONNET_DATA=calls is no folder"),
        (["demo"], {"AARONNET_CACHE": "a:b"}, "Docker cannot mount AARONNET_CACHE="),
        (["demo"], {"AARONNET_GPU": "all --privileged"}, "AARONNET_GPU="),
        (["demo"], {"AARONNET_GPU": "\n"}, "AARONNET_GPU=$'\\n' is not"),
        (["notebook"], {"AARONNET_PORT": "http"}, "AARONNET_PORT=http is not a port"),
        (["notebook"], {"AARONNET_PORT": "0"}, "AARONNET_PORT=0 is not a port"),
        (["notebook"], {"AARONNET_PORT": "65536"}, "AARONNET_PORT=65536 is not a port"),
        (["notebook"], {"AARONNET_PORT": "80:80 "}, "AARONNET_PORT=80:80\\  is not a port"),
        (["board", "serve", "out", "--address=::1"], {}, "leave --address out"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    docker, xilinx, tmp_path, arguments, environment, message
):
    done, calls = docker(*arguments, **environment)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not calls.of("run") and not calls.of("build")
    assert not (tmp_path / "a:b").exists()


def test_no_verb_shows_the_verbs_and_is_an_error(docker):
    done, calls = docker()
    assert (done.returncode, done.stdout) == (2, "")
    assert "VERB" in done.stderr
    assert not calls.all


def test_cdpath_leads_nowhere(docker, tmp_path):
    """With CDPATH, cd prints where it went: two lines in a --volume."""
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere" / "data").mkdir(parents=True)
    (tmp_path / "elsewhere" / "cache").mkdir()
    _, calls = docker(
        "test", "x", AARONNET_DATA="data", AARONNET_CACHE="cache", CDPATH=f"{tmp_path}/elsewhere:."
    )
    assert calls.options("--volume")[1:] == [
        f"{tmp_path}/data:/data:ro",
        f"{tmp_path}/cache:/cache",
    ]


def test_a_script_called_by_a_relative_path_finds_its_image_with_cdpath(docker, tmp_path):
    script = tmp_path / "tools" / "run-docker.sh"
    script.parent.mkdir()
    shutil.copy(ROOT / "run-docker.sh", script)
    (tmp_path / "elsewhere" / "tools").mkdir(parents=True)
    _, calls = docker(
        "image", "train", script="tools/run-docker.sh", CDPATH=str(tmp_path / "elsewhere")
    )
    assert calls.of("build")[0][-1] == str(script.parent)


@pytest.mark.parametrize("name", ["-", "-P", "a b", "$HOME", "*"])
def test_a_folder_may_have_any_name_that_docker_takes(docker, tmp_path, name):
    (tmp_path / name).mkdir()
    done, calls = docker("test", "x", AARONNET_DATA=name, AARONNET_CACHE=name)
    assert done.returncode == 0, done.stderr
    assert calls.options("--volume")[1:] == [
        f"{tmp_path}/{name}:/data:ro",
        f"{tmp_path}/{name}:/cache",
    ]


@pytest.mark.parametrize("gpu", ["2", "device=0", '"device=0,1"', "device=GPU-3a23c669-1f69"])
def test_gpus_are_named_as_docker_names_them(docker, gpu):
    _, calls = docker("train", AARONNET_GPU=gpu)
    assert calls.options("--gpus") == [gpu]


def test_there_may_be_several_licences(docker, xilinx, tmp_path):
    (tmp_path / "a.lic").touch()
    _, calls = docker("build", "x", **XILINX, XILINXD_LICENSE_FILE="2100@one:a.lic:@two")
    assert f"XILINXD_LICENSE_FILE=2100@one:{tmp_path}/a.lic:@two" in calls.options("--env")
    assert f"{tmp_path}/a.lic:{tmp_path}/a.lic:ro" in calls.options("--volume")


def test_the_tools_keep_the_path_that_their_scripts_name(docker, xilinx, tmp_path):
    (tmp_path / "link").symlink_to(xilinx)
    _, calls = docker("build", "x", **XILINX | {"FINN_XILINX_PATH": "link"})
    assert f"{tmp_path}/link:{tmp_path}/link:ro" in calls.options("--volume")


def test_help_needs_no_docker_and_names_every_verb(docker):
    done, calls = docker("--help", missing="docker")
    assert done.returncode == 0
    assert not calls.all
    words = set(re.findall("[a-z]+", done.stdout))
    assert {verb for verbs in PLAIN.values() for verb in verbs} <= words
    assert {"score", "demo", "notebook", "shell", "image"} <= words


def with_xilinx(*command, **environment):
    return subprocess.run(
        [ROOT / "docker" / "with-xilinx.sh", *command],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
    )


def test_the_entry_point_puts_xilinx_tools_on_the_path(xilinx):
    for tool in ("Vivado", "Vitis_HLS"):
        program = xilinx / tool / "2022.2" / "bin" / tool.lower()
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\necho {tool} "$1"\n')
        program.chmod(0o755)
    settings = {"FINN_XILINX_PATH": str(xilinx), "FINN_XILINX_VERSION": "2022.2"}
    done = with_xilinx("vivado", "a word", **settings)
    assert (done.returncode, done.stdout) == (0, "Vivado a word\n"), done.stderr
    assert with_xilinx("vitis_hls", "", **settings).returncode == 0


def test_the_entry_point_needs_no_xilinx_tools():
    assert with_xilinx("echo", "a  b").stdout == "a  b\n"


def test_the_entry_point_says_what_it_did_not_find(xilinx):
    done = with_xilinx("echo", FINN_XILINX_PATH=str(xilinx), FINN_XILINX_VERSION="1")
    assert done.returncode == 2
    assert "no settings64.sh of version '1'" in done.stderr
