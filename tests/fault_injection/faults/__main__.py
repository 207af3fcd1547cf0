"""Let every system call on the data directory fail, one at a time, in every way.

    python -m tests.fault_injection.faults
    python -m tests.fault_injection.faults --every 50
    python -m tests.fault_injection.faults --planted --every 31

Workload: a script that opens a data directory, writes, takes a snapshot and closes, in one thread
and a child process, so that every run makes the same system calls. It starts from nine directories:
a new one, and those that earlier faults left behind; and closes segments in three.

Faults: for each call EIO, ENOSPC, EINTR, a short write, a kill before and a kill after;
once, and persistently. strace injects them, except for short writes: strace can report a short
write, but not perform one, so a preloaded shim does it (needs gcc).

Checks: a fresh process opens the directory. Acknowledged writes are in the log, refused
and unsent ones are not, writes of several events are whole, the hash chain is intact, a replay
equals the served state, no traceback was printed, every run ended in time.

Duration: all fault points take hours on two cores; ``--every N`` tries every N-th.

Replay: a finding names scenario, fault, call and number; `run_case` in `case.py` repeats it, as
`test_fault_points.py` does. The exit code is 1 if there is a finding, or a planted bug is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import msgspec

from tests.fault_injection.faults import shim
from tests.fault_injection.faults.case import Case, Result, run_case
from tests.fault_injection.faults.planted import PLANTED
from tests.fault_injection.faults.scenarios import Scenario, scenarios
from tests.fault_injection.machine import describe_machine

CASES_PER_JOB = 50
"""How many cases a worker process runs as one job."""

FINDING_KINDS = {
    "lost": "acknowledged writes that are not in the log as acknowledged",
    "invented": "refused or unsent writes in the log",
    "halved": "writes of several events that are in the log in part",
    "chain": "faults of the hash chain",
    "started": "starts on a damaged log",
    "a fold": "states that differ from a replay of the log",
    "traceback": "tracebacks",
    "no end": "runs that did not end in time",
    "missed": "faults that hit another call",
}
"""Meanings, by the first word of a finding."""

MAX_FINDINGS = 20
"""How many findings are printed."""


class Figures(msgspec.Struct):
    """Outcomes by call and fault, and the findings."""

    answers: Counter[tuple[str, str, str]] = msgspec.field(default_factory=Counter)
    findings: list[str] = []

    def add(self, scenario: str, result: Result) -> None:
        """Add a result."""
        call, kind = result.case.call, result.case.kind
        self.answers[call.name, kind, result.answer] += 1
        self.findings += [
            f"{scenario}: {kind} at {call.name} {call.nth}: {finding}\n    {call.text[:160]}"
            for finding in result.findings
        ]

    def __str__(self) -> str:
        names = sorted({answer for _, _, answer in self.answers})
        rows = [_row("call", "fault", names)]
        for call, kind in sorted({(call, kind) for call, kind, _ in self.answers}):
            rows.append(_row(call, kind, [self.answers[call, kind, name] for name in names]))
        totals = Counter[str]()
        for (_, _, answer), number in self.answers.items():
            totals[answer] += number
        rows.append(_row("all", "", [totals[name] for name in names]))
        return "\n".join((*rows, *self.findings[:MAX_FINDINGS]))


def _row(call: str, kind: str, cells: Sequence[object]) -> str:
    return f"{call:<12}{kind:<20}" + "".join(f"{cell or '.'!s:>14}" for cell in cells)


def _run_cases(scenario: Scenario, cases: Sequence[Case], room: Path) -> list[Result]:
    """Run some cases of a scenario in sequence."""
    return [
        run_case(room / "data", scenario.base, scenario.reported, scenario.writes, case)
        for case in cases
    ]


def _run_all(found: Sequence[Scenario], every: int, room: Path) -> Iterator[tuple[str, Result]]:
    """Yield the results of every ``every``-th case, run by two processes."""
    # Forked: no interpreter starts, and all runs are alike.
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        shares: list[tuple[str, Future[list[Result]]]] = []
        for scenario in found:
            cases = scenario.cases()[::every]
            for start in range(0, len(cases), CASES_PER_JOB):
                place = room / f"share-{len(shares)}"
                place.mkdir()
                part = cases[start : start + CASES_PER_JOB]
                shares.append((scenario.name, pool.submit(_run_cases, scenario, part, place)))
        for name, share in shares:
            for result in share.result():
                yield name, result


def _find_planted_bugs(every: int, room: Path) -> int:
    """Run with each planted bug; return 1 if a bug is not found."""
    _print(f"{'planted bug':<40}{'tried':>8}{'found':>8}  first finding")
    missed = 0
    for number, (name, bug) in enumerate(PLANTED.items()):
        place = room / f"bug-{number}"
        place.mkdir()
        figures = Figures()
        with bug():
            for scenario, result in _run_all(list(scenarios(place)), every, place):
                figures.add(scenario, result)
        first = figures.findings[0].splitlines()[0] if figures.findings else "none"
        tried = figures.answers.total()
        _print(f"{name:<40}{tried:>8,}{len(figures.findings):>8,}  {first[:110]}")
        missed += not figures.findings
    return 1 if missed else 0


def main() -> int:
    """Run the campaign and print its figures; return 1 if there is a finding."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, help="try every N-th fault point")
    parser.add_argument("--planted", action="store_true", help="search the planted bugs")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        room = Path(directory)
        if not shim.is_loaded():
            return shim.run_with_shim(room)
        if chosen.planted:
            return _find_planted_bugs(chosen.every, room)
        started = time.monotonic()
        found = list(scenarios(room))
        figures = Figures()
        for name, result in _run_all(found, chosen.every, room):
            figures.add(name, result)
        _print(f"fault points of the JSON-lines log; {describe_machine(room)}")
    _print(str(figures))
    for scenario in found:
        points = len(scenario.cases())
        _print(f"{scenario.name:<24}{len(scenario.calls):>6} calls{points:>8,} fault points")
    _print(f"{'fault points in all':<52}{sum(len(one.cases()) for one in found):>8,}")
    _print(f"{'fault points tried':<52}{figures.answers.total():>8,}")
    for beginning, meaning in FINDING_KINDS.items():
        count = sum(f": {beginning}" in finding for finding in figures.findings)
        _print(f"{meaning:<52}{count:>8,}")
    _print(f"{'findings in all':<52}{len(figures.findings):>8,}")
    _print(f"{'seconds':<52}{time.monotonic() - started:>8,.0f}")
    return 1 if figures.findings else 0


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the output of the command


if __name__ == "__main__":
    sys.exit(main())
