import pytest

from deploy.demo.journal import Journal


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
            return {"value": value}

        journal = Journal(tmp_path / "journal.json", said.append)
        facts = [
            journal.step(
                name, {"value": value}, [tmp_path / name], lambda n=name, v=value: work(n, v)
            )
            for name, value in (("a", first), ("b", second))
        ]
        return facts, ran, said

    return run


def test_finished_steps_are_reused_and_named(chain):
    assert chain()[:2] == ([{"value": 1}, {"value": 2}], ["a", "b"])
    facts, ran, said = chain()
    assert facts == [{"value": 1}, {"value": 2}]
    assert ran == []
    assert ["reused" in line for line in said] == [True, True]


def test_an_interrupted_chain_goes_on(chain):
    with pytest.raises(KeyboardInterrupt):
        chain(fail=True)
    assert chain()[1] == ["b"]


def test_changed_settings_run_a_step_and_all_after_it(chain):
    chain()
    assert chain(second=3)[:2] == ([{"value": 1}, {"value": 3}], ["b"])
    assert chain(first=5, second=3)[1] == ["a", "b"]


def test_a_lost_artefact_is_made_again(chain, tmp_path):
    chain()
    (tmp_path / "b").unlink()
    assert chain()[1] == ["b"]


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"a": {"grounds": 1}}', '{"a": {}}'])
def test_a_damaged_journal_is_said(chain, tmp_path, text):
    chain()
    (tmp_path / "journal.json").write_text(text)
    _, ran, said = chain()
    assert ran == ["a", "b"]
    assert "damaged" in said[0]
