"""The directories that the script is run on: a new one, and those that the faults of a run left."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from projections.snapshots import code_version
from tests.fault_injection.faults.calls import Call, Kind, calls_on
from tests.fault_injection.faults.case import Case, Wishes, run
from tests.fault_injection.faults.script import AFTER, WISHES

TORN = b'{"specversion":"1.0","id":"8","source":"urn:uuid:00000000-'


class Scenario(msgspec.Struct, frozen=True):
    """What there is before a run, what was said of it, what is wished, and the calls that makes."""

    name: str
    base: Path
    said: Sequence[str]
    wishes: Wishes
    calls: Sequence[Call]

    def cases(self) -> list[Case]:
        """Every fault of every call."""
        return [Case(call, kind) for call in self.calls for kind in call.faults()]


def scenarios(room: Path) -> list[Scenario]:
    """All of them, made anew; each is run once to list its calls."""
    code_version()  # Kept once computed: or it would be read in the first run alone.
    new = room / "new"
    new.mkdir()
    first = _listed("a new directory", new, [], WISHES)
    sync = _last(first, "fdatasync", "events.jsonl>")
    commit = _last(first, "unlink", "vault.sqlite-journal")
    befallen = {
        "a start": None,
        "a torn tail": None,
        "an unpublished tail": Case(sync, Kind.KILL_AFTER),
        "a failed sync": Case(sync, Kind.EIO),
        "a hot journal": Case(commit, Kind.KILL_BEFORE),
    }
    return [first, *(_left_by(room, name, case) for name, case in befallen.items())]


def _left_by(room: Path, name: str, case: Case | None) -> Scenario:
    """Going on in the directory that a run has left, which a fault may have befallen."""
    base = room / name.replace(" ", "-")
    base.mkdir()
    ran = run(base, WISHES, *(case.call.injection(case.kind) if case else ("trace=none",)))
    if name == "a torn tail":
        with (base / "events.jsonl").open("ab") as file:
            file.write(TORN)
    return _listed(name, base, ran.lines, AFTER)


def _last(scenario: Scenario, name: str, of: str) -> Call:
    """The last call of a name on a file."""
    return [call for call in scenario.calls if call.name == name and of in call.text][-1]


def _listed(name: str, base: Path, said: Sequence[str], wishes: Wishes) -> Scenario:
    """A scenario, run once on a copy without any fault."""
    # As deep as where the cases run: SQLite looks at every directory on the way.
    directory = base.with_name("listed") / "data"
    shutil.copytree(base, directory)
    ran = run(directory, wishes, "trace=all")
    shutil.rmtree(directory.parent)
    return Scenario(name, base, said, wishes, calls_on(directory, ran.trace))
