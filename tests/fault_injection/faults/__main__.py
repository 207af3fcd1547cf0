"""Every fault of every system call on the data directory: python -m tests.fault_injection.faults.

Faults are raised one at a time, by strace; short writes by a preloaded shim, for strace can tell a
process that a write came back short, but not make it so.
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
from tests.fault_injection.machine import taken_on

SHARE = 50
"""How many cases a process does before it is given others."""

WRONGS = {
    "lost": "acknowledgements that the log does not bear out",
    "invented": "refused or unsent writes that are in the log",
    "halved": "writes of several events of which some are there",
    "chain": "faults of the chain",
    "started": "starts on damaged truth",
    "a fold": "states that are not what the log adds up to",
    "traceback": "tracebacks",
    "no end": "runs without an end in time",
    "missed": "faults that met another call",
}
"""By how a finding begins."""

SHOWN = 20
"""How many findings are told in full."""


class Figures(msgspec.Struct):
    """The answers by call and fault, and what was wrong."""

    answers: Counter[tuple[str, str, str]] = msgspec.field(default_factory=Counter)
    wrongs: list[str] = []

    def take(self, scenario: str, result: Result) -> None:
        """Count a result."""
        call, kind = result.case.call, result.case.kind
        self.answers[call.name, kind, result.answer] += 1
        self.wrongs += [
            f"{scenario}: {kind} at {call.name} {call.nth}: {wrong}\n    {call.text[:160]}"
            for wrong in result.wrongs
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
        return "\n".join((*rows, *self.wrongs[:SHOWN]))


def _row(call: str, kind: str, cells: Sequence[object]) -> str:
    return f"{call:<12}{kind:<20}" + "".join(f"{cell or '.'!s:>14}" for cell in cells)


def _share(scenario: Scenario, cases: Sequence[Case], room: Path) -> list[Result]:
    """Run some cases of a scenario, one after another."""
    return [
        run_case(room / "data", scenario.base, scenario.said, scenario.wishes, case)
        for case in cases
    ]


def _all(found: Sequence[Scenario], every: int, room: Path) -> Iterator[tuple[str, Result]]:
    """The results of every so many-th case, two at a time."""
    # Forked, so that a run costs no start of an interpreter, and all runs are alike.
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        shares: list[tuple[str, Future[list[Result]]]] = []
        for scenario in found:
            cases = scenario.cases()[::every]
            for start in range(0, len(cases), SHARE):
                place = room / f"share-{len(shares)}"
                place.mkdir()
                part = cases[start : start + SHARE]
                shares.append((scenario.name, pool.submit(_share, scenario, part, place)))
        for name, share in shares:
            for result in share.result():
                yield name, result


def _planted(every: int, room: Path) -> int:
    """Plant each bug, and tell by what it is found; 1 where one is not."""
    _print(f"{'planted bug':<40}{'tried':>8}{'found':>8}  first finding")
    missed = 0
    for number, (name, bug) in enumerate(PLANTED.items()):
        place = room / f"bug-{number}"
        place.mkdir()
        figures = Figures()
        with bug():
            for scenario, result in _all(scenarios(place), every, place):
                figures.take(scenario, result)
        first = figures.wrongs[0].splitlines()[0] if figures.wrongs else "none"
        tried = figures.answers.total()
        _print(f"{name:<40}{tried:>8,}{len(figures.wrongs):>8,}  {first[:110]}")
        missed += not figures.wrongs
    return 1 if missed else 0


def main() -> int:
    """Run the campaign and print its figures; 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="only every so many-th fault point")
    parser.add_argument("--planted", action="store_true", help="how often bugs are found")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        room = Path(directory)
        if not shim.is_loaded():
            return shim.run_with_shim(room)
        if chosen.planted:
            return _planted(chosen.every, room)
        started = time.monotonic()
        found = scenarios(room)
        figures = Figures()
        for name, result in _all(found, chosen.every, room):
            figures.take(name, result)
        _print(f"fault points of the JSON-lines log; {taken_on(room)}")
    _print(str(figures))
    for scenario in found:
        points = len(scenario.cases())
        _print(f"{scenario.name:<24}{len(scenario.calls):>6} calls{points:>8,} fault points")
    _print(f"{'fault points in all':<52}{sum(len(one.cases()) for one in found):>8,}")
    _print(f"{'fault points tried':<52}{figures.answers.total():>8,}")
    for beginning, meaning in WRONGS.items():
        count = sum(f": {beginning}" in wrong for wrong in figures.wrongs)
        _print(f"{meaning:<52}{count:>8,}")
    _print(f"{'wrong in all':<52}{len(figures.wrongs):>8,}")
    _print(f"{'seconds':<52}{time.monotonic() - started:>8,.0f}")
    return 1 if figures.wrongs else 0


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the table is what it is for


if __name__ == "__main__":
    sys.exit(main())
