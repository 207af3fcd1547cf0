"""One run of the script with one fault, in a process of its own, and the check after it."""

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
from tests.fault_injection.faults.script import Say, perform

SECONDS = 20
"""How long a run may take; none that is right takes a twentieth of it."""

Wishes = Sequence[Sequence[Command]]


class Ran(msgspec.Struct):
    """What a run said and how it ended: ``signal`` is that which killed it, or 0."""

    lines: list[str]
    signal: int
    trace: list[str] = []


class Case(msgspec.Struct, frozen=True):
    """A fault for one call."""

    call: Call
    kind: Kind


class Result(msgspec.Struct):
    """What came of a case: the class of the answer, and what is wrong."""

    case: Case
    answer: str
    wrongs: list[str]


def forked(work: Callable[[Say], None], meanwhile: Callable[[int], Iterator[None]]) -> Ran:
    """Do some work in a process of its own, which begins once ``meanwhile`` has."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _work(work, theirs)
    theirs.close()
    with ours, contextmanager(meanwhile)(pid):
        ours.sendall(b"go\n")
        said = b"".join(iter(lambda: ours.recv(65_536), b""))
        _, status = os.waitpid(pid, 0)
    lines = said.decode().splitlines()
    return Ran(lines, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)


def _work(work: Callable[[Say], None], channel: socket.socket) -> None:
    """The life of the child; it never returns."""
    channel.recv(3)
    signal.alarm(SECONDS)
    try:
        work(lambda line: channel.sendall(line.replace("\n", " ").encode() + b"\n"))
    except BaseException:
        channel.sendall(b"traceback " + repr(traceback.format_exc()).encode() + b"\n")
    finally:
        os._exit(0)


def _alone(_: int) -> Iterator[None]:
    yield


def _perform(directory: Path, wishes: Wishes, say: Say) -> None:
    """Run the script in a loop that is never closed: the fault may be about `close`."""
    asyncio.new_event_loop().run_until_complete(perform(directory, wishes, say))


def run(directory: Path, wishes: Wishes, *expressions: str) -> Ran:
    """Run the script under strace."""
    output = directory.with_name("trace")

    def watch(pid: int) -> Iterator[None]:
        with traced(pid, output, *expressions, paths=True):
            yield

    ran = forked(lambda say: _perform(directory, wishes, say), watch)
    ran.trace = output.read_text(errors="replace").splitlines()
    return ran


def run_short(directory: Path, wishes: Wishes, case: Case) -> Ran:
    """Run the script with the shim at work."""

    def work(say: Say) -> None:
        shim = ctypes.CDLL(None)
        shim.short_arm(os.fsencode(directory), case.call.written, case.kind is Kind.SHORT_ON)
        _perform(directory, wishes, say)

    return forked(work, _alone)


def run_case(
    directory: Path, base: Path, said: Sequence[str], wishes: Wishes, case: Case
) -> Result:
    """Work on a copy of ``base``, of which ``said`` was said, with a fault, and check it."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(base, directory)
    if is_short(case.kind):
        ran = run_short(directory, wishes, case)
        wrongs = []
    else:
        ran = run(directory, wishes, *case.call.injection(case.kind))
        wrongs = _missed(directory, case, ran)
    ledger = Ledger([*said, *ran.lines])
    wrongs += [f"traceback: {told}" for told in ledger.tracebacks]
    if ran.signal == signal.SIGALRM:
        wrongs.append(f"no end within {SECONDS} s")
    wrongs += checked(directory, ledger)
    return Result(case, _answer(Ledger(ran.lines), ran), wrongs)


def checked(directory: Path, ledger: Ledger) -> list[str]:
    """What a fresh process finds wrong with a directory."""

    def work(say: Say) -> None:
        logging.disable()  # What recovery tells is no finding.
        for wrong in check(directory, ledger):
            say(wrong)

    ran = forked(work, _alone)
    return [*ran.lines, *([f"the check died of signal {ran.signal}"] if ran.signal else [])]


def _missed(directory: Path, case: Case, ran: Ran) -> list[str]:
    """Whether the fault met another call than the one it was meant for."""
    killing = case.kind in {Kind.KILL_BEFORE, Kind.KILL_AFTER}
    if killing and ran.signal != signal.SIGKILL:
        return ["missed: nobody was killed"]
    if case.kind is Kind.KILL_AFTER:
        return []
    call = case.call
    lines = [line for line in ran.trace if f" {call.name}(" in line]
    hit = lines[call.nth - 1] if len(lines) >= call.nth else ""
    right = (killing or "(INJECTED)" in hit) and is_on(directory, call.name, hit)
    return [] if right else [f"missed: {hit or 'there was no such call'}"]


def _answer(ledger: Ledger, ran: Ran) -> str:
    """The class of what the caller was told."""
    if ran.signal:
        return "killed"
    if not ledger.started:
        return "no start"
    refusals = set(ledger.refusals)
    if "LogFenced" in refusals:
        return "fenced"
    if "StorageFull" in refusals:
        return "storage full"
    if refusals:
        return "refused"
    return "no snapshot" if ledger.unsnapped else "unharmed"
