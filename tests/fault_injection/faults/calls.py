"""The system calls that a run made on its directory, and the faults that each of them may meet."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path

import msgspec

BURST = 3
"""How many calls in a row are interrupted: what is interrupted for ever cannot end."""

_CALL = re.compile(r"^\d+ +(?P<name>\w+)\(")
_RESULT = re.compile(r" = (?P<result>-?\d+)")
_OF_THE_MARK = frozenset({"msync"})
"""Calls that name no file, and are made on one alone."""

_OF_MEMORY = frozenset({"brk", "mmap", "munmap", "mremap", "mprotect", "madvise"})
"""Calls that the allocator makes in one run and not in another: nobody is killed at those."""

_WRITES = frozenset({"write", "pwrite64"})


class Kind(StrEnum):
    """What may befall a call."""

    EIO = "EIO"
    EIO_ON = "EIO from then on"
    ENOSPC = "ENOSPC"
    ENOSPC_ON = "ENOSPC from then on"
    EINTR = "EINTR"
    EINTR_ON = f"EINTR {BURST} times"
    SHORT = "short"
    SHORT_ON = "short from then on"
    KILL_BEFORE = "kill before"
    KILL_AFTER = "kill after"


_SHORTS = {Kind.SHORT, Kind.SHORT_ON}


class Call(msgspec.Struct, frozen=True):
    """The ``nth`` call of its name in a run, from 1; ``written`` counts the writes up to it.

    ``following`` is the call after it, save those for memory: who dies there dies after this one.
    """

    name: str
    nth: int
    text: str
    written: int = 0
    following: tuple[str, int] | None = None

    def faults(self) -> Iterator[Kind]:
        """The faults that it can meet."""
        for kind in Kind:
            if kind in _SHORTS and not self.written:
                continue
            if kind is Kind.KILL_AFTER and self.following is None:
                continue
            yield kind

    def injection(self, kind: Kind) -> tuple[str, str]:
        """What strace is told: which calls to trace, and what to do to which of them."""
        name, nth, when = self.name, self.nth, str(self.nth)
        if kind is Kind.KILL_AFTER:
            assert self.following is not None
            name, nth = self.following
        if kind in {Kind.KILL_BEFORE, Kind.KILL_AFTER}:
            return f"trace={name}", f"inject={name}:signal=KILL:when={nth}"
        if kind in {Kind.EIO_ON, Kind.ENOSPC_ON}:
            when = f"{nth}+"
        elif kind is Kind.EINTR_ON:
            when = f"{nth}..{nth + BURST - 1}"
        error = kind.value.split()[0]
        return f"trace={name}", f"inject={name}:error={error}:when={when}"


def is_short(kind: Kind) -> bool:
    """Whether strace cannot raise it, and the shim must."""
    return kind in _SHORTS


def calls_on(directory: Path, trace: Iterable[str]) -> list[Call]:
    """The calls of a trace (``strace -f -y``, of one thread) that have to do with a directory."""
    counts: Counter[str] = Counter()
    found: list[Call] = []
    written, due = 0, False
    for line in trace:
        match = _CALL.match(line)
        if match is None:
            continue
        name = match["name"]
        counts[name] += 1
        if due and name not in _OF_MEMORY:
            due = False
            found[-1] = msgspec.structs.replace(found[-1], following=(name, counts[name]))
        if is_on(directory, name, line):
            due = True
            nth_write = 0
            if name in _WRITES and _result(line) >= 2:
                written += 1
                nth_write = written
            found.append(Call(name, counts[name], line.strip(), nth_write))
    return found


def is_on(directory: Path, name: str, line: str) -> bool:
    """Whether a traced call has to do with a directory."""
    return str(directory) in line or name in _OF_THE_MARK


def _result(line: str) -> int:
    """What a call came back with."""
    results = _RESULT.findall(line)
    return int(results[-1]) if results else -1
