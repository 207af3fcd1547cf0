"""The directories that the script runs on: new, or left by a faulty run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from projections.snapshots import code_version
from tests.fault_injection.faults.calls import Call, Kind, calls_on
from tests.fault_injection.faults.case import Case, Writes, run
from tests.fault_injection.faults.script import FIRST_WRITES, LATER_WRITES, with_closings

TORN = b'{"specversion":"1.0","id":"8","source":"urn:uuid:00000000-'


class Scenario(msgspec.Struct, frozen=True):
    """A directory with its earlier reports, the writes to run, and their calls."""

    name: str
    base: Path
    reported: Sequence[str]
    writes: Writes
    calls: Sequence[Call]

    def cases(self) -> list[Case]:
        """Every fault of every call."""
        return [Case(call, kind) for call in self.calls for kind in call.faults()]


def scenarios(room: Path) -> Iterator[Scenario]:
    """Create all scenarios; each is run once without faults to list its calls."""
    code_version()  # Cached now, or only the first run would read the code.
    new = room / "new"
    new.mkdir()
    first = _with_calls("a new directory", new, [], FIRST_WRITES)
    yield first
    sync = _last(first, "fdatasync", "events.jsonl>")
    commit = _last(first, "unlink", "vault.sqlite-journal")
    first_faults = {
        "a start": None,
        "a torn tail": None,
        "an unpublished tail": Case(sync, Kind.KILL_AFTER),
        "a failed sync": Case(sync, Kind.EIO),
        "a hot journal": Case(commit, Kind.KILL_BEFORE),
    }
    for name, case in first_faults.items():
        yield _after_run(room, name, case, FIRST_WRITES, LATER_WRITES)
    # Closing segments, on a new directory, on one with segments, and where a closing was killed.
    writes, later = with_closings(FIRST_WRITES), with_closings(LATER_WRITES)
    closings = _with_calls("closings", new, [], writes)
    yield closings
    cut = _last(closings, "rename", "events.jsonl.next.tmp")
    first_faults = {
        "a start with segments": None,
        "an interrupted closing": Case(cut, Kind.KILL_BEFORE),
    }
    for name, case in first_faults.items():
        yield _after_run(room, name, case, writes, later)


def _after_run(room: Path, name: str, case: Case | None, writes: Writes, later: Writes) -> Scenario:
    """Continue in the directory that a run, with or without a fault, left."""
    base = room / name.replace(" ", "-")
    base.mkdir()
    ran = run(base, writes, *(case.call.injection(case.kind) if case else ("trace=none",)))
    if name == "a torn tail":
        with (base / "events.jsonl").open("ab") as file:
            file.write(TORN)
    return _with_calls(name, base, ran.lines, later)


def _last(scenario: Scenario, name: str, of: str) -> Call:
    """The last call with a name on a file."""
    return [call for call in scenario.calls if call.name == name and of in call.text][-1]


def _with_calls(name: str, base: Path, reported: Sequence[str], writes: Writes) -> Scenario:
    """Run once without faults on a copy, to list the calls."""
    # As deep as the cases' directories, because SQLite stats every directory of the path.
    directory = base.with_name("listed") / "data"
    shutil.copytree(base, directory)
    ran = run(directory, writes, "trace=all")
    shutil.rmtree(directory.parent)
    return Scenario(name, base, reported, writes, calls_on(directory, ran.trace))
