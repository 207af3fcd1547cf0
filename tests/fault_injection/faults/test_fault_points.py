"""Short form of the fault campaign: a sample of fault points, and controls.

FAULTS_EVERY sets the sample: every so many points. See `tests.fault_injection.faults.__main__`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.log_reader import Line, Log
from tests.end_to_end.server import ROOT
from tests.end_to_end.strace import needs_strace
from tests.fault_injection.faults.calls import Call, Kind
from tests.fault_injection.faults.case import run_case
from tests.fault_injection.faults.ledger import Ledger
from tests.fault_injection.faults.planted import PLANTED
from tests.fault_injection.faults.scenarios import scenarios
from tests.fault_injection.faults.shim import GCC

EVERY = int(os.environ.get("FAULTS_EVERY", "211"))
"""A prime, so that the sample varies over calls and faults."""

SECONDS = None if "FAULTS_EVERY" in os.environ else 300
"""A limit for the usual sample; another one takes as long as it takes."""


@needs_strace
@pytest.mark.skipif(GCC is None, reason="needs gcc: apt-get install gcc")
def test_no_fault_of_a_sample_has_a_finding() -> None:
    """No lost or invented write, no start on damage, no traceback, no hang."""
    command = [sys.executable, "-m", "tests.fault_injection.faults", "--every", str(EVERY)]
    ran = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    tried = next(line for line in ran.stdout.splitlines() if "tried" in line)
    assert int(tried.split()[-1].replace(",", "")) > 40


@needs_strace
@pytest.mark.parametrize(
    ("bug", "scenario", "call", "kind"),
    [
        ("tell an error as it comes", "a start", "pwrite64", Kind.EIO),
        ("write without the key", "a new directory", "pwrite64", Kind.EIO),
        ("acknowledge before the sync", "a new directory", "fdatasync", Kind.EIO),
        ("publish before the sync", "a new directory", "fdatasync", Kind.EIO),
        ("drop the fence, and trust the cache", "a failed sync", "flock", Kind.EINTR),
        ("apply before the append", "a start", "pwrite64", Kind.EIO),
        ("do not recover", "a torn tail", "flock", Kind.EINTR),
        ("cut below the mark", "a torn tail", "flock", Kind.EINTR),
        ("take a short copy for a whole one", "closings", "write", Kind.SHORT),
    ],
)
def test_control_a_planted_bug_is_found(
    tmp_path: Path, bug: str, scenario: str, call: str, kind: Kind
) -> None:
    with PLANTED[bug]():
        found = next(one for one in scenarios(tmp_path) if one.name == scenario)
        cases = [case for case in found.cases() if (case.call.name, case.kind) == (call, kind)]
        results = (
            run_case(tmp_path / "case", found.base, found.reported, found.writes, case)
            for case in cases
        )
        assert any(result.findings for result in results)


def log_of(*requests: str) -> Log:
    lines = [
        Line(position=position, type="", subject="", actor="", requestid=request)
        for position, request in enumerate(requests, 1)
    ]
    return Log(lines, [])


@pytest.mark.parametrize(
    ("reported", "log", "wrong"),
    [
        (["sent a 1", "acked a 1"], log_of("a"), None),
        (["sent a 1"], log_of("a"), None),
        (["sent a 1"], log_of(), None),
        (["sent a 1", "refused a StorageFull"], log_of(), None),
        (["sent a 1", "acked a 1"], log_of(), "lost"),
        (["sent a 1", "acked a 1"], log_of("", "a"), "lost"),
        (["sent a 1", "acked a 1"], log_of("a", "a"), "lost"),
        (["sent a 1", "refused a StorageFull"], log_of("a"), "invented"),
        ([], log_of("a"), "invented"),
        (["sent a 1"], log_of("a", "a"), "halved"),
        (["sent a 2"], log_of("a"), "halved"),
        ([], Log([], ["the chain is broken at position 1"]), "chain"),
    ],
)
def test_control_ledger_finds_exactly_the_planted_differences(
    reported: list[str], log: Log, wrong: str | None
) -> None:
    found = Ledger(reported).compare(log)
    assert [text.partition(":")[0] for text in found] == ([wrong] if wrong else [])


def test_ledger_records_tracebacks() -> None:
    assert Ledger(["traceback OSError()"]).tracebacks == ["OSError()"]


def test_every_fault_of_a_call_has_an_injection() -> None:
    """Short writes apply to writes; a kill after a call is one at the next call."""
    call = Call("pwrite64", 3, "", 2, ("fdatasync", 7))
    assert set(call.faults()) == set(Kind)
    assert call.injection(Kind.ENOSPC_ON)[1] == "inject=pwrite64:error=ENOSPC:when=3+"
    assert call.injection(Kind.KILL_AFTER)[1] == "inject=fdatasync:signal=KILL:when=7"
    last = Call("close", 1, "")
    assert set(Kind) - set(last.faults()) == {Kind.SHORT, Kind.SHORT_ON, Kind.KILL_AFTER}
