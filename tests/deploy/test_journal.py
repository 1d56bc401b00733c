from dataclasses import dataclass

import pytest

from deploy.demo.journal import Journal


@dataclass(frozen=True)
class Value:
    value: int


@pytest.fixture
def chain(tmp_path):
    """Run two steps of a chain; returns (facts of both, names of the steps that really ran)."""

    def run(first=1, second=2, fail=False):
        ran, said = [], []

        def work(name, value):
            ran.append(name)
            if fail and name == "b":
                raise KeyboardInterrupt
            (tmp_path / name).write_text(str(value))
            return Value(value)

        journal = Journal(tmp_path / "journal.json", said.append)
        facts = [
            journal.step(
                name, Value, {"value": value}, [tmp_path / name], lambda n=name, v=value: work(n, v)
            )
            for name, value in (("a", first), ("b", second))
        ]
        return facts, ran, said

    return run


def test_finished_steps_are_reused_and_named(chain):
    assert chain()[:2] == ([Value(1), Value(2)], ["a", "b"])
    facts, ran, said = chain()
    assert facts == [Value(1), Value(2)]
    assert ran == []
    assert ["reused" in line for line in said] == [True, True]


def test_an_interrupted_chain_goes_on(chain):
    with pytest.raises(KeyboardInterrupt):
        chain(fail=True)
    assert chain()[1] == ["b"]


def test_changed_settings_run_a_step_and_all_after_it(chain):
    chain()
    assert chain(second=3)[:2] == ([Value(1), Value(3)], ["b"])
    assert chain(first=5, second=3)[1] == ["a", "b"]


def test_a_lost_artefact_is_made_again(chain, tmp_path):
    chain()
    (tmp_path / "b").unlink()
    assert chain()[1] == ["b"]


def test_a_step_of_which_the_journal_keeps_something_else_runs_again(chain, tmp_path):
    chain()
    journal = tmp_path / "journal.json"
    journal.write_text(journal.read_text().replace('"value": 1', '"value": "one"'))
    facts, ran, said = chain()
    assert facts == [Value(1), Value(2)] and ran == ["a"]
    assert "damaged: value is 'one'" in said[0]


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"a": {"grounds": 1}}', '{"a": {}}'])
def test_a_damaged_journal_is_said(chain, tmp_path, text):
    chain()
    (tmp_path / "journal.json").write_text(text)
    _, ran, said = chain()
    assert ran == ["a", "b"]
    assert "damaged" in said[0]
