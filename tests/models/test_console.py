"""What commands show on the terminal."""

import pytest
from rich.console import Console

from models import console
from models.console import Bar, print_line, print_markdown, print_table


def test_a_bar_shows_once_it_is_told_something(capsys, monkeypatch):
    shown = console.Console(stderr=True, force_terminal=True, width=100)
    monkeypatch.setattr(console, "err", shown)
    with Bar("caching"):
        pass
    assert capsys.readouterr().err == ""
    with Bar("caching") as progress:
        progress(3, 7)
    assert "caching" in (text := capsys.readouterr().err) and "3/7" in text
    with Bar("build", 5) as progress:
        progress.advance(2)
        progress.describe("fold")
    assert "fold" in (text := capsys.readouterr().err) and "2/5" in text


def test_a_markdown_table_is_one(capsys):
    print_markdown(["module", "LUT"], [["conv", 12345], ["pool", 0]])
    assert capsys.readouterr().out == (
        "| module | LUT |\n|---|--:|\n| conv | 12,345 |\n| pool | 0 |\n"
    )


def test_text_from_files_is_text(capsys, monkeypatch):
    monkeypatch.setattr(console.out, "_width", 100)
    print_table("a [/x]", ["b [red]"], [["c [/]"], [":smile: [link=x]"], ["d\x1b[31m\ne\udcff"]])
    print_line("f [/x]\x07")
    text = capsys.readouterr().out
    for part in ("a [/x]", "b [red]", "c [/]", ":smile: [link=x]", r"d\x1b[31m\ne\udcff"):
        assert part in text
    assert text.endswith("f [/x]\\x07\n")


def test_a_bars_text_is_text(capsys, monkeypatch):
    shown = Console(stderr=True, force_terminal=True, width=100, markup=False)
    monkeypatch.setattr(console, "err", shown)
    with Bar("testing [/x]") as progress:
        progress(1, 2)
        progress.describe("now [/y]\x07")
    text = capsys.readouterr().err
    assert "[/x]" in text and "[/y]\\x07" in text


def test_a_bar_that_is_interrupted_while_it_begins_ends_as_interrupted(monkeypatch):
    cursor = []

    class Interrupted(Console):
        def show_cursor(self, show: bool = True) -> bool:
            cursor.append(show)
            if not show:
                raise KeyboardInterrupt
            return True

    monkeypatch.setattr(console, "err", Interrupted(stderr=True))
    with pytest.raises(KeyboardInterrupt), Bar("work") as progress:
        progress(1, 2)
    assert cursor == [False, True]
