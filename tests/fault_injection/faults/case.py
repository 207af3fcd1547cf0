"""Run the script with one fault in a child process, then check the directory."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import shutil
import signal
import socket
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from eventapi.commands.command import Command
from tests.end_to_end.strace import traced
from tests.fault_injection.faults.calls import Call, Kind, is_on, is_short
from tests.fault_injection.faults.ledger import Ledger, check
from tests.fault_injection.faults.script import Report, perform, shorten_segments

SECONDS = 20
"""A limit against hanging; a correct run takes less than a twentieth of it."""

Writes = Sequence[Sequence[Command]]


class RunResult(msgspec.Struct):
    """The reports of a run, and the signal that killed it, or 0."""

    lines: list[str]
    signal: int
    trace: list[str] = []


class Case(msgspec.Struct, frozen=True):
    """A fault and the call to inject it into."""

    call: Call
    kind: Kind


class Result(msgspec.Struct):
    """The outcome of a case, and the findings."""

    case: Case
    answer: str
    findings: list[str]


def run_in_child(
    work: Callable[[Report], None], tracer: Callable[[int], Iterator[None]]
) -> RunResult:
    """Run ``work`` in a child process, inside ``tracer`` of its process id."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _work(work, theirs)
    theirs.close()
    # Only then: the tracer would count a call that the child makes before.
    ours.recv(1)
    with ours, contextmanager(tracer)(pid):
        ours.sendall(b"go\n")
        reported = b"".join(iter(lambda: ours.recv(65_536), b""))
        _, status = os.waitpid(pid, 0)
    lines = reported.decode().splitlines()
    return RunResult(lines, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)


def _work(work: Callable[[Report], None], channel: socket.socket) -> None:
    """Run in the child; does not return."""
    channel.sendall(b"\n")
    channel.recv(3)
    signal.alarm(SECONDS)
    shorten_segments()
    try:
        work(lambda line: channel.sendall(line.replace("\n", " ").encode() + b"\n"))
    except BaseException:
        channel.sendall(b"traceback " + repr(traceback.format_exc()).encode() + b"\n")
    finally:
        os._exit(0)


def _without_tracer(_: int) -> Iterator[None]:
    yield


def _perform(directory: Path, writes: Writes, report: Report) -> None:
    """Run the script; the loop stays open, because closing could meet the fault."""
    asyncio.new_event_loop().run_until_complete(perform(directory, writes, report))


def run(directory: Path, writes: Writes, *expressions: str) -> RunResult:
    """Run the script under strace."""
    output = directory.with_name("trace")

    def watch(pid: int) -> Iterator[None]:
        with traced(pid, output, *expressions, paths=True):
            yield

    ran = run_in_child(lambda report: _perform(directory, writes, report), watch)
    ran.trace = output.read_text(errors="replace").splitlines()
    return ran


def run_with_short_write(directory: Path, writes: Writes, case: Case) -> RunResult:
    """Run the script with the shim armed."""

    def work(report: Report) -> None:
        shim = ctypes.CDLL(None)
        shim.short_arm(os.fsencode(directory), case.call.written, case.kind is Kind.SHORT_ON)
        _perform(directory, writes, report)

    return run_in_child(work, _without_tracer)


def run_case(
    directory: Path, base: Path, reported: Sequence[str], writes: Writes, case: Case
) -> Result:
    """Run with a fault on a copy of ``base``, whose earlier runs ``reported``; check."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(base, directory)
    if is_short(case.kind):
        ran = run_with_short_write(directory, writes, case)
        findings = []
    else:
        ran = run(directory, writes, *case.call.injection(case.kind))
        findings = _misplaced_fault(directory, case, ran)
    ledger = Ledger([*reported, *ran.lines])
    findings += [f"traceback: {error}" for error in ledger.tracebacks]
    if ran.signal == signal.SIGALRM:
        findings.append(f"no end within {SECONDS} s")
    findings += check_in_child(directory, ledger)
    return Result(case, _classify(Ledger(ran.lines), ran), findings)


def check_in_child(directory: Path, ledger: Ledger) -> list[str]:
    """Return the findings of a fresh process that opens the directory."""

    def work(report: Report) -> None:
        logging.disable()  # Messages of recovery are not findings.
        for finding in check(directory, ledger):
            report(finding)

    ran = run_in_child(work, _without_tracer)
    return [*ran.lines, *([f"the check died of signal {ran.signal}"] if ran.signal else [])]


def _misplaced_fault(directory: Path, case: Case, ran: RunResult) -> list[str]:
    """A finding if the fault hit another call than intended."""
    killing = case.kind in {Kind.KILL_BEFORE, Kind.KILL_AFTER}
    if killing and ran.signal != signal.SIGKILL:
        return ["missed: the process was not killed"]
    if case.kind is Kind.KILL_AFTER:
        return []
    call = case.call
    lines = [line for line in ran.trace if f" {call.name}(" in line]
    hit = lines[call.nth - 1] if len(lines) >= call.nth else ""
    right = (killing or "(INJECTED)" in hit) and is_on(directory, call.name, hit)
    return [] if right else [f"missed: {hit or 'there was no such call'}"]


def _classify(ledger: Ledger, ran: RunResult) -> str:
    """Classify what the caller experienced."""
    if ran.signal:
        return "killed"
    if not ledger.started:
        return "no start"
    refusals = set(ledger.refusals)
    answers = {
        "fenced": "LogFenced" in refusals,
        "storage full": "StorageFull" in refusals,
        "refused": bool(refusals),
        "not closed": ledger.closing_failed,
        "no snapshot": ledger.snapshot_failed,
    }
    return next((answer for answer, is_true in answers.items() if is_true), "unharmed")
