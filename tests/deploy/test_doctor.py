"""The doctor reports what is there, and says what to do about the rest."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import doctor
from deploy.cli_doctor import doctor as command
from models.errors import CheckFailed


def by_tool() -> dict[str, doctor.Finding]:
    return {finding.tool: finding for finding in doctor.examine()}


def put_tool(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_what_the_default_chain_needs_is_here(tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    command(facts)
    found = {tool["tool"]: tool for tool in json.loads(facts.read_text())["tools"]}
    version = subprocess.run(["g++", "-dumpfullversion"], capture_output=True, text=True).stdout
    assert found["g++"]["found"].startswith(version.strip())
    assert found["Python"]["found"] == sys.version.split()[0]
    assert all(tool["found"] for tool in found.values() if tool["needed"])
    assert all(tool["found"] or tool["get"] for tool in found.values())


def test_an_empty_path_has_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("XILINX_VIVADO", raising=False)
    found = by_tool()
    for tool in ("g++", "make", "Vivado", "Docker"):
        assert not found[tool].found and found[tool].get
    with pytest.raises(CheckFailed, match=r"g\+\+, make"):
        command()
    assert "apt-get install g++" in capsys.readouterr().out


def test_a_compiler_that_cannot_compile_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_tool(tmp_path, "g++", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not by_tool()["g++"].found


def test_docker_without_a_daemon_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_tool(tmp_path, "docker", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "daemon" in by_tool()["Docker"].get
    put_tool(tmp_path, "docker", "echo 28.2.2")
    assert by_tool()["Docker"] == doctor.Finding("Docker", "28.2.2", "./run-docker.sh")


def test_vivado_is_found_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XILINX_VIVADO", "/opt/Xilinx/Vivado/2022.2")
    assert by_tool()["Vivado"].found == "/opt/Xilinx/Vivado/2022.2"
