"""The system calls of a run on its directory, and the faults to inject into each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path

import msgspec

EINTR_CALLS = 3
"""How many calls in a row are interrupted; without a limit, a retry loop would never end."""

_CALL = re.compile(r"^\d+ +(?P<name>\w+)\(")
_RESULT = re.compile(r" = (?P<result>-?\d+)")
_MARK_CALLS = frozenset({"msync"})
"""Calls without a file name in the trace, made on the mark only."""

_MEMORY_CALLS = frozenset({"brk", "mmap", "munmap", "mremap", "mprotect", "madvise"})
"""Calls of the allocator, which differ between runs; no process is killed at those."""

_WRITES = frozenset({"write", "pwrite64"})


class Kind(StrEnum):
    """A fault of a call."""

    EIO = "EIO"
    EIO_ON = "EIO from then on"
    ENOSPC = "ENOSPC"
    ENOSPC_ON = "ENOSPC from then on"
    EINTR = "EINTR"
    EINTR_ON = f"EINTR {EINTR_CALLS} times"
    SHORT = "short"
    SHORT_ON = "short from then on"
    KILL_BEFORE = "kill before"
    KILL_AFTER = "kill after"


_SHORTS = {Kind.SHORT, Kind.SHORT_ON}


class Call(msgspec.Struct, frozen=True):
    """The ``nth`` call of its name, from 1; ``written`` is its number as a write.

    ``following`` is the next call, except allocator calls: a kill there is a kill after this one.
    """

    name: str
    nth: int
    text: str
    written: int = 0
    following: tuple[str, int] | None = None

    def faults(self) -> Iterator[Kind]:
        """Yield the faults that apply to the call."""
        for kind in Kind:
            if kind in _SHORTS and not self.written:
                continue
            if kind is Kind.KILL_AFTER and self.following is None:
                continue
            yield kind

    def injection(self, kind: Kind) -> tuple[str, str]:
        """Return the strace expressions that select the call and inject the fault."""
        name, nth, when = self.name, self.nth, str(self.nth)
        if kind is Kind.KILL_AFTER:
            assert self.following is not None
            name, nth = self.following
        if kind in {Kind.KILL_BEFORE, Kind.KILL_AFTER}:
            return f"trace={name}", f"inject={name}:signal=KILL:when={nth}"
        if kind in {Kind.EIO_ON, Kind.ENOSPC_ON}:
            when = f"{nth}+"
        elif kind is Kind.EINTR_ON:
            when = f"{nth}..{nth + EINTR_CALLS - 1}"
        error = kind.value.split()[0]
        return f"trace={name}", f"inject={name}:error={error}:when={when}"


def is_short(kind: Kind) -> bool:
    """Whether the shim must inject the fault, because strace cannot."""
    return kind in _SHORTS


def calls_on(directory: Path, trace: Iterable[str]) -> list[Call]:
    """The calls on a directory in a trace (``strace -f -y``) of one thread."""
    counts: Counter[str] = Counter()
    found: list[Call] = []
    written, due = 0, False
    for line in trace:
        match = _CALL.match(line)
        if match is None:
            continue
        name = match["name"]
        counts[name] += 1
        if due and name not in _MEMORY_CALLS:
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
    """Whether a traced call is on a directory."""
    return str(directory) in line or name in _MARK_CALLS


def _result(line: str) -> int:
    """The return value of a traced call."""
    results = _RESULT.findall(line)
    return int(results[-1]) if results else -1
