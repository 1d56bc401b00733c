"""What commands show on the terminal."""

from models import console
from models.console import Bar


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
