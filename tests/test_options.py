"""Options that several commands have are called and explained alike."""

from collections.abc import Iterator

import pytest
import torch
import typer.main
from typer.testing import CliRunner

import aaronnet
from models.cli import DATA, torch_device
from models.errors import BadInput


def options() -> Iterator[tuple[str, list[str], str, tuple]]:
    """Yield command, names, help and limits of every option there is."""
    todo = [("aaronnet", typer.main.get_command(aaronnet.app))]
    while todo:
        name, command = todo.pop()
        todo += [
            (f"{name} {key}", inner) for key, inner in getattr(command, "commands", {}).items()
        ]
        for parameter in command.params:
            if parameter.param_type_name == "option":
                limits = parameter.min, parameter.max
                yield name, parameter.opts, parameter.help or "", limits


def test_every_option_has_a_help_text():
    assert [(command, names) for command, names, text, _ in options() if not text] == []


def test_shared_options_have_one_help_text():
    for wanted in ("--json", "--seed", "--device", "--fast", "--graph"):
        texts = {text for _, names, text, _ in options() if wanted in names}
        assert len(texts) == 1, (wanted, texts)


def test_every_seed_is_one_that_the_libraries_take():
    limits = [limits for _, names, _, limits in options() if "--seed" in names]
    assert len(limits) >= 7 and set(limits) == {(0, 2**32 - 1)}


def test_data_is_a_file_and_out_has_a_short_name_everywhere():
    for command, names, text, _ in options():
        if "--data" in names:
            assert text.startswith(DATA), command
        if "--out" in names:
            assert "-o" in names, command
        if "--frames" in names and "--frames-per-cell" not in names:
            assert "-n" in names, command


def test_former_names_still_work():
    names = [names for command, names, *_ in options() if command == "aaronnet train"]
    assert ["--device", "--accelerator"] in names and ["--processes", "--devices"] in names


@pytest.mark.parametrize("gpu", [True, False])
def test_device_is_what_torch_calls_it(monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert torch_device("cpu") == "cpu"
    assert torch_device("auto") == ("cuda" if gpu else "cpu")
    if gpu:
        assert torch_device("gpu") == "cuda"
    else:
        with pytest.raises(BadInput, match="no GPU here; use --device cpu"):
            torch_device("gpu")
    with pytest.raises(BadInput, match="unknown device 'tpu'"):
        torch_device("tpu")


def completed(*words: str, monkeypatch) -> set[str]:
    """What bash is offered for the last of the words, by the command itself."""
    monkeypatch.setenv("COMP_WORDS", " ".join(["aaronnet", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    monkeypatch.setenv("_AARONNET_COMPLETE", "complete_bash")
    result = CliRunner().invoke(aaronnet.app, prog_name="aaronnet")
    return set(result.stdout.split())


def test_networks_and_boards_are_completed(tmp_path, monkeypatch):
    (tmp_path / "mine.pth").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "more").mkdir()
    monkeypatch.chdir(tmp_path)
    offered = completed("cost", "aaronnet32++", monkeypatch=monkeypatch)
    assert {"aaronnet32++", "aaronnet32++-hw8"} <= offered
    assert completed("build", "m", monkeypatch=monkeypatch) == {"mine.pth", "more/"}
    assert "ZCU104" in completed("build", "x", "--board", "ZCU", monkeypatch=monkeypatch)
