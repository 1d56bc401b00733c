"""A journal of finished steps, so that a chain of long ones can be interrupted and goes on."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from deploy.board.records import read_json, record, to_json
from models.errors import BadInput
from models.files import write_json

T = TypeVar("T")


@dataclass(frozen=True)
class Done:
    """A finished step: what it was based on, how long it took, what it found."""

    grounds: str
    seconds: float
    facts: dict[str, Any]


class Journal:
    """Steps run in order; one that is finished, on unchanged grounds, is not run again.

    A step's grounds are its settings and those of all steps before it. What it found is a record
    and is kept in the journal's file, written whole after each step.

    Args:
        path: the journal's JSON file; one that cannot be read counts as none.
        say: told one line when a step starts, ends or is reused.
    """

    def __init__(self, path: Path, say: Callable[[str], None]):
        self.path, self.say = path, say
        self._grounds = ""
        self._done: dict[str, Done] = {}
        if path.exists():
            try:
                self._done = {name: record(Done, one) for name, one in read_json(path).items()}
            except (BadInput, ValueError):
                say(f"{path} is damaged: all steps run again")

    def step(
        self,
        name: str,
        kind: type[T],
        settings: dict[str, Any],
        outputs: Sequence[Path],
        run: Callable[[], T],
    ) -> T:
        """Return what the step found, from `run()` or, when it is finished already, the journal.

        Args:
            name: unique; also what is shown.
            kind: a dataclass that `deploy.board.records` can read.
            settings: plain types that decide the result.
            outputs: files or folders that must still exist for a finished step to count.
            run: does the work.
        """
        text = json.dumps([self._grounds, name, settings], sort_keys=True)
        self._grounds = hashlib.sha256(text.encode()).hexdigest()
        done = self._done.get(name)
        if done and done.grounds == self._grounds and all(path.exists() for path in outputs):
            try:
                found = record(kind, done.facts)
            except ValueError as error:
                self.say(f"{name}: what {self.path} says of it is damaged: {error}")
            else:
                self.say(f"{name}: reused from an earlier run ({done.seconds:.0f} s then)")
                return found
        self.say(f"{name} ...")
        start = time.perf_counter()
        found = run()
        seconds = time.perf_counter() - start
        self._done[name] = Done(self._grounds, seconds, to_json(found))
        write_json(self.path, to_json(self._done))
        self.say(f"{name}: done in {seconds:.0f} s")
        return found

    @property
    def seconds(self) -> dict[str, float]:
        """How long each finished step took when it ran."""
        return {name: done.seconds for name, done in self._done.items()}
